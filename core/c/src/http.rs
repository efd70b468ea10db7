//! A parser for replies in HTTP/1.1: head, framing and end. It is for programs that have a socket
//! but no HTTP client.

use toolrunner_core::error::{Error, TransportKind};
use toolrunner_core::transport::ReplyHead;

/// The number of bytes of a line that are kept. No field that matters is longer, and the rest of
/// other lines is skipped.
const LINE: usize = 160;
/// The maximum size of all heads of a reply, and of a body's trailer, in bytes.
const HEAD: u32 = 64 * 1024;
const WRONG: Error = Error::Transport(TransportKind::Http);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Status,
    Field,
    /// The number of bytes of the body that are still missing.
    Length(u64),
    ChunkSize,
    /// The number of bytes of the chunk that are still missing.
    Chunk(u64),
    /// The empty line after a chunk.
    ChunkEnd,
    Trailer,
    /// The body ends with the connection.
    UntilClosed,
    Done,
}

/// The framing of the body, as far as the header fields have stated it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Unknown,
    Length(u64),
    Chunked,
}

/// The part of the reply at the beginning of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// This many bytes of the body.
    Body(usize),
    /// The end of the reply.
    End,
    /// Nothing. More input is needed.
    More,
}

#[derive(Debug)]
pub(crate) struct Http {
    state: State,
    framing: Framing,
    line: [u8; LINE],
    /// The number of bytes of the line, including those that are not kept.
    len: usize,
    /// The number of bytes of all lines so far.
    lines: u32,
    stays_open: bool,
    /// Whether the head was passed to the machine.
    has_passed_head: bool,
}

impl Http {
    pub(crate) const fn new() -> Self {
        Self {
            state: State::Status,
            framing: Framing::Unknown,
            line: [0; LINE],
            len: 0,
            lines: 0,
            stays_open: false,
            has_passed_head: false,
        }
    }

    /// Marks the head as passed to the machine. Returns whether it was already.
    pub(crate) const fn pass_head(&mut self) -> bool {
        core::mem::replace(&mut self.has_passed_head, true)
    }

    /// Returns whether the head was passed to the machine.
    pub(crate) const fn has_passed_head(&self) -> bool {
        self.has_passed_head
    }

    /// Returns whether the reply was read to its end.
    pub(crate) const fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// Returns whether the reply was read to its end and the connection can carry another request.
    pub(crate) const fn can_go_on(&self) -> bool {
        self.is_done() && self.stays_open
    }

    /// Reads `input` up to a part of the body, and advances it. The header fields are written to
    /// `head`.
    ///
    /// # Errors
    /// Returns an error if the input is not HTTP.
    pub(crate) fn next(&mut self, input: &mut &[u8], head: &mut ReplyHead) -> Result<Part, Error> {
        loop {
            match self.state {
                State::Done => return Ok(Part::End),
                State::Length(0) => self.state = State::Done,
                State::Chunk(0) => self.state = State::ChunkEnd,
                _ if input.is_empty() => return Ok(Part::More),
                State::UntilClosed => return Ok(Part::Body(input.len())),
                State::Length(left) | State::Chunk(left) => {
                    let left = usize::try_from(left).unwrap_or(usize::MAX);
                    return Ok(Part::Body(left.min(input.len())));
                }
                State::Status
                | State::Field
                | State::ChunkSize
                | State::ChunkEnd
                | State::Trailer => {
                    if self.take_line(input)? {
                        self.end_line(head)?;
                    }
                }
            }
        }
    }

    /// Records that this many bytes of the body were read.
    pub(crate) fn consume(&mut self, len: usize) {
        let len = u64::try_from(len).unwrap_or(u64::MAX);
        if let State::Length(left) | State::Chunk(left) = &mut self.state {
            *left = left.saturating_sub(len);
        }
    }

    /// Records that the connection was closed.
    ///
    /// # Errors
    /// Returns an error if the reply is incomplete.
    pub(crate) const fn close(&mut self) -> Result<(), Error> {
        self.stays_open = false;
        match self.state {
            State::UntilClosed | State::Done => {
                self.state = State::Done;
                Ok(())
            }
            _ => Err(Error::Transport(TransportKind::Closed)),
        }
    }

    /// Records that more bytes follow the reply. Nobody asked for them, so they would be taken for
    /// the next reply.
    pub(crate) const fn spoil(&mut self) {
        self.stays_open = false;
    }

