//! A reply's body that arrives whole, byte by byte, or in pieces has the same events, the same
//! conversation and the same end, in memory that grows and in memory that does not.

use toolrunner_core::error::Error;
use toolrunner_core::run::{Run, Step};
use toolrunner_core::testing::validity::{self, Tail};
use toolrunner_core::time::Instant;
use toolrunner_core::transcript::Transcript;
use toolrunner_core::transport::ReplyHead;

#[derive(Debug, PartialEq)]
struct DecodeResult {
    events: Vec<String>,
    ended: Result<(), Error>,
    transcript: Vec<u8>,
    usage: String,
}

/// Runs the target, whose properties the module's documentation lists.
pub fn run(data: &[u8]) {
    // The first byte determines the size of the pieces.
    let Some((first, body)) = data.split_first() else { return };
    let whole = made(Run::new(Transcript::growing()), [body]);
    for (how, size) in [("single bytes", 1), ("pieces", usize::from(*first) + 2)] {
        assert_eq!(whole, made(Run::new(Transcript::growing()), body.chunks(size)), "{how}");
    }
    let mut memory = vec![0; body.len() * 4 + 4096];
    assert_eq!(whole, made(Run::new(Transcript::new(&mut memory)), [body]), "fixed memory");
    assert_eq!(
        whole,
        made(Run::new(Transcript::new(&mut memory)), body.chunks(1)),
        "fixed memory, single bytes"
    );
    // With too little memory the result is an error or the same.
    let size = usize::from(*first) * 8 + 40;
    let small = made(Run::new(Transcript::new(&mut memory[..size])), body.chunks(1));
    match small.ended {
        Err(Error::Capacity(full)) => assert!(full.needed > full.free, "{full:?}"),
        _ => assert_eq!(small.ended, whole.ended, "in {size} bytes"),
    }
}

fn made<'p>(mut run: Run<'_>, pieces: impl IntoIterator<Item = &'p [u8]>) -> DecodeResult {
    run.user("Hi").expect("room for it");
    assert_eq!(run.step(Instant::ZERO), Ok(Step::Send));
    run.head_arrived(&ReplyHead::new(200));
    let mut events = Vec::new();
    let ended = feed(&mut run, pieces, &mut events);
    if let Err(error) = ended {
        let _ = run.failed(error, Instant::ZERO, 0);
    }
    if let Err(invalid) = validity::check(run.transcript().bytes(), Tail::Open) {
        panic!("{invalid}: {}", String::from_utf8_lossy(run.transcript().bytes()));
    }
    let usage = format!("{:?} {:?} {:?}", run.turn_usage(), run.stop_reason(), run.container());
    DecodeResult { events, ended, transcript: run.transcript().bytes().to_vec(), usage }
}

fn feed<'p>(
    run: &mut Run<'_>,
    pieces: impl IntoIterator<Item = &'p [u8]>,
    events: &mut Vec<String>,
) -> Result<(), Error> {
    for piece in pieces {
        let mut rest = piece;
        while let Some(stream_event) = run.feed(&mut rest)? {
            events.push(format!("{:?}", run.mark_shown(stream_event)));
        }
    }
    while let Some(stream_event) = run.end_of_body()? {
        events.push(format!("{:?}", run.mark_shown(stream_event)));
    }
    Ok(())
}
