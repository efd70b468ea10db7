//! A whole run on slices allocates nothing, and is small. This is a program of its own, because it
//! counts the allocations of the process.
#![cfg(feature = "testing")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "a test runs on a server"
)]

use allocation_counter::measure;
use core::cell::Cell;
use core::pin::pin;
use core::task::{Context, Poll, Waker};
use embedded_io_async::{BufRead, ErrorType, Read};
use toolrunner_core::drive::Driver;
use toolrunner_core::error::TransportKind;
use toolrunner_core::message::StopReason;
use toolrunner_core::observe::{Event, FnObserver};
use toolrunner_core::run::{Outcome, Run, ToolAnswer};
use toolrunner_core::time::{Clock, Instant};
use toolrunner_core::tool::{Definition, Output, ToolCall, ToolError, Toolbox};
use toolrunner_core::transcript::Transcript;
use toolrunner_core::transport::{Body, Head, Reply, ReplyHead, Transport, TransportError};
use toolrunner_core::wire::{Auth, Config};

/// A transport whose replies are constants, delivered in pieces of some bytes.
struct Recorded {
    replies: &'static [(u16, &'static str)],
    next: usize,
    piece: usize,
    sent: usize,
}

#[derive(Debug)]
struct Failed;

impl core::fmt::Display for Failed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("no reply left")
    }
}

impl core::error::Error for Failed {}

impl embedded_io_async::Error for Failed {
    fn kind(&self) -> embedded_io_async::ErrorKind {
        embedded_io_async::ErrorKind::Other
    }
}

impl TransportError for Failed {
    fn kind(&self) -> TransportKind {
        TransportKind::Tls
    }
}

struct Pieces {
    rest: &'static [u8],
    piece: usize,
}

impl ErrorType for Pieces {
    type Error = Failed;
}

impl Read for Pieces {
    async fn read(&mut self, _: &mut [u8]) -> Result<usize, Failed> {
        Err(Failed)
    }
}

impl BufRead for Pieces {
    async fn fill_buf(&mut self) -> Result<&[u8], Failed> {
        Ok(&self.rest[..self.piece.min(self.rest.len())])
    }

    fn consume(&mut self, amount: usize) {
        self.rest = &self.rest[amount..];
    }
}

impl Transport for Recorded {
    type Error = Failed;
    type Body<'t> = Pieces;

    async fn send(&mut self, _: &Head<'_>, body: &Body<'_>) -> Result<Reply<Pieces>, Failed> {
        self.sent += body.len();
        let (status, text) = self.replies.get(self.next).ok_or(Failed)?;
        self.next += 1;
        Ok(Reply {
            head: ReplyHead::new(*status),
            body: Pieces { rest: text.as_bytes(), piece: self.piece },
        })
    }
}

/// Only waits advance the time.
struct Steps(Cell<u64>);

impl Clock for Steps {
    fn now(&self) -> Instant {
        Instant::from_micros(self.0.get())
    }

    async fn wait_until(&self, deadline: Instant) {
        self.0.set(self.0.get().max(deadline.as_micros()));
    }

    fn jitter(&self) -> u32 {
        7
    }
}

struct Board(Cell<u32>);

impl Toolbox for Board {
    fn count(&self) -> usize {
        2
    }

    fn definition(&self, i: usize) -> Option<Definition<'_>> {
        [
            Definition::new(
                "sum",
                r#"{"name":"sum","description":"","input_schema":{"type":"object"}}"#,
            ),
            Definition::new(
                "led",
                r#"{"name":"led","description":"","input_schema":{"type":"object"}}"#,
            ),
        ]
        .get(i)
        .copied()
    }

    async fn call(
        &self,
        i: usize,
        call: ToolCall<'_>,
        out: &mut Output<'_>,
    ) -> Result<(), ToolError> {
        self.0.set(self.0.get() + 1);
        match i {
            0 => Ok(out.text(call.input.as_json())?),
            _ => Err(ToolError::new("no LED")),
        }
    }
}