    /// Reads bytes of a line. Returns whether the line is complete.
    fn take_line(&mut self, input: &mut &[u8]) -> Result<bool, Error> {
        while let Some((&byte, rest)) = input.split_first() {
            *input = rest;
            self.lines += 1;
            if self.lines > HEAD {
                return Err(WRONG);
            }
            if byte == b'\n' {
                return Ok(true);
            }
            if let Some(place) = self.line.get_mut(self.len) {
                *place = byte;
            }
            self.len += 1;
        }
        Ok(false)
    }

    fn end_line(&mut self, head: &mut ReplyHead) -> Result<(), Error> {
        let len = self.len;
        self.len = 0;
        let line = self.line;
        let line = line.get(..len.min(LINE)).unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match self.state {
            State::Status => {
                let (status, is_new) = status(line).ok_or(WRONG)?;
                *head = ReplyHead::new(status);
                (self.framing, self.stays_open) = (Framing::Unknown, is_new);
                self.state = State::Field;
            }
            State::Field if line.is_empty() && len <= 1 => {
                self.state = match (head.status, self.framing) {
                    // The actual reply follows.
                    (100..200, _) => State::Status,
                    (204 | 304, _) => State::Length(0),
                    (_, Framing::Chunked) => State::ChunkSize,
                    (_, Framing::Length(len)) => State::Length(len),
                    (_, Framing::Unknown) => State::UntilClosed,
                };
            }
            State::Field => {
                let colon = line.iter().position(|byte| *byte == b':');
                let (name, value) =
                    match colon.and_then(|at| Some((line.get(..at)?, line.get(at + 1..)?))) {
                        Some(parts) => parts,
                        // The colon of a line that is too long may be in the part that is not kept.
                        None if len > LINE => return Ok(()),
                        None => return Err(WRONG),
                    };
                if len <= LINE {
                    let value = value.trim_ascii();
                    match self.framing_of(name, value) {
                        Some(framing) => self.framing = framing?,
                        None => {
                            if let Ok(name) = core::str::from_utf8(name) {
                                head.field(name, value);
                            }
                        }
                    }
                }
            }
            State::ChunkSize => {
                let size = chunk_size(line).ok_or(WRONG)?;
                self.state = if size == 0 { State::Trailer } else { State::Chunk(size) };
            }
            State::ChunkEnd if line.is_empty() => self.state = State::ChunkSize,
            State::ChunkEnd => return Err(WRONG),
            State::Trailer if line.is_empty() && len <= 1 => self.state = State::Done,
            _ => {}
        }
        // The total size of the lines between chunks is not limited.
        if matches!(self.state, State::Chunk(_)) {
            self.lines = 0;
        }
        Ok(())
    }

    /// Returns the framing of the body, if this field states it.
    fn framing_of(&mut self, name: &[u8], value: &[u8]) -> Option<Result<Framing, Error>> {
        if name.eq_ignore_ascii_case(b"transfer-encoding") {
            let is_chunked = value.eq_ignore_ascii_case(b"chunked");
            return Some(if is_chunked { Ok(Framing::Chunked) } else { Err(WRONG) });
        }
        if name.eq_ignore_ascii_case(b"content-length") {
            let len = number::<10>(value).ok_or(WRONG);
            return Some(match (self.framing, len) {
                (_, Err(error)) => Err(error),
                (Framing::Chunked, _) => Ok(Framing::Chunked),
                (Framing::Length(other), Ok(len)) if other != len => Err(WRONG),
                (_, Ok(len)) => Ok(Framing::Length(len)),
            });
        }
        if name.eq_ignore_ascii_case(b"connection") {
            let has = |option: &[u8]| {
                let mut options = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
                options.any(|given| given.eq_ignore_ascii_case(option))
            };
            if has(b"close") {
                self.stays_open = false;
            } else if has(b"keep-alive") {
                self.stays_open = true;
            }
        }
        None
    }
}

/// Returns the status in a status line, and whether the connection stays open by default (HTTP/1.1
/// and later).
fn status(line: &[u8]) -> Option<(u16, bool)> {
    let rest = line.strip_prefix(b"HTTP/1.")?;
    let (version, rest) = rest.split_first()?;
    let digits = rest.strip_prefix(b" ")?;
    let is_end = matches!(digits.get(3), None | Some(b' '));
    let status = number::<10>(digits.get(..3)?).and_then(|status| u16::try_from(status).ok())?;
    (is_end && status >= 100 && version.is_ascii_digit()).then_some((status, *version > b'0'))
}

