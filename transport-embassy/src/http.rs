//! The part of HTTP/1.1 that a client with one request at a time needs, over one buffer.
//!
//! A request is sent as the slices that it consists of. A reply's head is read line by line. If a
//! line is longer than the buffer, only its beginning is read: that is an error for the fields that
//! frame the body, and does not matter for all others. The body is lent from the buffer as it
//! arrives.
//!
//! This module is the default, and the module `reqwless` an option, because of size: reqwless adds
//! 16 KB of flash and 5 KB of memory to an agent. The README has a table of both. It also accepts
//! replies that reqwless does not.
//!
//! ```text
//! Idle ──send──▶ Head ──lines──▶ Length(n) ─────────────────┐
//!   ▲                       ├──▶ Chunk size ⇄ data ⇄ end ───┤ body read to its end
//!   │                       └──▶ To the connection's end    │
//!   └──────────────── the connection may be used again ◀────┘  otherwise it is closed
//! ```

use core::ops::Range;

use embassy_time::{Duration, Instant, with_deadline};
use toolrunner_core::transport::{Body, Head, ReplyHead};

use crate::transport::end_of;
use crate::{Error, Link, Target};

/// What remains to be read of a reply's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    /// Nothing: the body was read to its end, or there is none.
    Done,
    /// This many bytes.
    Length(u32),
    /// The size of a chunk.
    ChunkSize,
    /// This many bytes of a chunk.
    Chunk(u32),
    /// The line end after the data of a chunk.
    ChunkEnd,
    /// The fields after the last chunk, up to an empty line.
    Trailer,
    /// Everything until the connection ends.
    ToEnd,
}

/// A client that performs one exchange after another over a link.
#[derive(Debug)]
pub(crate) struct Http<L> {
    pub(crate) link: L,
    /// The range of the buffer that was received and not consumed yet; while a request is written,
    /// the range that was not sent yet.
    held: Range<usize>,
    framing: Framing,
    /// Whether the server keeps the connection open after this reply.
    keep: bool,
    /// Whether the rest of a line that is longer than the buffer must still be skipped.
    in_line: bool,
    pub(crate) idle: Duration,
    pub(crate) deadline: Instant,
}

impl<L: Link> Http<L> {
    pub(crate) const fn new(link: L, idle: Duration) -> Self {
        Self {
            link,
            held: 0..0,
            framing: Framing::Done,
            keep: false,
            in_line: false,
            idle,
            deadline: Instant::MAX,
        }
    }

    /// Returns whether the connection is open and has no bytes of an earlier exchange on it.
    pub(crate) fn is_clean(&self) -> bool {
        self.keep && self.framing == Framing::Done && self.held.is_empty()
    }

    pub(crate) fn close(&mut self) {
        self.link.close();
        self.held = 0..0;
        self.framing = Framing::Done;
        self.keep = false;
    }

    /// Returns whether the body was read to its end.
    pub(crate) fn is_done(&self) -> bool {
        self.framing == Framing::Done
    }

    /// Returns the time by which the next piece must arrive.
    fn patience(&self) -> Instant {
        end_of(self.idle, self.deadline)
    }

