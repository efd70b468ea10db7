//! Structured output without a heap: the schema as a constant, the reply in the caller's memory,
//! and a second question. This is a program of its own, because it counts the allocations of the
//! process.
#![cfg(feature = "macros")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "tests"
)]

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use allocation_counter::measure;
use embedded_io_async::{BufRead, ErrorType, Read};
use toolrunner_core::ToolInput;
use toolrunner_core::drive::Driver;
use toolrunner_core::error::{Capacity, CapacityKind, Error, TransportKind};
use toolrunner_core::output_params;
use toolrunner_core::policy::{Limit, Limits};
use toolrunner_core::run::{Outcome, Run};
use toolrunner_core::structured::StructuredResult;
use toolrunner_core::time::{Clock, Instant};
use toolrunner_core::transcript::Transcript;
use toolrunner_core::transport::{Body, Head, Reply, ReplyHead, Transport, TransportError};
use toolrunner_core::wire::Config;

/// A transport whose replies are constants. It checks each request for a text.
struct Recorded<'r> {
    replies: &'r [&'r str],
    requests: &'r [&'r str],
    next: usize,
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

struct Whole<'r>(&'r [u8]);

impl ErrorType for Whole<'_> {
    type Error = Failed;
}

impl Read for Whole<'_> {
    async fn read(&mut self, _: &mut [u8]) -> Result<usize, Failed> {
        Err(Failed)
    }
}

impl BufRead for Whole<'_> {
    async fn fill_buf(&mut self) -> Result<&[u8], Failed> {
        Ok(self.0)
    }

    fn consume(&mut self, amount: usize) {
        self.0 = &self.0[amount..];
    }
}

impl<'r> Transport for Recorded<'r> {
    type Error = Failed;
    type Body<'t>
        = Whole<'r>
    where
        Self: 't;

    async fn send(&mut self, _: &Head<'_>, body: &Body<'_>) -> Result<Reply<Whole<'r>>, Failed> {
        let mut request = [0; 2048];
        let mut len = 0;
        for byte in body.pieces().flatten() {
            request[len] = *byte;
            len += 1;
        }
        let request = std::str::from_utf8(&request[..len]).unwrap();
        let expected = self.requests.get(self.next).copied().unwrap_or_default();
        assert!(request.contains(expected), "{request} lacks {expected}");
        let text = self.replies.get(self.next).ok_or(Failed)?;
        self.next += 1;
        Ok(Reply { head: ReplyHead::new(200), body: Whole(text.as_bytes()) })
    }
}

struct Stopped;

impl Clock for Stopped {
    fn now(&self) -> Instant {
        Instant::from_micros(0)
    }

    async fn wait_until(&self, _: Instant) {}

    fn jitter(&self) -> u32 {
        0
    }
}

fn poll<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
    }
}

#[derive(ToolInput, Debug, PartialEq, Clone, Copy)]
#[tool(rename_all = "lowercase")]
enum Mode {
    Heat,
    Cool,
}

/// What to set.
#[derive(ToolInput, Debug, PartialEq, Clone)]
struct Setting {
    /// Degrees.
    #[tool(min = 5, max = 30, default = 21)]
    celsius: u8,
    mode: Option<Mode>,
    reason: heapless::String<60>,
    #[tool(min_items = 2)]
    hours: heapless::Vec<u8, 4>,
    place: (u8, bool),
}

const PARAMS: &str = output_params!(Setting);

#[test]
fn the_constant_is_strict() {
    assert_eq!(
        PARAMS,
        concat!(
            r#""output_config":{"format":{"type":"json_schema","schema":{"type":"object","description":"What to set.","properties":{"#,
            r#""celsius":{"type":"integer","description":"Degrees. {minimum: 5, maximum: 30, default: 21}"},"#,
            r#""mode":{"type":["string","null"],"enum":["heat","cool",null]},"#,
            r#""reason":{"type":"string","description":"{maxLength: 60}"},"#,
            r#""hours":{"type":"array","description":"{minItems: 2, maxItems: 4}","minItems":1,"items":{"type":"integer","description":"{minimum: 0}"}},"#,
            r#""place":{"type":"array","description":"{items: exactly 2, in the order of the forms}","minItems":1,"items":{"anyOf":[{"type":"integer","description":"{minimum: 0}"},{"type":"boolean"}]}}},"#,
            r#""required":["celsius","mode","reason","hours","place"],"additionalProperties":false}}}"#
        )
    );
    assert_eq!(
        output_params!(Mode),
        r#""output_config":{"format":{"type":"json_schema","schema":{"type":"object","properties":{"value":{"type":"string","enum":["heat","cool"]}},"required":["value"],"additionalProperties":false}}}"#
    );
}