/// Returns the size of a chunk. Extensions after it are ignored.
fn chunk_size(line: &[u8]) -> Option<u64> {
    let end = line.iter().position(|byte| *byte == b';').unwrap_or(line.len());
    number::<16>(line.get(..end)?.trim_ascii())
}

/// Parses an unsigned number without a sign or spaces. The base is a constant, because for others
/// `to_digit` can panic.
fn number<const BASE: u32>(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, digit| {
        let digit = char::from(*digit).to_digit(BASE)?;
        number.checked_mul(u64::from(BASE))?.checked_add(u64::from(digit))
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;

    /// Returns the status, the body, whether the end was found, and whether the connection stays
    /// open. Returns `None` if the input is not HTTP.
    fn read(bytes: &[u8], step: usize) -> Option<(u16, Vec<u8>, bool, bool)> {
        let (mut http, mut head, mut body) = (Http::new(), ReplyHead::default(), Vec::new());
        for piece in bytes.chunks(step) {
            let mut rest = piece;
            while let Part::Body(len) = http.next(&mut rest, &mut head).ok()? {
                let (part, behind) = rest.split_at_checked(len)?;
                body.extend_from_slice(part);
                rest = behind;
                http.consume(len);
            }
        }
        Some((head.status, body, http.is_done(), http.can_go_on()))
    }

    #[test]
    fn every_framing_in_any_pieces() {
        type Read = (u16, &'static str, bool, bool);
        let cases: [(&str, Read); 8] = [
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", (200, "hello", true, true)),
            (
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n\
                 3;x=y\r\nhel\r\n02\r\nlo\r\n0\r\ntrailer: x\r\n\r\n",
                (200, "hello", true, true),
            ),
            ("HTTP/1.0 200 OK\n\nhello", (200, "hello", false, false)),
            ("HTTP/1.1 204 No\r\ncontent-length: 9\r\n\r\n", (204, "", true, true)),
            (
                "HTTP/1.1 529 Busy\r\nconnection: Close\r\ncontent-length: 2\r\n\r\n{}",
                (529, "{}", true, false),
            ),
            (
                "HTTP/1.1 200 OK\r\nconnection: TE, close\r\ncontent-length: 2\r\n\r\n{}",
                (200, "{}", true, false),
            ),
            (
                "HTTP/1.0 200 OK\r\nconnection: keep-alive ,te\r\ncontent-length: 2\r\n\r\n{}",
                (200, "{}", true, true),
            ),
            ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", (200, "hello", false, false)),
        ];
        for (bytes, (status, body, is_done, can_go_on)) in cases {
            for step in [1, 2, 7, bytes.len()] {
                let want = Some((status, body.as_bytes().to_vec(), is_done, can_go_on));
                assert_eq!(read(bytes.as_bytes(), step), want, "{bytes:?} by {step}");
            }
        }
    }

    #[test]
    fn fields_reach_the_head_and_long_ones_are_passed_over() {
        let long = "x".repeat(5000);
        let bytes = format!(
            "HTTP/1.1 429 Slow\r\n{long}\r\nset-cookie: {long}\r\nRequest-Id: req_1\r\nretry-after: 2\r\ncontent-length: 0\r\n\r\n"
        );
        let (mut http, mut head) = (Http::new(), ReplyHead::default());
        assert_eq!(http.next(&mut bytes.as_bytes(), &mut head).unwrap(), Part::End);
        assert_eq!((head.status, head.request_id()), (429, "req_1"));
        assert_eq!(head.retry_after, Some(core::time::Duration::from_secs(2)));
    }

    #[test]
    fn what_is_no_http_is_refused() {
        for bytes in [
            "SSH-2.0-x\r\n",
            "HTTP/2 200 OK\r\n",
            "HTTP/1.1 20 OK\r\n",
            "HTTP/1.1 2000 OK\r\n",
            "HTTP/1.1 200 OK\r\nno field\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 1x\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nno size\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\naX\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffff1\r\n",
        ] {
            assert_eq!(read(bytes.as_bytes(), 3), None, "{bytes:?}");
        }
        let endless = [b"HTTP/1.1 200 OK\r\n".as_slice(), &b"a: b\r\n".repeat(20_000)].concat();
        assert_eq!(read(&endless, 1000), None);
    }
}
