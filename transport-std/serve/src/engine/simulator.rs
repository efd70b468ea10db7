//! The engine under two servers that crash, a store that fails, and a clock of its own: many
//! schedules, each from one seed.
//!
//! One session is driven by clients that send, answer and cancel. Each server has workers around
//! the real [`Worker`]; runs, tools and the network are played. After each schedule the log is
//! judged: see [`World::judge`]. `SIMULATOR_SCHEDULES` says how many are run.

use core::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet};

use futures_util::FutureExt;
use serde_json::{Value, json};
use uuid::Uuid;

use super::document::InterruptKind;
use super::fact::text_blocks;
use super::*;
use crate::chat::{ChatRole, Sent, raw};
use crate::store::{Committed, MemoryStore, NewSession, Part, Store, StoreError};

/// What is broken on purpose, so that the judge is seen to notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plant {
    Nothing,
    /// A run starts tools without leave.
    RunsWithoutLeave,
    /// The store takes every commit, whatever it expects.
    NoCompareAndSet,
    /// The store says that it stored what it did not.
    LosesCommits,
    /// Who takes over believes that started calls did not start.
    ForgetsStarts,
}

/// SplitMix64.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

impl Ids for Chance {
    fn id(&mut self) -> Uuid {
        Uuid::from_u64_pair(self.next(), self.next())
    }
}

/// Something that happens later.
#[derive(Debug)]
enum Later {
    /// A server says that it is alive, looks for orphans and for changes.
    Beat(usize),
    /// A client does something.
    Client,
    Crash(usize),
    Restart(usize),
    /// What a run reports, if it may still.
    Report(Address, u64, Box<Fact>),
    /// A worker's commit reaches the store.
    Apply(Address, Box<Commit>, Fate),
    /// A command's commit reaches the store.
    Command(usize, u64, Box<Commit>, Fate),
    Load(Address),
}

/// A worker: which server, in which life, and which of its workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Address {
    server: usize,
    life: u64,
    worker: usize,
}

/// What becomes of a commit on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Arrives,
    /// It is lost, and the writer learns that something failed.
    Lost,
    /// It is applied, and the writer learns that something failed.
    AppliedSilently,
    /// The writer learns that something failed before it is applied after all.
    AppliedLate,
}

struct Server {
    id: Uuid,
    life: u64,
    is_up: bool,
    workers: Vec<Option<Played>>,
    /// It does not know whether a turn that it wanted to hold was stored as its own.
    is_in_doubt: bool,
}

/// A worker with the run that is played for it.
struct Played {
    worker: Worker,
    run: Run,
}

/// A run: what a front end would do.
struct Run {
    calls: Vec<PlayedCall>,
    replies: u64,
    transcript: u64,
    /// Counts up when what was scheduled is not to happen any more.
    era: u64,
    is_over: bool,
    has_waited: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Open,
    Runs,
    Aside,
    Done,
}

struct PlayedCall {
    id: String,
    at: At,
    answers: usize,
    asks: bool,
}

struct World {
    plant: Plant,
    now: u64,
    chance: Chance,
    store: MemoryStore,
    session: Uuid,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    laters: HashMap<u64, Later>,
    scheduled: u64,
    servers: Vec<Server>,
    rules: Rules,
    /// How often each call ran, by its id and by how many answers it had; and which may run again.
    runs: BTreeMap<(String, usize), u32>,
    idempotent: HashSet<String>,
    /// Rows that somebody was told are stored.
    acknowledged: BTreeMap<u64, bytes::Bytes>,
    messages: u64,
    calls: u64,
    /// From when on nothing fails any more.
    calm: u64,
    violation: Option<String>,
}

const END: u64 = 120_000;

