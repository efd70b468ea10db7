//! The part of HTTP/1.1 that a client with one request at a time needs, over one buffer.
//!
//! A request is sent as the slices that it consists of. A reply's head is read line by line. If a
//! line is longer than the buffer, only its beginning is read: that is an error for the fields that
//! frame the body, and does not matter for all others. The body is lent from the buffer as it
//! arrives.
//!
//! This module is the default, and the module `reqwless` an option, because of size: reqwless costs
//! an agent 13 KB of flash and 5 KB of memory more. The README has a table of both. It also accepts
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

use crate::{Error, Link, Target};

/// What remains to be read of a reply's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    /// Nothing: the body was read to its end, or there is none.
    Done,
    /// This many bytes.
    Length(u64),
    /// The size of a chunk.
    ChunkSize,
    /// This many bytes of a chunk.
    Chunk(u64),
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
        Instant::now().checked_add(self.idle).unwrap_or(Instant::MAX).min(self.deadline)
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
        for text in [
            "POST ",
            target.prefix,
            head.path,
            " HTTP/1.1\r\nhost: ",
            target.authority,
            "\r\ncontent-length: ",
        ] {
            self.put(text.as_bytes()).await?;
        }
        self.put(length).await?;
        for (name, value) in head.headers {
            for text in ["\r\n", name, ": ", value] {
                self.put(text.as_bytes()).await?;
            }
        }
        self.put(b"\r\n\r\n").await?;
        for piece in body.pieces() {
            self.put(piece).await?;
        }
        let patience = self.patience();
        let len = self.held.end;
        self.held = 0..0;
        with_deadline(patience, async {
            self.link.write(len).await?;
            self.link.flush().await
        })
        .await
        .unwrap_or(Err(Error::Timeout))
    }

    /// Copies `bytes` to the buffer, and sends the buffer each time it is full.
    async fn put(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            let filled = self.held.end;
            let free = self.link.buffer().get_mut(filled..).unwrap_or_default();
            if free.is_empty() {
                if filled == 0 {
                    return Err(Error::Closed);
                }
                let patience = self.patience();
                with_deadline(patience, self.link.write(filled))
                    .await
                    .unwrap_or(Err(Error::Timeout))?;
                self.held.end = 0;
                continue;
            }
            let len = free.len().min(bytes.len());
            let (now, later) = bytes.split_at(len);
            free[..len].copy_from_slice(now);
            self.held.end += len;
            bytes = later;
        }
        Ok(())
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

    /// Reads the next line, consumes it, and returns it without its line end as a range of the
    /// buffer. For a line that is longer than the buffer it returns the beginning, which fills the
    /// buffer; [`Self::end_of_line`] skips the rest.
    async fn line(&mut self) -> Result<Range<usize>, Error> {
        let mut looked_at = 0;
        loop {
            let held = self.held.clone();
            let bytes = self.link.buffer().get(held.clone()).unwrap_or_default();
            if let Some(at) = bytes.iter().skip(looked_at).position(|&b| b == b'\n') {
                let at = looked_at + at;
                let end = if at > 0 && bytes[at - 1] == b'\r' { at - 1 } else { at };
                self.held.start += at + 1;
                return Ok(held.start..held.start + end);
            }
            looked_at = bytes.len();
            if looked_at > 0 && looked_at == self.link.buffer().len() {
                self.held = held.end..held.end;
                self.in_line = true;
                return Ok(held);
            }
            if self.receive().await? == 0 {
                return Err(Error::Closed);
            }
        }
    }

    /// Skips the rest of the line if [`Self::line`] returned only its beginning.
    async fn end_of_line(&mut self) -> Result<(), Error> {
        while self.in_line {
            if self.held.is_empty() && self.receive().await? == 0 {
                return Err(Error::Closed);
            }
            let held = self.link.buffer().get(self.held.clone()).unwrap_or_default();
            match held.iter().position(|&b| b == b'\n') {
                Some(at) => {
                    self.held.start += at + 1;
                    self.in_line = false;
                }
                None => self.held = 0..0,
            }
        }
        Ok(())
    }

    /// Waits for the first byte of the reply.
    pub(crate) async fn wait_for_reply(&mut self) -> Result<(), Error> {
        while self.held.is_empty() {
            if self.receive().await? == 0 {
                return Err(Error::Closed);
            }
        }
        Ok(())
    }

    /// Reads the reply's head, and prepares for its body.
    pub(crate) async fn read_head(&mut self) -> Result<ReplyHead, Error> {
        loop {
            let (status, keep) = self.read_status().await?;
            let mut head = ReplyHead::new(status);
            let framing = self.read_fields(&mut head, keep).await?;
            // A 1xx response precedes the reply. This client never asks to switch protocols.
            if !(100..200).contains(&status) {
                self.framing = if matches!(status, 204 | 304) { Framing::Done } else { framing };
                return Ok(head);
            }
        }
    }

    /// Reads the status line. Returns the status, and whether the HTTP version keeps connections by
    /// default.
    async fn read_status(&mut self) -> Result<(u16, bool), Error> {
        let line = self.line().await?;
        let line = self.link.buffer().get(line).unwrap_or_default();
        let rest = line.strip_prefix(b"HTTP/1.").ok_or(Error::Http)?;
        let (&[minor, space, a, b, c], rest) = rest.split_first_chunk().ok_or(Error::Http)?;
        let digits = [a, b, c];
        if !matches!(minor, b'0' | b'1')
            || space != b' '
            || !digits.iter().all(u8::is_ascii_digit)
            || !matches!(rest, [] | [b' ', ..])
        {
            return Err(Error::Http);
        }
        self.end_of_line().await?;
        let status = digits.iter().fold(0, |status, digit| status * 10 + u16::from(digit - b'0'));
        Ok((status, minor == b'1'))
    }

    async fn read_fields(&mut self, head: &mut ReplyHead, keep: bool) -> Result<Framing, Error> {
        self.keep = keep;
        let mut length = None;
        let mut chunked = false;
        loop {
            let line = self.line().await?;
            let line = self.link.buffer().get(line).unwrap_or_default();
            if line.is_empty() {
                break;
            }
            let colon = line.iter().position(|&b| b == b':');
            let framing = colon.and_then(|colon| FramingField::of(&line[..colon]));
            if self.in_line {
                if framing.is_some() {
                    return Err(Error::Capacity(ReplyHead::full(line.len() + 1, line.len())));
                }
                // The field is not needed: those that the core reads are shorter.
                self.end_of_line().await?;
                continue;
            }
            let colon = colon.ok_or(Error::Http)?;
            let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
            match framing {
                Some(FramingField::Length) => {
                    let said = number(value, 10).ok_or(Error::Http)?;
                    if length.is_some_and(|length| length != said) {
                        return Err(Error::Http);
                    }
                    length = Some(said);
                }
                Some(FramingField::Encoding) => {
                    if chunked || !value.eq_ignore_ascii_case(b"chunked") {
                        return Err(Error::Http);
                    }
                    chunked = true;
                }
                Some(FramingField::Connection) => {
                    let token: &[u8] = if keep { b"close" } else { b"keep-alive" };
                    self.keep = has_token(value, token) != keep;
                }
                None => {
                    let name = core::str::from_utf8(name).map_err(|_| Error::Http)?;
                    head.field(name, value);
                }
            }
        }
        Ok(match length {
            _ if chunked => Framing::ChunkSize,
            Some(0) => Framing::Done,
            Some(length) => Framing::Length(length),
            None => {
                self.keep = false;
                Framing::ToEnd
            }
        })
    }

    /// Returns the next bytes of the body, and waits for them if none are held; empty at the end of
    /// the body.
    pub(crate) async fn fill_body(&mut self) -> Result<&[u8], Error> {
        let len = loop {
            match self.framing {
                Framing::Done => break 0,
                Framing::Length(left) | Framing::Chunk(left) => {
                    if self.held.is_empty() && self.receive().await? == 0 {
                        return Err(Error::Closed);
                    }
                    break usize::try_from(left).unwrap_or(usize::MAX).min(self.held.len());
                }
                Framing::ToEnd => {
                    if self.held.is_empty() && self.receive().await? == 0 {
                        self.framing = Framing::Done;
                    }
                    break self.held.len();
                }
                Framing::ChunkSize => {
                    let line = self.line().await?;
                    let line = self.link.buffer().get(line).unwrap_or_default();
                    let size = line.split(|&b| b == b';').next().unwrap_or_default().trim_ascii();
                    let size = number(size, 16).ok_or(Error::Http)?;
                    // Chunk extensions may have any length.
                    self.end_of_line().await?;
                    self.framing = if size == 0 { Framing::Trailer } else { Framing::Chunk(size) };
                }
                Framing::ChunkEnd => {
                    if !self.line().await?.is_empty() {
                        return Err(Error::Http);
                    }
                    self.framing = Framing::ChunkSize;
                }
                Framing::Trailer => {
                    let is_last = self.line().await?.is_empty();
                    self.end_of_line().await?;
                    if is_last {
                        self.framing = Framing::Done;
                    }
                }
            }
        };
        let start = self.held.start;
        Ok(self.link.buffer().get(start..start + len).unwrap_or_default())
    }

    /// Consumes `amount` of the bytes that [`Self::fill_body`] returned.
    pub(crate) fn consume_body(&mut self, amount: usize) {
        let amount = amount.min(self.held.len());
        self.held.start += amount;
        let used = u64::try_from(amount).unwrap_or(u64::MAX);
        self.framing = match self.framing {
            Framing::Length(left) if left <= used => Framing::Done,
            Framing::Length(left) => Framing::Length(left - used),
            Framing::Chunk(left) if left <= used => Framing::ChunkEnd,
            Framing::Chunk(left) => Framing::Chunk(left - used),
            other => other,
        };
    }
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

/// Parses an unsigned number in base 10 or 16, without a sign or spaces.
fn number(digits: &[u8], base: u32) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, &digit| {
        let digit = char::from(digit).to_digit(base)?;
        number.checked_mul(u64::from(base))?.checked_add(u64::from(digit))
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
