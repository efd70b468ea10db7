//! The caller: drives a run at every level, drops futures, and adds and changes everything that can
//! be changed.

use core::pin::{Pin, pin};
use core::sync::atomic::{AtomicU64, Ordering};
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::sync::Arc;

use serde_json::Value;
use toolrunner_core::run::Run as Machine;
use toolrunner_core::time::Instant;
use toolrunner_core::transcript::Transcript;
use toolrunner_std::clock::{DynClock, WaitFuture};
use toolrunner_std::http::HttpTransport;
use toolrunner_std::{Client, Error, Limits, OnBreak, Outcome, RetryPolicy, Run, RunBuilder};

use super::World;
use super::ledger::Ledger;
use super::server::Server;
use super::tools::{Kit, NAMES, gate};

/// A clock that the caller advances, in microseconds.
#[derive(Debug, Default)]
pub(crate) struct StepClock(AtomicU64);

impl StepClock {
    fn step(&self, millis: u64) {
        self.0.fetch_add(millis * 1_000, Ordering::Relaxed);
    }

    /// Waits for this time.
    pub(crate) fn wait(self: Arc<Self>, time: Duration) -> WaitFuture<'static> {
        let until = self.now().after(time);
        Box::pin(async move { self.wait_until(until).await })
    }
}

impl DynClock for StepClock {
    fn now(&self) -> Instant {
        Instant::from_micros(self.0.load(Ordering::Relaxed))
    }

    fn wait_until(&self, deadline: Instant) -> WaitFuture<'_> {
        // Wakes at every poll, because the caller polls as often as it likes.
        Box::pin(core::future::poll_fn(move |context| {
            context.waker().wake_by_ref();
            if self.now() >= deadline { Poll::Ready(()) } else { Poll::Pending }
        }))
    }

    fn jitter(&self) -> u32 {
        7
    }
}

