//! Bad links, the virtual clock, and the in-memory transport.
#![cfg(feature = "testing")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
#![allow(clippy::std_instead_of_alloc, reason = "a test has std")]

use core::pin::pin;
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::sync::Arc;

use embedded_io_async::BufRead;
use toolrunner_core::error::TransportKind;
use toolrunner_core::testing::{
    BadLink, Chunk, Fault, Rng, Script, ScriptedModel, ScriptedReply, ScriptedTransport, Style,
    VirtualClock,
};
use toolrunner_core::time::{Clock, Instant};
use toolrunner_core::transport::{Body, Failure, Head, Transport};

/// Polls a future until it is ready; here futures wait only for the virtual clock.
fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..1_000_000 {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
    }
    panic!("never ready");
}

fn data(chunks: &[Chunk]) -> Vec<u8> {
    chunks
        .iter()
        .filter_map(|chunk| if let Chunk::Data(data) = chunk { Some(data.clone()) } else { None })
        .flatten()
        .collect()
}

#[test]
fn a_seed_is_a_row_of_numbers() {
    // The first numbers of SplitMix64 from 0, as published.
    let mut rng = Rng::new(0);
    assert_eq!([rng.next_u64(), rng.next_u64()], [0xe220_a839_7b1d_cdaf, 0x6e78_9e6a_a1b9_65f4]);
    assert_eq!(rng.below(0), 0);
    assert!((0..1000).all(|_| rng.below(7) < 7));
    assert!(!rng.chance(0) && rng.chance(1000));
}

#[test]
fn a_bad_link_loses_nothing_unless_told_to() {
    let sent = [
        Chunk::Data((0..200).collect()),
        Chunk::Wait(Duration::from_secs(1)),
        Chunk::Data(vec![7; 100]),
    ];
    for seed in 0..50 {
        let mut link = BadLink::new(seed).longest_piece(9).delays(300, Duration::from_millis(5));
        let carried = link.carry(&sent);
        assert!(carried.whole);
        assert_eq!(data(&carried.chunks), data(&sent));
        assert!(carried.chunks.contains(&sent[1]));
        assert!(
            carried.chunks.iter().all(
                |chunk| !matches!(chunk, Chunk::Data(data) if data.is_empty() || data.len() > 9)
            )
        );
        let mut same = BadLink::new(seed).longest_piece(9).delays(300, Duration::from_millis(5));
        assert_eq!(same.carry(&sent), carried);
    }
    assert_ne!(BadLink::new(1).carry(&sent), BadLink::new(2).carry(&sent));
    let empty = BadLink::new(1).resets(1000).carry(&[]);
    assert_eq!((empty.chunks.len(), empty.whole), (0, true));
}

#[test]
fn a_bad_link_breaks_at_any_byte() {
    let sent = [Chunk::Data((0..100).collect()), Chunk::Data((100..200).collect())];
    let mut lengths = std::collections::BTreeSet::new();
    let (mut resets, mut ends) = (BadLink::new(3).resets(1000), BadLink::new(3).early_ends(1000));
    for _ in 0..2000 {
        let carried = resets.carry(&sent);
        assert!(!carried.whole && carried.chunks.last() == Some(&Chunk::Reset));
        lengths.insert(data(&carried.chunks).len());
        let carried = ends.carry(&sent);
        assert!(!carried.whole && !carried.chunks.contains(&Chunk::Reset));
        assert!(data(&sent).starts_with(&data(&carried.chunks)));
    }
    assert_eq!(lengths.into_iter().collect::<Vec<_>>(), (0..200).collect::<Vec<_>>());
    let mut half = BadLink::new(4).resets(500);
    let broken = (0..1000).filter(|_| !half.carry(&sent).whole).count();
    assert!((400..600).contains(&broken), "{broken}");
}

