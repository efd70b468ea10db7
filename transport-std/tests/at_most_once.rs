//! A call that started while its reply was streamed is never forgotten: whatever the caller does,
//! and whenever, the call runs once, and the model receives its result.

use core::pin::Pin;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::task::{Context, Poll};
use core::time::Duration;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body::Frame;
use toolrunner_core::error::TransportKind;
use toolrunner_core::testing::validity::{Tail, check};
use toolrunner_core::tool::{Input, RawTool};
use toolrunner_core::transport::{Body, Head, Reply, ReplyHead};
use toolrunner_std::http::{DynTransport, HttpBody, HttpError, HttpTransport, SendFuture};
use toolrunner_std::{
    Client, Error, Event, Limits, OnBreak, Outcome, RetryPolicy, Run, RunBuilder,
};

/// A server whose first reply calls `pay` and continues for a while; the second reply is an end.
#[derive(Clone)]
struct Server {
    /// How the first reply ends.
    tail: Vec<Piece>,
    /// The number of further blocks after the call, and of calls in all.
    calls: usize,
    sent: Arc<Mutex<Vec<String>>>,
}

#[derive(Clone)]
enum Piece {
    Data(String),
    Wait(u64),
    Reset,
}

fn event(json: &str) -> String {
    format!("data: {json}\n\n")
}

fn start() -> String {
    event(
        r#"{"type":"message_start","message":{"id":"m","type":"message","role":"assistant","model":"m","content":[],"usage":{"input_tokens":1,"output_tokens":1}}}"#,
    )
}

