//! Cuts a body into server-sent events, whose bytes stay as they are.

use embedded_io_async::BufRead;
use toolrunner_core::error::TransportKind;

use crate::http::{HttpBody, HttpError};

/// The largest event, in bytes: more than the largest request or reply.
const MAX_EVENT: usize = 64 << 20;

/// The events of a body.
pub(super) struct Events {
    body: HttpBody,
    received: Vec<u8>,
    /// How much of `received` was searched for the end of an event.
    searched: usize,
}

/// One event.
pub(super) struct SseEvent {
    /// Its bytes, with the empty line at its end.
    pub(super) raw: Vec<u8>,
    /// Its data. Empty if there is none.
    pub(super) data: String,
}

impl Events {
    pub(super) const fn new(body: HttpBody) -> Self {
        Self { body, received: Vec::new(), searched: 0 }
    }

    /// Reports that the reply made progress.
    pub(super) fn progressed(&mut self) {
        self.body.progressed();
    }

    /// Returns the next event, or `None` at the end. What follows the last empty line is an event
    /// too, so that its reader sees what the server sent.
    pub(super) async fn next(&mut self) -> Result<Option<SseEvent>, HttpError> {
        loop {
            if let Some(end) = end_of_event(&self.received, self.searched) {
                let rest = self.received.split_off(end);
                let raw = core::mem::replace(&mut self.received, rest);
                self.searched = 0;
                return Ok(Some(SseEvent::new(raw)));
            }
            // An end of three bytes may have begun.
            self.searched = self.received.len().saturating_sub(3);
            if self.received.len() > MAX_EVENT {
                let text = format!("an event of the reply is larger than {MAX_EVENT} bytes");
                return Err(HttpError::new(TransportKind::Http, text));
            }
            let piece = self.body.fill_buf().await?;
            let len = piece.len();
            self.received.extend_from_slice(piece);
            self.body.consume(len);
            if len == 0 {
                let raw = core::mem::take(&mut self.received);
                return Ok((!raw.is_empty()).then(|| SseEvent::new(raw)));
            }
        }
    }
}

/// Returns the offset after the first empty line that ends at or after `from`.
fn end_of_event(bytes: &[u8], from: usize) -> Option<usize> {
    (from..bytes.len()).find_map(|at| {
        let rest = bytes.get(at..)?;
        let ends: [&[u8]; 4] = [b"\n\n", b"\r\n\r\n", b"\r\r", b"\n\r\n"];
        ends.iter().find(|end| rest.starts_with(end)).map(|end| at + end.len())
    })
}

impl SseEvent {
    fn new(raw: Vec<u8>) -> Self {
        let text = String::from_utf8_lossy(&raw);
        let mut data = String::new();
        for line in text.split(['\r', '\n']) {
            if let Some(value) = line.strip_prefix("data:") {
                if !data.is_empty() {
                    data.push('\n');
                }
                data.push_str(value.strip_prefix(' ').unwrap_or(value));
            }
        }
        Self { data, raw }
    }
}

/// Writes an event of this type.
pub(super) fn event(kind: &str, data: &str) -> Vec<u8> {
    let lines: String = data.lines().map(|line| format!("data: {line}\n")).collect();
    format!("event: {kind}\n{lines}\n").into_bytes()
}
