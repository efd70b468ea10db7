//! The chip's loop: the core's driver with a transcript of fixed size, over a transport in memory
//! or any other.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use embedded_io_async::{BufRead, ErrorKind, ErrorType, Read};
use toolrunner_core::drive::Driver;
use toolrunner_core::error::{Error, TransportKind};
use toolrunner_core::run::{Outcome, Run};
use toolrunner_core::testing::Request;
use toolrunner_core::transcript::Transcript;
use toolrunner_core::transport::{Body, Head, Reply, Transport, TransportError};
use toolrunner_core::wire::Config;

use crate::far::{Far, Told};
use crate::talks::{Bench, PROMPT, yields};
use crate::{Report, Trouble, named};

pub(crate) fn run(far: &Arc<Mutex<Far>>, trouble: &Trouble) -> Report {
    run_over(InMemory(Arc::clone(far)), far, trouble, || {})
}

/// Runs the conversation over any transport. `waits` advances the time when the future was not
/// woken.
pub(crate) fn run_over(
    transport: impl Transport,
    far: &Mutex<Far>,
    trouble: &Trouble,
    waits: fn(),
) -> Report {
    let (clock, talk) = far.lock().unwrap().surroundings();
    let bench = Bench::default();
    let mut report = Report::default();
    let config = Config::new("m", 64).base_url("http://far.test").stream(talk.stream);
    let mut driver = Driver::new(config, transport, &bench, &*clock).unwrap();
    let (mut capacity, mut snapshot) = (trouble.capacity.unwrap_or(16 * 1024), None::<Vec<u8>>);
    // Each round has its own memory: a run whose memory was too small continues in a larger one.
    'memory: for _ in 0..1000 {
        let mut memory = vec![0; capacity];
        let transcript = Transcript::new(&mut memory);
        let mut run = match &snapshot {
            None => Run::new(transcript),
            Some(bytes) => Run::from_snapshot(bytes, transcript).expect("its own snapshot"),
        };
        let mut grow = |run: &Run<'_>, error: Error| {
            let Error::Capacity(full) = error else { return false };
            assert!(full.needed > full.free, "{full:?}");
            capacity += full.needed - full.free;
            let mut bytes = Vec::new();
            run.snapshot(&mut bytes).expect("a snapshot");
            snapshot = Some(bytes);
            true
        };
        if run.transcript().is_empty()
            && let Err(error) = run.user(PROMPT)
        {
            report.errors.push(named(&error));
            assert!(grow(&run, error), "{error}");
            continue;
        }
        for _ in 0..10 {
            let ended = {
                let mut nobody = ();
                let mut future = std::pin::pin!(driver.until_done(&mut run, &mut nobody));
                poll(
                    future.as_mut(),
                    trouble.drop_after.filter(|_| report.drops == 0),
                    &mut report.polls,
                    waits,
                )
            };
            report.look_at(run.messages());
            match ended {
                None => report.drops += 1,
                Some(Ok(outcome)) => {
                    report.outcomes.push(outcome.to_string());
                    if matches!(
                        outcome,
                        Outcome::Ended(Some(toolrunner_core::message::StopReason::EndTurn))
                    ) {
                        report.end(run.messages(), &bench, far);
                        return report;
                    }
                    far.lock().unwrap().end();
                    run.user("Go on.").unwrap();
                }
                Some(Err(failed)) => {
                    report.errors.push(named(&failed.error));
                    far.lock().unwrap().end();
                    if grow(&run, failed.error) {
                        continue 'memory;
                    }
                }
            }
        }
        break;
    }
    report.problems.push("it does not end".to_owned());
    report
}

/// Polls `future` at most `most` times.
fn poll<T>(
    mut future: std::pin::Pin<&mut impl Future<Output = T>>,
    most: Option<usize>,
    polls: &mut usize,
    waits: fn(),
) -> Option<T> {
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    for _ in 0..most.unwrap_or(1_000_000) {
        *polls += 1;
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Some(output);
        }
        if !woken.0.swap(false, Ordering::SeqCst) {
            waits();
        }
    }
    assert!(most.is_some(), "the future does not end");
    None
}

/// Records whether the future has asked to be polled again.
#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A transport that passes each request to the far end.
struct InMemory(Arc<Mutex<Far>>);

#[derive(Clone, Copy, Debug)]
struct Failed(TransportKind);

impl core::fmt::Display for Failed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl core::error::Error for Failed {}

impl embedded_io_async::Error for Failed {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Other
    }
}

impl TransportError for Failed {
    fn kind(&self) -> TransportKind {
        self.0
    }
}

/// A body in pieces of 100 bytes, with a wait before each.
struct Pieces {
    bytes: Vec<u8>,
    at: usize,
    /// The error after the last piece, if there is one.
    ends: Option<TransportKind>,
}

impl Transport for InMemory {
    type Error = Failed;
    type Body<'t> = Pieces;

    async fn send(&mut self, head: &Head<'_>, body: &Body<'_>) -> Result<Reply<Pieces>, Failed> {
        yields(1).await;
        let mut request = Request::new(head.path, body.pieces().collect::<Vec<_>>().concat());
        request.headers = head
            .headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let wire = self.0.lock().unwrap().answer(request);
        yields(1).await;
        let Told { head, body, ends } = wire.told().map_err(Failed)?;
        Ok(Reply { head, body: Pieces { bytes: body, at: 0, ends } })
    }
}

impl ErrorType for Pieces {
    type Error = Failed;
}

impl BufRead for Pieces {
    async fn fill_buf(&mut self) -> Result<&[u8], Failed> {
        if self.at.is_multiple_of(100) {
            yields(1).await;
        }
        if self.at == self.bytes.len()
            && let Some(kind) = self.ends
        {
            return Err(Failed(kind));
        }
        let end = (self.at / 100 * 100 + 100).min(self.bytes.len());
        Ok(&self.bytes[self.at..end])
    }

    fn consume(&mut self, amount: usize) {
        self.at += amount;
    }
}

impl Read for Pieces {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Failed> {
        let piece = self.fill_buf().await?;
        let count = piece.len().min(buffer.len());
        buffer[..count].copy_from_slice(&piece[..count]);
        self.consume(count);
        Ok(count)
    }
}