    /// Marks the connection as dirty and sends the request.
    pub(crate) async fn write_request(
        &mut self,
        target: &Target<'_>,
        head: &Head<'_>,
        body: &Body<'_>,
    ) -> Result<(), Error> {
        self.held = 0..0;
        self.keep = false;
        self.in_line = false;
        self.framing = Framing::ToEnd;
        let mut digits = [0; 20];
        let length = decimal(body.len(), &mut digits);
        let line: [&[u8]; 7] = [
            b"POST ",
            target.prefix.as_bytes(),
            head.path.as_bytes(),
            b" HTTP/1.1\r\nhost: ",
            target.authority.as_bytes(),
            b"\r\ncontent-length: ",
            length,
        ];
        let rest = [body.transcript(), body.after()];
        let (headers, before) = (head.headers, body.before());
        // Not a chain of iterators, which takes 500 bytes of flash more.
        let piece_at = |at: usize| -> Option<&[u8]> {
            let Some(at) = at.checked_sub(line.len()) else { return line.get(at).copied() };
            if let Some((name, value)) = headers.get(at / 4) {
                return ["\r\n", name, ": ", value].get(at % 4).map(|text| text.as_bytes());
            }
            let Some(at) = at.checked_sub(4 * headers.len() + 1) else { return Some(b"\r\n\r\n") };
            before.get(at).or_else(|| rest.get(at - before.len())).copied()
        };
        let (mut at, mut piece) = (0, &[][..]);
        loop {
            let is_last = loop {
                piece = self.put(piece);
                if !piece.is_empty() {
                    break false;
                }
                match piece_at(at) {
                    Some(next) => (at, piece) = (at + 1, next),
                    None => break true,
                }
            };
            let len = core::mem::take(&mut self.held).end;
            if len == 0 {
                // The link's buffer is unavailable: a future was dropped.
                return Err(Error::Closed);
            }
            with_deadline(self.patience(), async {
                self.link.write(len).await?;
                if is_last { self.link.flush().await } else { Ok(()) }
            })
            .await
            .unwrap_or(Err(Error::Timeout))?;
            if is_last {
                return Ok(());
            }
        }
    }