fn block(index: usize, block: &str) -> String {
    let start =
        format!(r#"{{"type":"content_block_start","index":{index},"content_block":{block}}}"#);
    event(&start) + &event(&format!(r#"{{"type":"content_block_stop","index":{index}}}"#))
}

fn pay(index: usize) -> String {
    block(index, &format!(r#"{{"type":"tool_use","id":"t{index}","name":"pay","input":{{}}}}"#))
}

fn stop(reason: &str) -> String {
    event(&format!(
        r#"{{"type":"message_delta","delta":{{"stop_reason":"{reason}","stop_sequence":null}},"usage":{{"output_tokens":9}}}}"#
    )) + &event(r#"{"type":"message_stop"}"#)
}

struct Pieces {
    left: VecDeque<Piece>,
    sleep: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        loop {
            if let Some(sleep) = &mut self.sleep {
                core::task::ready!(sleep.as_mut().poll(context));
                self.sleep = None;
            }
            match self.left.pop_front() {
                None => return Poll::Ready(None),
                Some(Piece::Data(data)) => {
                    return Poll::Ready(Some(Ok(Frame::data(Bytes::from(data)))));
                }
                Some(Piece::Wait(millis)) => {
                    self.sleep = Some(Box::pin(tokio::time::sleep(Duration::from_millis(millis))))
                }
                Some(Piece::Reset) => {
                    return Poll::Ready(Some(Err(HttpError::new(TransportKind::Closed, "reset"))));
                }
            }
        }
    }
}

impl DynTransport for Server {
    fn send<'a>(&'a self, _: &'a Head<'_>, body: &'a Body<'_>) -> SendFuture<'a> {
        check(body.transcript(), Tail::Closed).unwrap();
        let text = String::from_utf8(body.transcript().to_vec()).unwrap();
        let is_first = !text.contains("tool_use");
        self.sent.lock().unwrap().push(text);
        let mut left = VecDeque::new();
        if is_first {
            left.push_back(Piece::Data(start() + &(0..self.calls).map(pay).collect::<String>()));
            left.push_back(Piece::Data(block(self.calls, r#"{"type":"text","text":"So."}"#)));
            left.push_back(Piece::Wait(if self.calls == 1 { 30 } else { 0 }));
            left.extend(self.tail.iter().cloned());
        } else {
            left.push_back(Piece::Data(
                start() + &block(0, r#"{"type":"text","text":"Done."}"#) + &stop("end_turn"),
            ));
        }
        Box::pin(async move {
            Ok(Reply {
                head: ReplyHead::new(200),
                body: HttpBody::from_body(Pieces { left, sleep: None }),
            })
        })
    }
}

/// The parts of one case.
struct Case {
    server: Server,
    ran: Arc<AtomicUsize>,
    /// How long the tool takes.
    takes: u64,
}

impl Case {
    fn new(takes: u64, tail: Vec<Piece>) -> Self {
        Self { server: Server { tail, calls: 1, sent: Arc::default() }, ran: Arc::default(), takes }
    }

    fn builder(&self) -> RunBuilder {
        let (ran, takes) = (Arc::clone(&self.ran), self.takes);
        let tool =
            RawTool::new("pay", "Pay.", r#"{"type":"object","properties":{}}"#, move |_: Input| {
                ran.fetch_add(1, Ordering::SeqCst);
                async move {
                    if takes > 0 {
                        tokio::time::sleep(Duration::from_millis(takes)).await;
                    }
                    "paid 100 EUR".to_owned()
                }
            });
        let client = Client::builder()
            .base_url("http://server")
            .api_key("k")
            .transport(HttpTransport::from_dyn(self.server.clone()));
        let builder = client
            .build()
            .unwrap()
            .run("m")
            .tools(tool.unwrap())
            .eager(true)
            .grace(Duration::from_millis(20));
        builder.retry_policy(RetryPolicy { first_wait: Duration::ZERO, ..RetryPolicy::DEFAULT })
    }

    fn ran(&self) -> usize {
        self.ran.load(Ordering::SeqCst)
    }

    /// Drives the run to its end and returns the result that the model received for its call.
    /// Asserts that every run ends well and that the tool ran once.
    async fn end(&self, run: &mut Run, name: &str) -> String {
        for _ in 0..5 {
            match run.until_done().await.unwrap().outcome {
                Outcome::Ended(_) => break,
                _ => drop(run.resume()),
            }
        }
        assert_eq!((self.ran(), run.message().unwrap().text().as_str()), (1, "Done."), "{name}");
        let last = self.server.sent.lock().unwrap().last().unwrap().clone();
        let (_, result) = last
            .split_once(r#""tool_use_id":"t0","content":""#)
            .unwrap_or_else(|| panic!("{name}: {last}"));
        result.split_once('"').unwrap().0.to_owned()
    }
}

/// Reads events until `is_it` accepts one.
async fn read_to(run: &mut Run, is_it: impl Fn(&Event<'_>) -> bool) {
    while let Some(event) = run.next_event().await.unwrap() {
        if is_it(&event) {
            return;
        }
    }
    panic!("it never came");
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum At {
    /// While the reply is streamed.
    Reply,
    /// Just after its end was reported.
    Whole,
    /// While the end of its body is awaited.
    Drain,
}

const VERBS: [&str; 9] = [
    "nothing",
    "snapshot",
    "stop",
    "cancel",
    "user",
    "append",
    "answer",
    "close",
    "next_turn and stop",
];

/// Covers a tool that has ended and one that still runs, and every place in the reply.
#[tokio::test]
async fn whatever_the_caller_says_a_started_call_runs_once_and_is_reported() {
    for takes in [0, 60_000] {
        for at in [At::Reply, At::Whole, At::Drain] {
            for verb in VERBS {
                let name = format!("{verb} at {at:?}, takes {takes}");
                if takes > 0 && ["nothing", "append", "next_turn and stop"].contains(&verb) {
                    continue;
                }
                let mut tail = vec![Piece::Data(stop("tool_use"))];
                if at == At::Drain {
                    tail.push(Piece::Wait(400));
                }
                let case = Case::new(takes, tail);
                let mut run = case.builder().user("Pay.");
                match at {
                    At::Reply if takes == 0 => {
                        read_to(&mut run, |event| matches!(event, Event::ToolEnd { .. })).await
                    }
                    At::Reply => {
                        read_to(&mut run, |event| matches!(event, Event::ToolStart { .. })).await
                    }
                    At::Whole => {
                        read_to(&mut run, |event| matches!(event, Event::MessageStop)).await
                    }
                    At::Drain => {
                        let late =
                            tokio::time::timeout(Duration::from_millis(120), run.until_done())
                                .await;
                        assert!(late.is_err(), "{name}: it ended");
                    }
                }
                // The call starts to run before its reply is complete.
                if takes > 0 && case.ran() == 0 {
                    let _ = tokio::time::timeout(Duration::from_millis(1), run.next_event()).await;
                }
                let mut expected = if takes == 0 { "paid 100 EUR" } else { "Error: cancelled" };
                match verb {
                    "snapshot" => run = case.builder().resume(&run.snapshot().unwrap()),
                    "stop" => {
                        run.stop();
                        run.resume();
                    }
                    "cancel" => run.cancellation().cancel(),
                    "user" => drop(run.user("More.").unwrap()),
                    // While the reply is streamed, it is too early for either of these.
                    "append" => assert_eq!(
                        run.append(r#"{"role":"user","content":"More."}"#).is_err(),
                        at == At::Reply
                    ),
                    "close" => assert_eq!(run.close_open_calls().is_err(), at == At::Reply),
                    "answer" if takes == 0 => {
                        assert!(run.answer("t0", "By hand.").is_err(), "{name}: it has a result")
                    }
                    "answer" => {
                        run.answer("t0", "By hand.").unwrap();
                        expected = "By hand.";
                    }
                    "next_turn and stop" => {
                        run.next_turn().await.unwrap().unwrap().stop();
                        run.resume();
                    }
                    _ => {}
                }
                // Too early: nothing was closed, and the tool would run for a minute.
                if verb == "close" && at == At::Reply && takes > 0 {
                    run.cancellation().cancel();
                }
                assert_eq!(case.end(&mut run, &name).await, expected, "{name}");
            }
        }
    }
}

/// A call that is running when the snapshot is taken is cancelled in the resumed run, and continues
/// in the other.
#[tokio::test]
async fn a_snapshot_changes_nothing_in_the_run() {
    let case = Case::new(80, vec![Piece::Data(stop("tool_use"))]);
    let mut run = case.builder().user("Pay.");
    read_to(&mut run, |event| matches!(event, Event::MessageStop)).await;
    let mut resumed = case.builder().resume(&run.snapshot().unwrap());
    assert_eq!(case.end(&mut resumed, "resumed").await, "Error: cancelled");
    assert_eq!(case.end(&mut run, "itself").await, "paid 100 EUR");
}

/// Cancels the run, or lets its time limit pass, while the body's end is awaited.
#[tokio::test]
async fn what_comes_from_outside_while_the_bodys_end_is_awaited() {
    for cancels in [true, false] {
        let case = Case::new(0, vec![Piece::Data(stop("tool_use")), Piece::Wait(400)]);
        let mut run = case.builder().user("Pay.");
        if cancels {
            let token = run.cancellation();
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(100)).await;
                token.cancel();
            });
        } else {
            run.limits_mut().time = Some(Duration::from_millis(100));
        }
        run.until_done().await.unwrap();
        *run.limits_mut() = Limits::NONE;
        assert_eq!(case.end(&mut run, "later").await, "paid 100 EUR");
    }
}

/// A message after the end of a reply closes the reply's calls, including one that is still
/// running, because its result is no longer needed.
#[tokio::test]
async fn a_message_behind_a_call_that_still_runs() {
    for (name, tail) in [
        ("ended", vec![Piece::Data(stop("end_turn"))]),
        ("cut", vec![Piece::Data(stop("max_tokens"))]),
        ("stopped", vec![]),
    ] {
        for resumes in [false, true] {
            let case = Case::new(60_000, tail.clone());
            // Long enough that a busy machine does not end it before the future is dropped.
            let grace = Duration::from_millis(500);
            let mut run = case.builder().grace(grace).on_break(OnBreak::KeepBlocks).user("Pay.");
            if name == "stopped" {
                read_to(&mut run, |event| matches!(event, Event::ToolStart { .. })).await;
                run.cancellation().cancel();
                // The future is dropped within the grace period.
                assert!(
                    tokio::time::timeout(Duration::from_millis(2), run.until_done()).await.is_err()
                );
            } else {
                read_to(&mut run, |event| matches!(event, Event::MessageStop)).await;
            }
            run.append(r#"{"role":"user","content":"Are you there?"}"#).unwrap();
            run.cancellation().cancel();
            if resumes {
                run.resume();
            }
            assert_eq!(case.end(&mut run, name).await, "Error: cancelled", "{name}");
        }
    }
}

/// Once a call has started, its reply is kept, however the reply ends early.
#[tokio::test]
async fn a_reply_that_ends_early_is_kept() {
    let error =
        event(r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#);
    let open: String = (5..140)
        .map(|i| event(&format!(r#"{{"type":"content_block_start","index":{i},"content_block":{{"type":"text","text":""}}}}"#)))
        .collect();
    let ends: [(&str, Vec<Piece>); 8] = [
        ("reset", vec![Piece::Reset]),
        ("end", vec![]),
        ("error", vec![Piece::Data(error)]),
        ("no json", vec![Piece::Data("data: {]\n\n".to_owned())]),
        (
            "misplaced",
            vec![Piece::Data(block(
                2,
                r#"{"type":"tool_result","tool_use_id":"x","content":"x"}"#,
            ))],
        ),
        ("many open blocks", vec![Piece::Data(open), Piece::Reset]),
        (
            "the same id",
            vec![Piece::Data(
                block(2, r#"{"type":"tool_use","id":"t0","name":"pay","input":{}}"#)
                    + &stop("tool_use"),
            )],
        ),
        (
            "full",
            vec![Piece::Data(
                block(2, &format!(r#"{{"type":"text","text":"{}"}}"#, "x".repeat(20_000)))
                    + &stop("tool_use"),
            )],
        ),
    ];
    for (name, tail) in ends {
        let case = Case::new(0, tail);
        let mut run = case.builder().capacity(10_000).user("Pay.");
        assert_eq!(case.end(&mut run, name).await, "paid 100 EUR", "{name}");
        assert!(run.messages().contains("So."), "{name}: the text behind the call is whole");
        assert_eq!(case.server.sent.lock().unwrap().len(), 2, "{name}");
    }
}

/// More calls than a turn may have: those that ran are reported, and the others up to the limit are
/// not run.
#[tokio::test]
async fn of_too_many_calls_those_that_ran_are_reported() {
    let mut case = Case::new(0, vec![Piece::Data(stop("tool_use"))]);
    case.server.calls = 129;
    let mut run = case.builder().user("Pay.");
    assert_eq!(run.until_done().await.unwrap().text(), "Done.");
    assert_eq!(case.ran(), 128);
    assert_eq!(case.server.sent.lock().unwrap()[1].matches("paid 100 EUR").count(), 128);
}

/// A full conversation has room for the results of the calls that have started, or none starts.
#[tokio::test]
async fn at_every_bound_of_the_conversation() {
    for capacity in (100..1_200).step_by(3) {
        let mut case = Case::new(
            0,
            vec![Piece::Data(
                block(4, r#"{"type":"text","text":"a longer text at the end"}"#)
                    + &stop("tool_use"),
            )],
        );
        case.server.calls = 3;
        let mut run = case.builder().capacity(capacity).user("Pay.");
        let mut ended = run.until_done().await;
        for _ in 0..3 {
            if matches!(&ended, Err(Error::Capacity(full)) if full.needed > full.free) {
                ended = run.until_done().await;
            }
        }
        let sent = case.server.sent.lock().unwrap();
        let told = sent.iter().filter(|text| text.contains("tool_result")).count();
        assert!(case.ran() <= 3, "{capacity}: {} ran", case.ran());
        if case.ran() > 0 {
            assert!(
                run.messages().contains("tool_result") || told > 0,
                "{capacity}: {} ran: {}",
                case.ran(),
                run.messages()
            );
        }
        if let Err(error) = ended {
            assert!(matches!(error, Error::Capacity(_)), "{capacity}: {error}");
        }
    }
}
