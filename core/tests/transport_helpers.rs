//! The helpers for transports: the error type, the body of pieces, and `Read` over `BufRead`.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    clippy::std_instead_of_core,
    reason = "a test runs on a server, and fails by panicking"
)]

#[cfg(feature = "alloc")]
use core::fmt;
use core::task::{Context, Poll, Waker};
use std::pin::pin;

use embedded_io_async::{BufRead, ErrorKind, ErrorType, Read};
use toolrunner_core::error::TransportKind;
use toolrunner_core::transport::read_buffered;
use toolrunner_core::transport::{Failure, PieceBody, PieceSource, TransportError};

fn now<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it waits"),
    }
}

#[test]
fn a_failure_has_its_kind_for_the_policy_and_for_readers() {
    const LATE: Failure = Failure::new(TransportKind::Timeout, "nothing for a minute");
    assert_eq!(LATE.kind(), TransportKind::Timeout);
    assert_eq!(TransportError::kind(&LATE), TransportKind::Timeout);
    assert_eq!(embedded_io_async::Error::kind(&LATE), ErrorKind::TimedOut);
    assert_eq!(
        (LATE.message(), LATE.to_string().as_str()),
        ("nothing for a minute", LATE.message())
    );
    assert_eq!((LATE.capacity(), LATE.misuse()), (None, None));
}

/// An error with another as its source.
#[cfg(feature = "alloc")]
#[derive(Debug)]
struct Outer(&'static str, Option<Box<Self>>);

#[cfg(feature = "alloc")]
impl fmt::Display for Outer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

#[cfg(feature = "alloc")]
impl core::error::Error for Outer {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        self.1.as_deref().map(|source| source as _)
    }
}

#[test]
#[cfg(feature = "alloc")]
fn a_cause_is_told_to_its_end_once_and_cannot_reach_a_terminal() {
    let innermost = Outer("\u{1b}[2Jreset", None);
    let middle = Outer("body", Some(Box::new(innermost)));
    let cause = Outer("no reply: body", Some(Box::new(middle)));
    let failure = Failure::caused_by(TransportKind::Closed, &cause);
    assert_eq!(failure.message(), "no reply: body: \\u{1b}[2Jreset");
    assert_eq!(failure.kind(), TransportKind::Closed);
}

#[test]
#[cfg(feature = "std")]
fn errors_of_sockets_have_kinds() {
    use std::io;
    for (error, kind) in [
        (io::ErrorKind::ConnectionRefused, TransportKind::Connect),
        (io::ErrorKind::HostUnreachable, TransportKind::Connect),
        (io::ErrorKind::ConnectionReset, TransportKind::Closed),
        (io::ErrorKind::UnexpectedEof, TransportKind::Closed),
        (io::ErrorKind::TimedOut, TransportKind::Timeout),
        (io::ErrorKind::InvalidInput, TransportKind::Setup),
        (io::ErrorKind::PermissionDenied, TransportKind::Other),
    ] {
        let failure = Failure::from(io::Error::from(error));
        assert_eq!(failure.kind(), kind, "{error:?}");
        assert_eq!(failure.message(), io::Error::from(error).to_string());
    }
    // What the policy makes of them: a wrong address is not tried again.
    assert!(!Failure::from(io::Error::from(io::ErrorKind::InvalidInput)).kind().is_transient());
}

/// A body in pieces, which counts how often it is asked for one.
struct Pieces(&'static [&'static [u8]], usize);

impl ErrorType for Pieces {
    type Error = Failure;
}

impl BufRead for Pieces {
    async fn fill_buf(&mut self) -> Result<&[u8], Failure> {
        self.1 += 1;
        match *self.0.first().unwrap_or(&&b""[..]) {
            b"!" => Err(Failure::new(TransportKind::Closed, "cut")),
            piece => Ok(piece),
        }
    }

    fn consume(&mut self, amount: usize) {
        if amount > 0 {
            assert_eq!(Some(amount), self.0.first().map(|piece| piece.len()));
            self.0 = &self.0[1..];
        }
    }
}

impl Read for Pieces {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Failure> {
        read_buffered(self, buffer).await
    }
}

#[test]
fn reading_copies_piece_by_piece_and_consumes() {
    let mut body = Pieces(&[b"ab", b"c"], 0);
    let mut buffer = [0; 4];
    // An empty buffer asks for nothing.
    assert_eq!((now(body.read(&mut [])), body.1), (Ok(0), 0));
    assert_eq!(now(body.read(&mut buffer)), Ok(2));
    assert_eq!(now(body.read(&mut buffer)), Ok(1));
    assert_eq!(&buffer, b"cb\0\0");
    assert_eq!(now(body.read(&mut buffer)), Ok(0));
    // A buffer that is shorter than the piece.
    let mut rest: &[u8] = b"xyz";
    let mut two = [0; 2];
    assert_eq!(now(read_buffered(&mut rest, &mut two)), Ok(2));
    assert_eq!((&two, rest), (b"xy", &b"z"[..]));
}

#[test]
fn reading_passes_errors_on() {
    let mut body = Pieces(&[b"!"], 0);
    let failure = now(body.read(&mut [0; 4])).unwrap_err();
    assert_eq!(failure.kind(), TransportKind::Closed);
    assert_eq!(body.0.len(), 1);
}

/// A source that goes wrong after its first error or end, as some libraries do.
struct Source(&'static [Result<&'static [u8], Failure>], bool);

impl PieceSource for Source {
    type Piece = &'static [u8];
    type Error = Failure;

    async fn next_piece(&mut self) -> Result<Option<&'static [u8]>, Failure> {
        assert!(!self.1, "it was asked after its end");
        let Some((first, rest)) = self.0.split_first() else {
            self.1 = true;
            return Ok(None);
        };
        self.0 = rest;
        self.1 = first.is_err();
        first.clone().map(Some)
    }
}

#[test]
fn a_body_of_pieces_lends_them_and_ends_once() {
    let mut body = PieceBody::new(Source(&[Ok(b""), Ok(b"abc"), Ok(b""), Ok(b"d")], false));
    // An empty piece is not the end.
    assert_eq!(now(body.fill_buf()), Ok(&b"abc"[..]));
    assert_eq!(now(body.fill_buf()), Ok(&b"abc"[..]), "nothing was consumed");
    body.consume(2);
    assert_eq!(now(body.fill_buf()), Ok(&b"c"[..]));
    body.consume(usize::MAX);
    let mut buffer = [0; 4];
    assert_eq!((now(body.read(&mut buffer)), buffer[0]), (Ok(1), b'd'));
    for _ in 0..2 {
        assert_eq!(now(body.fill_buf()), Ok(&b""[..]));
    }
    assert!(body.into_source().0.is_empty());
}

#[test]
fn an_error_of_a_body_of_pieces_is_final() {
    const CUT: Failure = Failure::new(TransportKind::Closed, "cut");
    const PIECES: &[Result<&[u8], Failure>] = &[Ok(b"abc"), Err(CUT)];
    let mut body = PieceBody::new(Source(PIECES, false));
    assert_eq!(now(body.fill_buf()), Ok(&b"abc"[..]));
    body.consume(3);
    for _ in 0..2 {
        assert_eq!(now(body.fill_buf()), Err(CUT));
    }
}