    /// Copies as much of `bytes` to the buffer as fits, and returns the rest.
    fn put<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let free = self.link.buffer().get_mut(self.held.end..).unwrap_or_default();
        let len = free.len().min(bytes.len());
        let (now, later) = bytes.split_at(len);
        free[..len].copy_from_slice(now);
        self.held.end += len;
        later
    }

    /// Receives bytes after those that are held, and returns how many; 0 at the end of the
    /// connection. Moves the held bytes to the front of the buffer if there is no room after them.
    async fn receive(&mut self) -> Result<usize, Error> {
        if self.held.is_empty() {
            self.held = 0..0;
        }
        let buffer = self.link.buffer();
        if self.held.end == buffer.len() && self.held.start > 0 {
            buffer.copy_within(self.held.clone(), 0);
            self.held = 0..self.held.len();
        }
        if self.held.end == buffer.len() {
            // There was room for everything that is held, so the link's buffer is unavailable: a
            // future was dropped.
            return Err(Error::Closed);
        }
        let patience = self.patience();
        let at = self.held.end;
        let len =
            with_deadline(patience, self.link.read(at)).await.unwrap_or(Err(Error::Timeout))?;
        self.held.end += len;
        Ok(len)
    }

    /// Consumes the next line if it is held, and returns it without its line end as a range of the
    /// buffer. A line that is longer than the buffer is returned in parts: `in_line` is set until
    /// its last one.
    fn next_line(&mut self) -> Option<Range<usize>> {
        let start = self.held.start;
        let buffer = self.link.buffer();
        let bytes = buffer.get(self.held.clone()).unwrap_or_default();
        let end = bytes.iter().position(|&b| b == b'\n');
        let may_grow = bytes.is_empty() || !self.in_line && bytes.len() < buffer.len();
        if end.is_none() && may_grow {
            return None;
        }
        self.in_line = end.is_none();
        self.held.start += end.map_or(bytes.len(), |end| end + 1);
        let line = bytes.get(..end.unwrap_or(bytes.len())).unwrap_or_default();
        let line = if self.in_line { line } else { line.strip_suffix(b"\r").unwrap_or(line) };
        Some(start..start + line.len())
    }

    /// Reads the reply's head, and prepares for its body.
    pub(crate) async fn read_head(&mut self) -> Result<ReplyHead, Error> {
        let (mut head, mut fields) = (ReplyHead::default(), Fields::default());
        loop {
            let is_rest = self.in_line;
            match self.next_line() {
                // Of a line that is longer than the buffer, only the beginning is looked at.
                Some(_) if is_rest => {}
                Some(line) => {
                    if self.head_line(&mut head, &mut fields, line)? {
                        return Ok(head);
                    }
                }
                None if self.receive().await? > 0 => {}
                None => return Err(Error::Closed),
            }
        }
    }

    /// Looks at a line of the head. Returns whether it ends the head.
    fn head_line(
        &mut self,
        head: &mut ReplyHead,
        fields: &mut Fields,
        line: Range<usize>,
    ) -> Result<bool, Error> {
        let line = self.link.buffer().get(line).unwrap_or_default();
        let Fields { is_persistent, length, chunked } = fields;
        if head.status == 0 {
            // The status line comes first.
            (head.status, *is_persistent) = status_line(line).ok_or(Error::Http)?;
            self.keep = *is_persistent;
            return Ok(false);
        }
        if line.is_empty() {
            // A 1xx response precedes the reply. This client never asks to switch protocols.
            if (100..200).contains(&head.status) {
                (*head, *fields) = (ReplyHead::default(), Fields::default());
                return Ok(false);
            }
            self.framing = match *length {
                _ if *chunked => Framing::ChunkSize,
                Some(0) => Framing::Done,
                Some(length) => Framing::Length(length),
                None => {
                    self.keep = false;
                    Framing::ToEnd
                }
            };
            if matches!(head.status, 204 | 304) {
                self.framing = Framing::Done;
            }
            return Ok(true);
        }
        let colon = line.iter().position(|&b| b == b':');
        let framing = colon.and_then(|colon| FramingField::of(&line[..colon]));
        if self.in_line {
            // Other fields are not needed: those that the core reads are shorter.
            return match framing {
                Some(_) => Err(Error::Capacity(ReplyHead::full(line.len() + 1, line.len()))),
                None => Ok(false),
            };
        }
        let colon = colon.ok_or(Error::Http)?;
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        match framing {
            Some(FramingField::Length) => {
                let said = number(value, 10).ok_or(Error::Http)?;
                if length.is_some_and(|length| length != said) {
                    return Err(Error::Http);
                }
                *length = Some(said);
            }
            Some(FramingField::Encoding) => {
                if *chunked || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(Error::Http);
                }
                *chunked = true;
            }
            Some(FramingField::Connection) => {
                let token: &[u8] = if *is_persistent { b"close" } else { b"keep-alive" };
                self.keep = has_token(value, token) != *is_persistent;
            }
            None => {
                let name = core::str::from_utf8(name).map_err(|_| Error::Http)?;
                head.field(name, value);
            }
        }
        Ok(false)
    }

    /// Returns the next bytes of the body, and waits for them if none are held; empty at the end of
    /// the body.
    pub(crate) async fn fill_body(&mut self) -> Result<&[u8], Error> {
        let len = loop {
            let is_rest = self.in_line;
            match self.framing {
                Framing::Done => break 0,
                Framing::Length(left) | Framing::Chunk(left)
                    if !is_rest && !self.held.is_empty() =>
                {
                    break usize::try_from(left).unwrap_or(usize::MAX).min(self.held.len());
                }
                Framing::ToEnd if !self.held.is_empty() => break self.held.len(),
                Framing::Length(_) | Framing::ToEnd => {}
                Framing::Chunk(_) if !is_rest => {}
                _ => {
                    if let Some(line) = self.next_line() {
                        if !is_rest {
                            self.body_line(line)?;
                        }
                        continue;
                    }
                }
            }
            if self.receive().await? == 0 {
                if self.framing != Framing::ToEnd {
                    return Err(Error::Closed);
                }
                self.framing = Framing::Done;
            }
        };
        let start = self.held.start;
        Ok(self.link.buffer().get(start..start + len).unwrap_or_default())
    }

    /// Looks at a line between the chunks of the body, or after them.
    fn body_line(&mut self, line: Range<usize>) -> Result<(), Error> {
        let line = self.link.buffer().get(line).unwrap_or_default();
        self.framing = match self.framing {
            Framing::ChunkSize => {
                // Chunk extensions may have any length.
                let size = line.split(|&b| b == b';').next().unwrap_or_default().trim_ascii();
                match number(size, 16).ok_or(Error::Http)? {
                    0 => Framing::Trailer,
                    size => Framing::Chunk(size),
                }
            }
            Framing::Trailer if line.is_empty() => Framing::Done,
            Framing::ChunkEnd if !line.is_empty() => return Err(Error::Http),
            Framing::ChunkEnd => Framing::ChunkSize,
            other => other,
        };
        Ok(())
    }

    /// Consumes `amount` of the bytes that [`Self::fill_body`] returned.
    pub(crate) fn consume_body(&mut self, amount: usize) {
        let amount = amount.min(self.held.len());
        self.held.start += amount;
        let used = u32::try_from(amount).unwrap_or(u32::MAX);
        self.framing = match self.framing {
            Framing::Length(left) if left <= used => Framing::Done,
            Framing::Length(left) => Framing::Length(left - used),
            Framing::Chunk(left) if left <= used => Framing::ChunkEnd,
            Framing::Chunk(left) => Framing::Chunk(left - used),
            other => other,
        };
    }
}