impl World {
    fn new(seed: u64, plant: Plant) -> Self {
        let mut chance = Chance(seed);
        let session = chance.id();
        let store = MemoryStore::new();
        let document = serde_json::to_vec(&Document::default()).unwrap();
        let new = NewSession {
            id: session,
            owner: String::new(),
            metadata: BTreeMap::new(),
            now: Timestamp(0),
            expires: None,
            messages: 0,
            document: document.into(),
            base: None,
            limit: None,
            idempotent: None,
        };
        let _ = now(store.create(new));
        let server =
            |id| Server { id, life: 0, is_up: true, workers: Vec::new(), is_in_doubt: false };
        let servers = vec![server(chance.id()), server(chance.id())];
        let calm = 5_000 + chance.below(20_000);
        let mut this = Self {
            plant,
            now: 0,
            chance,
            store,
            session,
            queue: BinaryHeap::new(),
            laters: HashMap::new(),
            scheduled: 0,
            servers,
            rules: Rules { ttl: None, model: Some("m".to_owned()), system_messages: false },
            runs: BTreeMap::new(),
            idempotent: HashSet::new(),
            acknowledged: BTreeMap::new(),
            messages: 0,
            calls: 0,
            calm,
            violation: None,
        };
        this.after(0, Later::Beat(0));
        this.after(700, Later::Beat(1));
        this.after(10, Later::Client);
        for server in 0..2 {
            if this.chance.percent(70) {
                let at = this.chance.below(this.calm);
                this.after(at, Later::Crash(server));
            }
        }
        this
    }

    fn after(&mut self, wait: u64, later: Later) {
        self.scheduled += 1;
        self.queue.push(Reverse((self.now + wait, self.scheduled)));
        self.laters.insert(self.scheduled, later);
    }

    fn run(&mut self) {
        while let Some(Reverse((at, key))) = self.queue.pop() {
            if at > END || self.violation.is_some() {
                break;
            }
            self.now = at;
            if let Some(later) = self.laters.remove(&key) {
                self.happen(later);
            }
        }
    }