const STREAM: &str = concat!(
    "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"content\":[],\"usage\":{\"input_tokens\":25,\"output_tokens\":1},\"container\":{\"id\":\"container_1\"}}}\n\n",
    "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"Let me \\\"see\\\" \\ud83d\\ude00\"}}\n\n",
    "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n",
    "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":1,\"content_block\":{\"type\":\"tool_use\",\"id\":\"toolu_1\",\"name\":\"sum\",\"input\":{}}}\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"{\\\"a\\\":\\\"\\\\n\"}}\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"\\\"}\"}}\n\n",
    "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":1}\n\n",
    "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":2,\"content_block\":{\"type\":\"tool_use\",\"id\":\"toolu_2\",\"name\":\"led\",\"input\":{}}}\n\n",
    "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":2}\n\n",
    "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":3,\"content_block\":{\"type\":\"tool_use\",\"id\":\"toolu_3\",\"name\":\"nope\",\"input\":[1]}}\n\n",
    "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":3}\n\n",
    "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"tool_use\"},\"usage\":{\"output_tokens\":15}}\n\n",
    "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
);
const WHOLE: &str = r#"{"id":"msg_2","content":[{"type":"tool_use","id":"toolu_4","name":"sum","input":{"b":2}},{"type":"tool_use","id":"toolu_5","name":"gone","input":{}}],"stop_reason":"tool_use","usage":{"input_tokens":1}}"#;
const END: &str = r#"{"id":"msg_3","content":[{"type":"text","text":"Done."}],"stop_reason":"end_turn","usage":{"input_tokens":1}}"#;
const OVERLOADED: &str =
    r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#;

fn poll<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
    }
}

#[test]
fn a_whole_run_on_slices_allocates_nothing() {
    for piece in [1, 7, 100, 4096] {
        let mut memory = [0; 4096];
        let board = Board(Cell::new(0));
        let transport = Recorded {
            replies: &[(529, OVERLOADED), (200, STREAM), (200, WHOLE), (200, END)],
            next: 0,
            piece,
            sent: 0,
        };
        let config = Config::new("m", 64).auth(Auth::Key("k")).system("Be brief.");
        let mut run = Run::new(Transcript::new(&mut memory));
        let (mut events, mut ended) = (0_usize, None);
        let allocated = measure(|| {
            let mut driver = Driver::new(config, transport, &board, Steps(Cell::new(0))).unwrap();
            run.user("What is \"this\"?").unwrap();
            let mut observer = FnObserver(|_: &Event<'_>| events += 1);
            let first = poll(driver.next_turn(&mut run, &mut observer));
            run.append(r#"{"role":"user","content":"And that?"}"#).unwrap();
            run.answer(1.into(), ToolAnswer::error("by hand")).unwrap();
            run.add_to_result(1.into(), r#""cache_control":{"type":"ephemeral"}"#).unwrap();
            let outcome = poll(driver.until_done(&mut run, &mut observer));
            run.user("More?").unwrap();
            let failed = poll(driver.until_done(&mut run, &mut observer));
            run.stop();
            ended = Some((first, outcome, failed));
        });
        let (first, outcome, failed) = ended.unwrap();
        assert_eq!(allocated.count_total, 0, "pieces of {piece}");
        assert_eq!(first.unwrap(), None);
        assert_eq!(outcome.unwrap(), Outcome::Ended(Some(StopReason::EndTurn)));
        assert!(failed.is_err());
        assert_eq!(board.0.get(), 2);
        assert!(events > 20);
        let kept = core::str::from_utf8(run.transcript().bytes()).unwrap();
        assert!(
            kept.contains("expected an object, got array")
                && kept.contains("Tool 'gone' not found"),
            "{kept}"
        );
    }
}

#[test]
fn the_counter_counts() {
    assert_eq!(measure(|| drop(std::hint::black_box(vec![1_u8; 10]))).count_total, 1);
}

#[test]
fn the_drivers_future_is_small() {
    let mut memory = [0; 2048];
    let board = Board(Cell::new(0));
    let transport = Recorded { replies: &[], next: 0, piece: 1, sent: 0 };
    let mut driver =
        Driver::new(Config::new("m", 64), transport, &board, Steps(Cell::new(0))).unwrap();
    let mut run = Run::new(Transcript::new(&mut memory));
    let driver_size = size_of_val(&driver);
    let mut observer = ();
    let future = driver.until_done(&mut run, &mut observer);
    let future_size = size_of_val(&future);
    drop(future);
    println!("driver {driver_size}, future {future_size} bytes");
    assert!(future_size <= 2304, "the driver's future has {future_size} bytes");
}