/// Lets the model give these replies. Returns the output, and the number of requests.
fn output<T: for<'x> ToolInput<'x>>(
    params: &str,
    replies: &[&str],
    requests: &[&str],
    limits: Limits,
    memory: &mut [u8],
) -> (Result<StructuredResult<T>, Error>, usize) {
    let mut transcript = [0; 2048];
    let mut output = None;
    let mut sent = 0;
    let allocated = measure(|| {
        let transport = Recorded { replies, requests, next: 0 };
        let config = Config::new("m", 64).stream(false).params(params).limits(limits);
        let mut driver = Driver::new(config, transport, &(), Stopped).unwrap();
        let mut run = Run::new(Transcript::new(&mut transcript));
        run.user("Set it.").unwrap();
        let got = poll(driver.output::<T, _>(&mut run, &mut (), memory));
        sent = driver.transport_mut().next;
        output = Some(got.map_err(|error| error.error));
    });
    // With a heap, the reason of a mismatch is there.
    if !cfg!(feature = "alloc") {
        assert_eq!(allocated.count_total, 0);
    }
    (output.unwrap(), sent)
}

macro_rules! reply {
    ($text:literal, $stop:literal) => {
        concat!(
            r#"{"id":"msg_1","content":[{"type":"text","text":""#,
            $text,
            r#""}],"stop_reason":""#,
            $stop,
            r#"","usage":{"input_tokens":1}}"#
        )
    };
}

const GOOD: &str = reply!(
    r#" {\"celsius\":19,\"mode\":null,\"reason\":\"It is \\\"cold\\\" \u00e5\",\"hours\":[1,2],\"place\":[3,true]}\n"#,
    "end_turn"
);
const OUT_OF_RANGE: &str = reply!(
    r#"{\"celsius\":50,\"mode\":\"heat\",\"reason\":\"\",\"hours\":[1,2],\"place\":[3,true]}"#,
    "end_turn"
);

fn good() -> Setting {
    Setting {
        celsius: 19,
        mode: None,
        reason: "It is \"cold\" å".try_into().unwrap(),
        hours: [1, 2].into_iter().collect(),
        place: (3, true),
    }
}

#[test]
fn a_reply_is_a_value() {
    let (value, sent) = output(PARAMS, &[GOOD], &[PARAMS], Limits::NONE, &mut [0; 256]);
    assert_eq!((value, sent), (Ok(StructuredResult::Value(good())), 1));
    let text = reply!(r#"{\"value\":\"cool\"}"#, "end_turn");
    let (value, _) = output(output_params!(Mode), &[text], &[], Limits::NONE, &mut [0; 64]);
    assert_eq!(value, Ok(StructuredResult::Value(Mode::Cool)));
}

#[test]
fn a_reply_that_does_not_fit_is_asked_for_once_more() {
    let correction = r#"{"role":"user","content":"The reply does not fit the schema: celsius: expected at most 30, got 50\nReply again, with only the corrected JSON."}"#;
    let (value, sent) =
        output(PARAMS, &[OUT_OF_RANGE, GOOD], &["", correction], Limits::NONE, &mut [0; 256]);
    assert_eq!((value, sent), (Ok(StructuredResult::Value(good())), 2));

    let prose = reply!("I cannot.", "end_turn");
    let (value, sent) =
        output::<Setting>(PARAMS, &[OUT_OF_RANGE, prose, GOOD], &[], Limits::NONE, &mut [0; 256]);
    let Ok(StructuredResult::Mismatch(reason)) = value else { panic!("{value:?}") };
    assert_eq!((reason.as_str(), sent), ("expected a value at byte 0", 2));
}

#[test]
fn other_ends_are_told_apart() {
    let half = reply!(r#"{\"celsius\":19"#, "max_tokens");
    let (value, sent) = output::<Setting>(PARAMS, &[half], &[], Limits::NONE, &mut [0; 256]);
    assert_eq!((value, sent), (Ok(StructuredResult::Truncated), 1));

    let refused = reply!("No.", "refusal");
    let (value, sent) = output::<Setting>(PARAMS, &[refused], &[], Limits::NONE, &mut [0; 256]);
    assert_eq!((value, sent), (Ok(StructuredResult::Refused), 1));

    // The second question counts as a turn of the run.
    let mut limits = Limits::NONE;
    limits.turns = Some(1);
    let (value, sent) = output::<Setting>(PARAMS, &[OUT_OF_RANGE], &[], limits, &mut [0; 256]);
    assert_eq!((value, sent), (Ok(StructuredResult::Ended(Outcome::Limit(Limit::Turns))), 1));
}

#[test]
fn the_memory_is_the_callers() {
    let (value, _) = output::<Setting>(PARAMS, &[GOOD], &[], Limits::NONE, &mut [0; 40]);
    let Err(Error::Capacity(Capacity { what: CapacityKind::Reply, needed: 88, free: 40 })) = value
    else {
        panic!("{value:?}")
    };
}