    fn context<T>(&mut self, server: usize, f: impl FnOnce(&mut Context<'_>) -> T) -> T {
        let id = self.servers[server].id;
        f(&mut Context {
            now: Timestamp(self.now),
            server: id,
            ids: &mut self.chance,
            rules: &self.rules,
        })
    }

    fn record(&self) -> Record {
        now(self.store.load(self.session)).unwrap()
    }

    fn happen(&mut self, later: Later) {
        match later {
            Later::Beat(server) => self.beat(server),
            Later::Client => self.client(),
            Later::Crash(server) => self.crash(server),
            Later::Restart(server) => {
                self.servers[server].id = self.chance.id();
                self.servers[server].is_up = true;
                self.beat(server);
            }
            Later::Report(address, era, fact) => self.report(address, era, *fact),
            Later::Apply(address, commit, fate) => self.apply(address, *commit, fate),
            Later::Command(server, life, commit, fate) => self.command(server, life, *commit, fate),
            Later::Load(address) => {
                let record = now(self.store.load(self.session)).map(Box::new);
                self.tell(address, Input::Loaded(record));
            }
        }
    }

    fn crash(&mut self, server: usize) {
        if !self.servers[server].is_up || self.now >= self.calm {
            return;
        }
        let server_state = &mut self.servers[server];
        server_state.is_up = false;
        server_state.life += 1;
        server_state.workers.clear();
        let wait = self.chance.below(15_000);
        self.after(wait, Later::Restart(server));
        if self.chance.percent(40) {
            let wait = wait + self.chance.below(8_000);
            self.after(wait, Later::Crash(server));
        }
    }

    fn beat(&mut self, server: usize) {
        if !self.servers[server].is_up {
            return;
        }
        now(self.store.beat(self.servers[server].id, Timestamp(self.now + 8_000)));
        let record = self.record();
        let played = &self.servers[server];
        let is_mine = record.status == Status::Running && record.holder == Some(played.id);
        let is_lost = played.is_in_doubt && is_mine && played.workers.iter().all(Option::is_none);
        if is_lost || !now(self.store.orphans(Timestamp(self.now), 8)).is_empty() {
            let mut document = Document::of(&record).unwrap();
            if self.plant == Plant::ForgetsStarts {
                let calls = document.active.iter_mut().flat_map(|active| &mut active.calls);
                calls
                    .filter(|call| call.state == CallState::Started)
                    .for_each(|call| call.state = CallState::Open);
            }
            let change = self.context(server, |context| take_over(&record, document, context));
            self.send_command(server, change);
        }
        // What others changed.
        let version = self.record().version;
        let life = self.servers[server].life;
        for worker in 0..self.servers[server].workers.len() {
            let is_new = self.servers[server].workers[worker]
                .as_mut()
                .is_some_and(|played| played.worker.changed(Some(version)));
            if is_new {
                let wait = self.chance.below(50);
                self.after(wait, Later::Load(Address { server, life, worker }));
            }
        }
        self.after(1_000, Later::Beat(server));
    }

    fn client(&mut self) {
        let wait = self.chance.below(3_000) + 1;
        if self.now < self.calm + 20_000 {
            self.after(wait, Later::Client);
        }
        let server = usize::try_from(self.chance.below(2)).unwrap();
        if !self.servers[server].is_up {
            return;
        }
        let record = self.record();
        let document = Document::of(&record).unwrap();
        let change = match record.status {
            Status::Idle | Status::Error if self.messages < 4 => {
                let sent = Sent { role: ChatRole::User, content: raw("go"), base64_image: None };
                let message = Message { sent, webhook: None, trace_parent: None };
                self.context(server, |context| send(&record, document, &message, context)).unwrap()
            }
            Status::Running if self.chance.percent(10) => {
                self.context(server, |context| cancel(&record, document, context))
            }
            Status::Interrupted | Status::Running => {
                let open: Vec<Interrupt> = document.open_interrupts().cloned().collect();
                let Some(interrupt) =
                    open.get(usize::try_from(self.chance.below(open.len() as u64)).unwrap())
                else {
                    return;
                };
                if self.chance.percent(5) {
                    self.context(server, |context| cancel(&record, document, context))
                } else {
                    let value = match interrupt.kind {
                        InterruptKind::ToolApproval => {
                            raw(&json!({"approved": self.chance.percent(60)}))
                        }
                        InterruptKind::UserInput => raw(&json!({"answers": {"q": "a"}})),
                    };
                    let answer = Answer { interrupt_id: interrupt.interrupt_id.clone(), value };
                    self.context(server, |context| resume(&record, document, &answer, context))
                        .unwrap()
                }
            }
            _ => return,
        };
        self.send_command(server, change);
    }

    fn send_command(&mut self, server: usize, change: Change) {
        let Change::Commit(commit) = change else { return };
        let (fate, wait, life) = (self.fate(), self.chance.below(40), self.servers[server].life);
        self.after(wait, Later::Command(server, life, commit, fate));
    }

    fn fate(&mut self) -> Fate {
        if self.now >= self.calm || !self.chance.percent(15) {
            return Fate::Arrives;
        }
        [Fate::Lost, Fate::AppliedSilently, Fate::AppliedLate]
            [usize::try_from(self.chance.below(3)).unwrap()]
    }

    /// The store gets a commit, and answers.
    fn store_it(&mut self, commit: Commit) -> Committed {
        if self.plant == Plant::LosesCommits && self.chance.percent(3) {
            return Committed::Done;
        }
        let mut commit = commit;
        if self.plant == Plant::NoCompareAndSet {
            let record = self.record();
            commit.expect = record.version;
            commit.fence = None;
            for (row, seq) in commit.rows.iter_mut().zip(record.head + 1..) {
                row.seq = seq;
            }
        }
        now(self.store.commit(commit))
    }

    fn command(&mut self, server: usize, life: u64, commit: Commit, fate: Fate) {
        if fate == Fate::Lost {
            return;
        }
        let is_message = commit
            .rows
            .first()
            .is_some_and(|row| row.event.windows(14).any(|text| text == b"\"user.message\""));
        let (rows, before) = (commit.rows.clone(), self.record());
        let after = before.after(&commit);
        let takes = matches!(commit.holder, Holder::Take(_));
        if self.store_it(commit) != Committed::Done {
            return;
        }
        self.messages += u64::from(is_message);
        // A crash after the commit, before its server learns of it.
        let crashes = self.now < self.calm && self.chance.percent(4);
        if crashes {
            self.crash(server);
        }
        let is_alive = self.servers[server].is_up && self.servers[server].life == life;
        if fate != Fate::Arrives || !is_alive {
            self.servers[server].is_in_doubt |= takes;
            return;
        }
        self.acknowledge(&rows);
        if takes {
            self.hold(server, after);
        }
    }

    fn acknowledge(&mut self, rows: &[crate::store::Row]) {
        if self.plant == Plant::NoCompareAndSet {
            return;
        }
        self.acknowledged.extend(rows.iter().map(|row| (row.seq, row.event.clone())));
    }

    fn hold(&mut self, server: usize, record: Record) {
        let document = Document::of(&record).unwrap();
        let calls = document.active.iter().flat_map(|active| &active.calls).map(|call| {
            let at = match call.state {
                CallState::Done => At::Done,
                CallState::Waiting => At::Aside,
                _ => At::Open,
            };
            PlayedCall {
                id: call.id.clone(),
                at,
                answers: call.answers.len(),
                asks: call.id.ends_with('?'),
            }
        });
        let run = Run {
            calls: calls.collect(),
            replies: 0,
            transcript: document.transcript,
            era: 0,
            is_over: false,
            has_waited: false,
        };
        let played = Played { worker: Worker::new(record, document), run };
        self.servers[server].workers.push(Some(played));
        let address = Address {
            server,
            life: self.servers[server].life,
            worker: self.servers[server].workers.len() - 1,
        };
        self.tell(address, Input::Begin);
        self.drive(address);
    }

    fn played(&mut self, address: Address) -> Option<&mut Played> {
        let server = &mut self.servers[address.server];
        if !server.is_up || server.life != address.life {
            return None;
        }
        server.workers.get_mut(address.worker)?.as_mut()
    }

    fn tell(&mut self, address: Address, input: Input) {
        if let Input::Stored(Ok(Committed::Done)) = &input
            && self.now < self.calm
            && self.chance.percent(3)
        {
            // A crash at the commit point: stored, and nobody knows.
            return self.crash(address.server);
        }
        if self.played(address).is_none() {
            return;
        }
        let server = &mut self.servers[address.server];
        let (id, played) = (server.id, server.workers[address.worker].as_mut().unwrap());
        let mut context = Context {
            now: Timestamp(self.now),
            server: id,
            ids: &mut self.chance,
            rules: &self.rules,
        };
        let effects = played.worker.step(input, &mut context);
        for effect in effects {
            self.perform(address, effect);
        }
    }

    fn perform(&mut self, address: Address, effect: Effect) {
        match effect {
            Effect::Commit(commit) => {
                let (wait, fate) = (self.chance.below(20), self.fate());
                if self.now < self.calm && self.chance.percent(3) {
                    // It is on its way when its server dies.
                    self.after(wait, Later::Apply(address, commit, Fate::AppliedSilently));
                    return self.crash(address.server);
                }
                self.after(wait, Later::Apply(address, commit, fate));
            }
            Effect::Load => {
                let wait = self.chance.below(30);
                self.after(wait, Later::Load(address));
            }
            Effect::Proceed => {
                let wait = 10 + self.chance.below(1_500);
                let Some(played) = self.played(address) else { return };
                let era = played.run.era;
                let fact = self.reply(address);
                self.after(wait, Later::Report(address, era, Box::new(fact)));
            }
            Effect::Allow(call) => {
                let Some(played) = self.played(address) else { return };
                let answers = played
                    .worker
                    .document()
                    .active
                    .as_ref()
                    .map_or(0, |active| active.calls[call].answers.len());
                let Some(known) = played.run.calls.get_mut(call) else { return };
                known.answers = answers;
                if self.plant == Plant::RunsWithoutLeave
                    && known_is_running(&self.servers, address, call)
                {
                    return;
                }
                self.start(address, call);
            }
            Effect::Answer(call) => {
                if let Some(call) =
                    self.played(address).and_then(|played| played.run.calls.get_mut(call))
                {
                    call.at = At::Done;
                }
            }
            Effect::Cancel => {
                let Some(played) = self.played(address) else { return };
                played.run.era += 1;
                let era = played.run.era;
                let fact = Fact::Ended { end: End::Cancelled { partial: None }, patch: None };
                let wait = self.chance.below(200);
                self.after(wait, Later::Report(address, era, Box::new(fact)));
            }
            Effect::Stop | Effect::Over(_) => {
                if let Effect::Over(record) = &effect
                    && self.plant == Plant::Nothing
                {
                    let rows =
                        now(self.store.rows(self.session, 0, 10_000, usize::MAX, Part::Events));
                    let stored: Vec<_> =
                        rows.into_iter().filter(|row| row.seq <= record.head).collect();
                    self.acknowledge(&stored);
                }
                self.servers[address.server].workers[address.worker] = None;
            }
        }
    }

    /// What the model says.
    fn reply(&mut self, address: Address) -> Fact {
        if self.chance.percent(4) {
            let error = ErrorDetail {
                kind: "overloaded_error".to_owned(),
                message: "busy".to_owned(),
                status: Some(529),
            };
            return Fact::Ended { end: End::Failed(error), patch: None };
        }
        let Some(played) = self.played(address) else { unreachable!() };
        played.run.replies += 1;
        let (from, replies) = (played.run.transcript, played.run.replies);
        let count = if replies > 3 { 0 } else { self.chance.below(4) };
        let mut calls = Vec::new();
        for _ in 0..count {
            self.calls += 1;
            let (needs_approval, asks, idempotent) =
                (self.chance.percent(20), self.chance.percent(15), self.chance.percent(25));
            let id = format!("call{}{}", self.calls, if asks { "?" } else { "" });
            if idempotent {
                self.idempotent.insert(id.clone());
            }
            let starts = !needs_approval && self.chance.percent(70);
            calls.push(NewCall {
                id,
                name: "t".to_owned(),
                input: raw(&json!({})),
                needs_approval,
                idempotent,
                starts,
            });
        }
        let text = ",x".repeat(usize::try_from(replies).unwrap());
        Fact::Reply(Reply {
            event: format!("message{}", self.chance.next()),
            has_thinking: false,
            text_blocks: Some(text_blocks("hello")),
            text: "hello".to_owned(),
            usage: Usage::default(),
            stop_reason: None,
            patch: Some(Patch { from, text }),
            frame: "{".to_owned(),
            then: if calls.is_empty() { Then::End(Stop::EndTurn) } else { Then::More },
            calls,
        })
    }

    /// A tool runs: the only place where anything has an effect.
    fn start(&mut self, address: Address, call: usize) {
        let Some(known) = self.played(address).and_then(|played| played.run.calls.get_mut(call))
        else {
            return;
        };
        if known.at == At::Done {
            return;
        }
        known.at = At::Runs;
        let (id, answers, asks) = (known.id.clone(), known.answers, known.asks);
        let runs = self.runs.entry((id.clone(), answers)).or_default();
        *runs += 1;
        if *runs > 1 && !self.idempotent.contains(&id) {
            self.violation = Some(format!("the tool of {id} ran twice"));
        }
        let fact = if asks && answers == 0 {
            Fact::Asked { call, questions: raw(&json!([])) }
        } else {
            Fact::ToolDone { call, content: text_blocks("done"), is_error: false }
        };
        let wait = self.chance.below(3_000);
        let era = self.played(address).map_or(0, |played| played.run.era);
        self.after(wait, Later::Report(address, era, Box::new(fact)));
    }

    /// A run reports what happened, if that still happens.
    fn report(&mut self, address: Address, era: u64, fact: Fact) {
        let Some(played) = self.played(address) else { return };
        if played.run.era != era || played.run.is_over {
            return;
        }
        match &fact {
            Fact::Reply(reply) => {
                played.run.transcript = reply.patch.as_ref().map_or(0, Patch::end);
                played.run.has_waited = false;
                played.run.calls = reply
                    .calls
                    .iter()
                    .map(|call| PlayedCall {
                        id: call.id.clone(),
                        at: if call.needs_approval { At::Aside } else { At::Open },
                        answers: 0,
                        asks: call.id.ends_with('?'),
                    })
                    .collect();
            }
            Fact::ToolDone { call, .. } => played.run.calls[*call].at = At::Done,
            Fact::Asked { call, .. } => played.run.calls[*call].at = At::Aside,
            Fact::Ended { .. } => played.run.is_over = true,
            _ => {}
        }
        let starting: Vec<usize> = match &fact {
            Fact::Reply(reply) => reply
                .calls
                .iter()
                .enumerate()
                .filter(|(_, call)| !call.starts && !call.needs_approval)
                .map(|(i, _)| i)
                .collect(),
            _ => Vec::new(),
        };
        let open: Vec<usize> = match &fact {
            Fact::Reply(reply) if self.plant == Plant::RunsWithoutLeave => {
                (0..reply.calls.len()).collect()
            }
            _ => Vec::new(),
        };
        self.tell(address, Input::Fact(fact));
        for call in starting {
            self.tell(address, Input::Fact(Fact::Starting(call)));
        }
        for call in open {
            self.start(address, call);
        }
        self.drive(address);
    }

    /// What a run does by itself: calls that were made anew ask at the gate, and when nothing runs
    /// it waits.
    fn drive(&mut self, address: Address) {
        let Some(played) = self.played(address) else { return };
        let run = &mut played.run;
        let states: Vec<CallState> = played
            .worker
            .document()
            .active
            .iter()
            .flat_map(|active| &active.calls)
            .map(|call| call.state)
            .collect();
        let is_first = run.replies == 0;
        let open: Vec<usize> =
            (0..run.calls.len()).filter(|&i| run.calls[i].at == At::Open).collect();
        if is_first && !run.has_waited {
            for i in open.iter().copied().filter(|&i| states.get(i) == Some(&CallState::Open)) {
                self.tell(address, Input::Fact(Fact::Starting(i)));
            }
        }
        let Some(played) = self.played(address) else { return };
        let run = &mut played.run;
        let waits = !run.is_over
            && run.calls.iter().all(|call| matches!(call.at, At::Aside | At::Done))
            && run.calls.iter().any(|call| call.at == At::Aside);
        if waits {
            self.tell(address, Input::Fact(Fact::Waiting { spent: 1 }));
        }
    }

    fn apply(&mut self, address: Address, commit: Commit, fate: Fate) {
        let rows = commit.rows.clone();
        let error = || Input::Stored(Err(StoreError::new("the store failed")));
        let (answer, is_known) = match fate {
            Fate::Arrives => {
                let committed = self.store_it(commit);
                let is_done = committed == Committed::Done;
                (Input::Stored(Ok(committed)), is_done)
            }
            Fate::Lost => (error(), false),
            Fate::AppliedSilently => {
                self.store_it(commit);
                (error(), false)
            }
            Fate::AppliedLate => {
                let wait = self.chance.below(400);
                // Its server may be dead by then; the store does not care.
                let nobody = Address { life: u64::MAX, ..address };
                self.after(wait, Later::Apply(nobody, Box::new(commit), Fate::AppliedSilently));
                (error(), false)
            }
        };
        if self.played(address).is_none() {
            return;
        }
        if is_known {
            self.acknowledge(&rows);
        }
        self.tell(address, answer);
        self.drive(address);
    }

    /// What must hold at the end, whatever happened.
    fn judge(&mut self) -> Result<(), String> {
        if let Some(violation) = self.violation.take() {
            return Err(violation);
        }
        let record = self.record();
        let rows = now(self.store.rows(self.session, 0, 10_000, usize::MAX, Part::Events));
        let events: Vec<Value> =
            rows.iter().map(|row| serde_json::from_slice(&row.event).unwrap()).collect();
        for (row, event) in self.acknowledged.iter().zip(1..) {
            let stored = rows.get(usize::try_from(row.0 - 1).unwrap()).map(|row| &row.event);
            if stored != Some(row.1) {
                return Err(format!("acknowledged row {event} is lost"));
            }
        }
        let (mut turn, mut is_under_way, mut open, mut sent) = (0, false, HashSet::new(), 0);
        for (event, seq) in events.iter().zip(1_u64..) {
            if event["seq"] != seq {
                return Err(format!("row {seq} has the number {}", event["seq"]));
            }
            let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
            match text("type").as_str() {
                "user.message" => {
                    if is_under_way || !open.is_empty() {
                        return Err(format!(
                            "a turn began while another was under way, at row {seq}"
                        ));
                    }
                    (turn, is_under_way, sent) = (turn + 1, true, sent + 1);
                }
                "agent.tool_use" => {
                    open.insert(text("id"));
                }
                "agent.tool_result" if !open.remove(&text("tool_use_id")) => {
                    return Err(format!("a call has two results, at row {seq}"));
                }
                "session.status_idle" if event["stop_reason"]["type"] != "requires_action" => {
                    if !open.is_empty() {
                        return Err(format!(
                            "the turn ended at row {seq} with calls that have no result"
                        ));
                    }
                    if !core::mem::replace(&mut is_under_way, false) {
                        return Err(format!("a turn ended twice, at row {seq}"));
                    }
                }
                _ => {}
            }
            if event["turn"] != turn {
                return Err(format!("row {seq} is of turn {} in turn {turn}", event["turn"]));
            }
        }
        if sent != self.messages {
            return Err(format!("{} messages were stored, {sent} are in the log", self.messages));
        }
        if record.status == Status::Running {
            return Err("nobody goes on with the turn".to_owned());
        }
        Ok(())
    }
}

fn known_is_running(servers: &[Server], address: Address, call: usize) -> bool {
    let played = servers[address.server].workers[address.worker].as_ref();
    played.and_then(|played| played.run.calls.get(call)).is_some_and(|call| call.at == At::Runs)
}

fn now<T>(answer: crate::store::Answer<'_, T>) -> T {
    answer.now_or_never().unwrap().unwrap()
}

/// Runs schedules until one is judged wrong; gives its seed and the verdict.
fn first_wrong(seeds: core::ops::Range<u64>, plant: Plant) -> Option<(u64, String)> {
    seeds.into_iter().find_map(|seed| {
        let mut world = World::new(seed, plant);
        world.run();
        world.judge().err().map(|verdict| (seed, verdict))
    })
}

#[test]
fn no_step_is_lost_and_no_tool_runs_twice() {
    let schedules = std::env::var("SIMULATOR_SCHEDULES")
        .ok()
        .and_then(|count| count.parse().ok())
        .unwrap_or(300);
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    std::thread::scope(|scope| {
        let part = schedules / threads + 1;
        let halves: Vec<_> = (0..threads)
            .map(|i| scope.spawn(move || first_wrong(i * part..(i + 1) * part, Plant::Nothing)))
            .collect();
        for half in halves {
            let wrong = half.join().unwrap();
            assert!(wrong.is_none(), "{wrong:?}");
        }
    });
}

#[test]
fn the_judge_notices_what_is_broken_on_purpose() {
    for plant in
        [Plant::RunsWithoutLeave, Plant::NoCompareAndSet, Plant::LosesCommits, Plant::ForgetsStarts]
    {
        let wrong = first_wrong(0..2_000, plant);
        assert!(wrong.is_some(), "{plant:?} goes unnoticed");
    }
}

#[test]
fn schedules_do_something() {
    let (mut runs, mut turns, mut interrupts, mut takeovers) = (0, 0, 0, 0);
    for seed in 0..300 {
        let mut world = World::new(seed, Plant::Nothing);
        world.run();
        runs += world.runs.values().sum::<u32>();
        turns += world.messages;
        let rows = now(world.store.rows(world.session, 0, 10_000, usize::MAX, Part::Events));
        let texts: Vec<String> =
            rows.iter().map(|row| String::from_utf8_lossy(&row.event).into_owned()).collect();
        interrupts += texts.iter().filter(|text| text.contains("requires_action")).count();
        takeovers += texts
            .iter()
            .filter(|text| text.contains("the server stopped while this call ran"))
            .count();
    }
    assert!(
        runs > 300 && turns > 300 && interrupts > 50 && takeovers > 20,
        "{runs} {turns} {interrupts} {takeovers}"
    );
}