/// What the lines of a head have said so far.
#[derive(Default)]
struct Fields {
    /// Whether the HTTP version keeps connections by default.
    is_persistent: bool,
    length: Option<u32>,
    chunked: bool,
}

/// Parses a status line. Returns the status, and whether the HTTP version keeps connections by
/// default.
fn status_line(line: &[u8]) -> Option<(u16, bool)> {
    let rest = line.strip_prefix(b"HTTP/1.")?;
    let (&[minor, space, a, b, c], rest) = rest.split_first_chunk()?;
    let digits = [a, b, c];
    let is_valid = matches!(minor, b'0' | b'1')
        && space == b' '
        && digits.iter().all(u8::is_ascii_digit)
        && matches!(rest, [] | [b' ', ..]);
    let status = digits.iter().fold(0, |status, digit| status * 10 + u16::from(digit & 15));
    // No status is below 100.
    (is_valid && status > 0).then_some((status, minor == b'1'))
}

/// A field that frames the body or decides whether the connection stays open.
#[derive(Clone, Copy)]
enum FramingField {
    Length,
    Encoding,
    Connection,
}

impl FramingField {
    /// Returns the field of this name, or `None` if it is another one.
    fn of(name: &[u8]) -> Option<Self> {
        const FIELDS: [(&[u8], FramingField); 3] = [
            (b"content-length", FramingField::Length),
            (b"transfer-encoding", FramingField::Encoding),
            (b"connection", FramingField::Connection),
        ];
        let known = FIELDS.iter().find(|(known, _)| name.eq_ignore_ascii_case(known));
        known.map(|(_, field)| *field)
    }
}

/// Parses an unsigned number in base 10 or 16, without a sign or spaces. The length of a body or of
/// a chunk must be less than 4 GiB: with 64 bits, the transport takes 264 bytes of flash more.
fn number(digits: &[u8], base: u32) -> Option<u32> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u32, |number, &digit| {
        let digit = char::from(digit).to_digit(base)?;
        number.checked_mul(base)?.checked_add(digit)
    })
}

/// Writes `number` in decimal to the end of `digits` and returns the digits. `core::fmt` would cost
/// kilobytes of flash.
fn decimal(mut number: usize, digits: &mut [u8; 20]) -> &[u8] {
    let mut start = digits.len();
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).unwrap_or_default();
        number /= 10;
        start -= 1;
        if number == 0 {
            break;
        }
    }
    digits.get(start..).unwrap_or_default()
}

/// Returns whether a comma-separated list contains `token`, ignoring case.
pub(crate) fn has_token(list: &[u8], token: &[u8]) -> bool {
    list.split(|&b| b == b',').any(|word| word.trim_ascii().eq_ignore_ascii_case(token))
}