#[test]
fn the_clock_moves_only_when_it_is_waited_on() {
    let clock = VirtualClock::new(1);
    assert_eq!(clock.now(), Instant::ZERO);
    block_on(clock.wait_until(Instant::from_micros(5_000_000)));
    assert_eq!(clock.now(), Instant::from_micros(5_000_000));
    block_on(clock.wait_until(Instant::from_micros(3)));
    clock.advance(Duration::from_secs(1));
    let by_reference: &VirtualClock = &clock;
    block_on(Clock::wait_until(&by_reference, clock.now().after(Duration::from_millis(2))));
    assert_eq!(clock.now(), Instant::from_micros(6_002_000));
    assert_eq!(clock.waits(), [Duration::from_secs(5), Duration::from_millis(2)]);
    assert_ne!(clock.jitter(), clock.jitter());
    assert_eq!(VirtualClock::new(1).jitter(), VirtualClock::new(1).jitter());
    for _ in 0..300 {
        block_on(clock.wait_until(clock.now().after(Duration::from_secs(1))));
    }
    assert_eq!(clock.waits().len(), 256);
}

#[test]
fn the_earliest_wait_ends_first_and_a_dropped_one_never() {
    let clock = VirtualClock::default();
    let mut context = Context::from_waker(Waker::noop());
    let mut late = pin!(clock.wait_until(Instant::from_micros(700)));
    let mut early = Box::pin(clock.wait_until(Instant::from_micros(600)));
    let mut earliest = Box::pin(clock.wait_until(Instant::from_micros(100)));
    assert!(late.as_mut().poll(&mut context).is_pending());
    assert!(early.as_mut().poll(&mut context).is_pending());
    assert!(earliest.as_mut().poll(&mut context).is_pending());
    assert!(late.as_mut().poll(&mut context).is_pending());
    assert!(early.as_mut().poll(&mut context).is_pending());
    drop(earliest);
    assert!(late.as_mut().poll(&mut context).is_pending());
    assert_eq!(clock.now(), Instant::ZERO);
    assert!(early.as_mut().poll(&mut context).is_ready());
    assert_eq!(clock.now(), Instant::from_micros(600));
    assert!(late.as_mut().poll(&mut context).is_ready());
    assert_eq!(clock.now(), Instant::from_micros(700));
}

const BODY: &str = r#"{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"Hi"}]}"#;
const HEADERS: &[(&str, &str)] = &[("anthropic-version", "2023-06-01")];

/// Does one exchange. Returns the status, and the body with how it ended.
async fn exchange(
    transport: &mut ScriptedTransport,
) -> Result<(u16, Vec<u8>, Option<Failure>), Failure> {
    let head = Head { base_url: "http://test", path: "/v1/messages", headers: HEADERS };
    let (before, transcript, after) =
        ([&BODY.as_bytes()[..10], &BODY.as_bytes()[10..40]], &BODY.as_bytes()[40..], b"");
    let mut reply = transport.send(&head, &Body::new(&before, transcript, after)).await?;
    let mut bytes = Vec::new();
    loop {
        match reply.body.fill_buf().await {
            Ok([]) => return Ok((reply.head.status, bytes, None)),
            Ok(piece) => {
                // Never the whole piece, so that the rest is returned again.
                let length = piece.len().div_ceil(2);
                bytes.extend_from_slice(&piece[..length]);
                reply.body.consume(length);
            }
            Err(e) => {
                assert_eq!(reply.body.fill_buf().await, Err(e.clone()));
                return Ok((reply.head.status, bytes, Some(e)));
            }
        }
    }
}

fn model() -> ScriptedModel {
    ScriptedModel::new(
        Script::new()
            .reply(ScriptedReply::text("one"))
            .reply(ScriptedReply::text("two"))
            .error(529, "overloaded_error", "x")
            .header("retry-after", "2"),
    )
}

fn text(bytes: &[u8]) -> String {
    let value: serde_json::Value = serde_json::from_slice(bytes).unwrap();
    value["content"][0]["text"].as_str().unwrap_or_default().to_string()
}