/// Yields to other tasks this many times.
pub(crate) async fn turns(mut count: usize) {
    core::future::poll_fn(|context| {
        if count == 0 {
            return Poll::Ready(());
        }
        count -= 1;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Polls at most this many times. Returns `None` if the future is not done by then, and drops it.
fn drive<T>(world: &World, most: usize, future: impl Future<Output = T>) -> Option<T> {
    let mut future: Pin<&mut _> = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..=most {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return Some(output);
        }
        world.clock.step(1 + world.below(8) as u64);
    }
    world.ledger.lock().unwrap().figures.drops += 1;
    None
}

struct Caller {
    world: Arc<World>,
    run: Run,
    eager: bool,
    concurrency: usize,
    gated: bool,
}

/// One conversation.
pub(crate) fn converse(world: &Arc<World>) {
    let eager = world.chance(750);
    let concurrency = world.one_of(&[1, 1, 2, 3, 8, 32]);
    let gated = world.chance(400);
    *world.faults.lock().unwrap() = world.one_of(&[0, 100, 300, 600]);
    let run = builder(world, eager, concurrency, gated).stream(world.chance(850)).user("Word 0.");
    world.ledger.lock().unwrap().said.push("Word 0.".to_owned());
    let mut caller = Caller { world: Arc::clone(world), run, eager, concurrency, gated };
    for _ in 0..10 + world.below(40) {
        world.ledger.lock().unwrap().figures.operations += 1;
        caller.step();
        // Every request is checked, and the end; a check after each step would take most of the
        // time.
        if world.chance(350) {
            caller.look();
        }
    }
    caller.end();
}

fn builder(world: &Arc<World>, eager: bool, concurrency: usize, gated: bool) -> RunBuilder {
    let client = Client::builder()
        .base_url("http://server")
        .api_key("k")
        .transport(HttpTransport::from_dyn(Server(Arc::clone(world))));
    let builder =
        client.build().unwrap().run("m").tools(kit(world)).eager(eager).concurrency(concurrency);
    let retry = RetryPolicy {
        first_wait: Duration::from_millis(3),
        after_output: world.chance(300),
        ..RetryPolicy::DEFAULT
    };
    let builder = builder
        .clock(Arc::clone(&world.clock))
        .grace(Duration::from_millis(15))
        .retry_policy(retry);
    let builder = builder.on_break(world.one_of(&[OnBreak::Drop, OnBreak::KeepBlocks]));
    let builder =
        if world.capacity < usize::MAX { builder.capacity(world.capacity) } else { builder };
    let builder = if world.chance(100) { builder.on_result(|_| panic!("a hook")) } else { builder };
    let world = Arc::clone(world);
    if gated { builder.gate(move |call| gate(Arc::clone(&world), call)) } else { builder }
}

fn kit(world: &Arc<World>) -> Kit {
    let count = if world.is_calm() || world.chance(800) {
        NAMES.len()
    } else {
        1 + world.below(NAMES.len())
    };
    Kit { world: Arc::clone(world), count }
}

impl Caller {
    fn ledger(&self) -> std::sync::MutexGuard<'_, Ledger> {
        self.world.ledger.lock().unwrap()
    }

    fn messages(&self) -> Vec<Value> {
        serde_json::from_str(&self.run.messages())
            .unwrap_or_else(|error| panic!("soak: the conversation is no JSON: {error}"))
    }

    /// Checks what must hold whenever the run rests, for its snapshot as well. Open calls are
    /// closed in a copy first.
    fn look(&self) {
        let snapshot =
            self.run.snapshot().unwrap_or_else(|error| panic!("soak: no snapshot: {error}"));
        let copy = Machine::from_snapshot(snapshot.as_bytes(), Transcript::growing());
        let mut copy =
            copy.unwrap_or_else(|error| panic!("soak: its own snapshot: {error}: {snapshot}"));
        copy.close_open_calls().unwrap_or_else(|error| {
            panic!("soak: calls that cannot be closed: {error}: {snapshot}")
        });
        let raw = copy.messages();
        let messages: Vec<Value> = serde_json::from_slice(&[b"[", raw, b"]"].concat())
            .unwrap_or_else(|error| panic!("soak: no JSON: {error}"));
        if let Err(wrong) = self.ledger().check(&messages, raw) {
            panic!(
                "soak: the conversation: {wrong}\n{}\n{:?}",
                String::from_utf8_lossy(raw),
                self.run
            );
        }
        let own = self.messages().into_iter().filter(|message| message["role"] == "assistant");
        assert!(
            own.eq(messages.into_iter().filter(|message| message["role"] == "assistant")),
            "soak: messages() and snapshot() differ: {snapshot}"
        );
    }

    fn step(&mut self) {
        let world = Arc::clone(&self.world);
        match world.below(60) {
            0..6 | 40..48 => self.drive_events(),
            6..10 | 48..52 => self.drive_turn(),
            10..16 | 52..60 => {
                let most = self.polls();
                let done = drive(&world, most, self.run.until_done());
                self.count(done.as_ref().map(|done| done.as_ref().map(|_| ())));
            }
            16 | 17 => {
                self.ledger().figures.cancels += 1;
                self.run.cancellation().cancel();
            }
            18..21 => self.restore(),
            21 => self.run.stop(),
            22 | 23 => drop(self.run.resume()),
            24 => self.say(),
            25 => {
                let text = self.word();
                if self.run.append(format!(r#"{{"role":"user","content":"{text}"}}"#)).is_ok() {
                    self.ledger().said.push(text);
                }
            }
            26 | 27 => self.answer(),
            28 => {
                if self.run.ask_again().is_ok() {
                    let messages = self.messages();
                    self.ledger().forget(&messages);
                }
            }
            29 | 30 => {
                for id in self.run.waiting_calls() {
                    let _ = self.run.allow(&id);
                }
            }
            31 => drop(self.run.close_open_calls().map(|_| ())),
            32 => drop(self.run.set_tools(kit(&world)).map(|_| ())),
            33 => {
                self.run.limits_mut().turns = world.one_of(&[None, Some(1), Some(3)]);
                self.run.limits_mut().calls = world.one_of(&[None, None, Some(4)]);
                self.run.limits_mut().time =
                    world.one_of(&[None, None, Some(Duration::from_millis(100))]);
            }
            34 => drop(self.run.set_stream(world.chance(800))),
            35 => drop(self.run.set_on_break(world.one_of(&[OnBreak::Drop, OnBreak::KeepBlocks]))),
            36 => world.clock.step(50),
            // Lifts all limits.
            _ => *self.run.limits_mut() = Limits::NONE,
        }
    }

    fn polls(&self) -> usize {
        if self.world.chance(500) { self.world.below(30) } else { self.world.below(300) }
    }

    fn count<T>(&self, done: Option<Result<T, &Error>>) {
        if let Some(Err(_)) = done {
            self.ledger().figures.errors += 1;
        }
    }

    fn word(&self) -> String {
        format!("Word {}.", self.ledger().said.len())
    }

    fn say(&mut self) {
        let text = self.word();
        if self.run.user(&text).is_ok() {
            self.ledger().said.push(text);
        }
    }

    fn drive_events(&mut self) {
        let world = Arc::clone(&self.world);
        for _ in 0..1 + world.below(30) {
            let most = self.polls();
            let told = drive(&world, most, self.run.next_event())
                .map(|told| told.map(|event| event.is_some()));
            self.count(told.as_ref().map(Result::as_ref));
            if !matches!(told, Some(Ok(true))) {
                return;
            }
        }
    }

    fn drive_turn(&mut self) {
        let world = Arc::clone(&self.world);
        let most = self.polls();
        let Some(Ok(Some(mut turn))) = drive(&world, most, self.run.next_turn()) else { return };
        match world.below(5) {
            0 => drop(drive(&world, most, turn.results())),
            1 => turn.stop(),
            2 if turn.ask_again().is_ok() => {
                let messages = self.messages();
                self.ledger().forget(&messages);
            }
            3 => self.answer(),
            _ => {}
        }
    }

    /// Answers a call instead of its tool.
    fn answer(&mut self) {
        let open: Vec<String> = self.run.open_calls().map(|call| call.id.to_string()).collect();
        if open.is_empty() {
            return;
        }
        let id = &open[self.world.below(open.len())];
        let text = format!("{id} by hand");
        if self.run.answer(id, &text).is_ok() {
            self.ledger().call(id).by_hand = Some(text);
        }
    }

    /// Continues from a snapshot, as after a crash: whatever was running is lost.
    fn restore(&mut self) {
        let Ok(snapshot) = self.run.snapshot() else { return };
        self.ledger().figures.snapshots += 1;
        self.run = builder(&self.world, self.eager, self.concurrency, self.gated).resume(&snapshot);
    }

    /// Ends the faults; the run must then end too, with nothing lost.
    fn end(mut self) {
        let world = Arc::clone(&self.world);
        *world.faults.lock().unwrap() = 0;
        self.ledger().is_calm = true;
        *self.run.limits_mut() = Limits::NONE;
        self.run.set_tools(kit(&world)).unwrap();
        let mut failed = None;
        for tries in 0..200 {
            match drive(&world, 3_000, self.run.until_done()) {
                Some(Ok(finished)) => match finished.outcome {
                    Outcome::Ended(_) if self.run.open_calls().next().is_none() => break,
                    Outcome::Ended(_) => self.say(),
                    Outcome::NeedsAnswer => self.answer(),
                    _ => drop(self.run.resume()),
                },
                // A conversation that is full ends here; its contents are still checked.
                Some(Err(Error::Capacity(full))) => {
                    assert!(full.needed > full.free, "soak: {full:?}");
                    break;
                }
                Some(Err(error)) => failed = Some(error.to_string()),
                // A tool that never ends.
                None => self.run.cancellation().cancel(),
            }
            assert!(
                tries < 150,
                "soak: it does not end: {failed:?} {:?} {:?} {}",
                self.run.outcome(),
                self.run,
                self.run.messages()
            );
        }
        self.look();
    }
}