#[test]
fn the_transport_carries_request_and_reply() {
    let mut transport = ScriptedTransport::new(model()).link(BadLink::new(5).longest_piece(3));
    let (status, bytes, end) = block_on(exchange(&mut transport)).unwrap();
    assert_eq!((status, text(&bytes).as_str(), end), (200, "one", None));
    assert_eq!(transport.model().requests()[0].body, BODY.as_bytes());
    assert_eq!(text(&block_on(exchange(&mut transport)).unwrap().1), "two");
    assert_eq!(transport.connections(), 1);
    let head = Head { base_url: "http://test", path: "/v1/messages", headers: HEADERS };
    let reply =
        block_on(transport.send(&head, &Body::new(&[], BODY.as_bytes(), b""))).unwrap().head;
    assert_eq!(
        (reply.status, reply.retry_after, reply.request_id()),
        (529, Some(Duration::from_secs(2)), "req_scripted_0003")
    );
    // A reply that was dropped before its end makes its connection dirty.
    block_on(exchange(&mut transport)).unwrap();
    assert_eq!(transport.connections(), 2);
}

#[test]
fn every_fault_and_then_the_same_answer() {
    let failed = |kind| Failure::new(kind, "the scripted transport failed");
    let timeout = failed(TransportKind::Timeout);
    let closed = failed(TransportKind::Closed);
    let connect = failed(TransportKind::Connect);
    let faults = [
        Fault::Unsent(TransportKind::Connect),
        Fault::NoHead(TransportKind::Closed),
        Fault::NoHead(TransportKind::Timeout),
        Fault::ResetAt(0),
        Fault::ResetAt(20),
        Fault::EndAt(20),
        Fault::StallAt(20),
        Fault::ResetAt(100_000),
        Fault::Clean,
    ];
    let clock = Arc::new(VirtualClock::default());
    let mut transport = ScriptedTransport::new(model())
        .faults(&faults)
        .clock(Arc::clone(&clock))
        .idle(Duration::from_secs(60));
    let mut next =
        || block_on(exchange(&mut transport)).map(|(_, bytes, end)| (bytes.len(), end, bytes));
    assert_eq!(next().unwrap_err(), connect);
    assert_eq!(next().unwrap_err(), closed);
    assert_eq!(next().unwrap_err(), timeout);
    let (length, end, _) = next().unwrap();
    assert_eq!((length, end), (0, Some(closed.clone())));
    let (length, end, _) = next().unwrap();
    assert_eq!((length, end), (20, Some(closed.clone())));
    let (length, end, _) = next().unwrap();
    assert_eq!((length, end), (20, None));
    let (length, end, _) = next().unwrap();
    assert_eq!((length, end), (20, Some(timeout)));
    assert_eq!(next().unwrap().1, Some(closed));
    assert_eq!(text(&next().unwrap().2), "one");
    assert_eq!(text(&next().unwrap().2), "two");
    assert_eq!(clock.waits(), [Duration::from_secs(60); 2]);
    assert_eq!(transport.model().requests().len(), 9);
    assert!(transport.model().complaints().is_empty());
}

#[test]
fn pauses_take_their_time() {
    let clock = Arc::new(VirtualClock::default());
    let style = Style { split: Some(50), pause: Duration::from_secs(2), ..Style::default() };
    let mut transport = ScriptedTransport::new(model().style(style)).clock(Arc::clone(&clock));
    let (_, bytes, _) = block_on(exchange(&mut transport)).unwrap();
    let pieces = u64::try_from(bytes.len().div_ceil(50)).unwrap();
    assert_eq!(clock.now(), Instant::from_micros(pieces * 2_000_000));
}

#[test]
fn the_transport_is_for_any_executor() {
    fn is_send(_: impl Send) {}
    let mut transport = ScriptedTransport::new(model());
    is_send(exchange(&mut transport));
    let clock = VirtualClock::default();
    is_send(clock.wait_until(Instant::ZERO));
}
