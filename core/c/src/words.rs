//! Error messages and texts for people, without `core::fmt`, which is large and can panic.

use toolrunner_core::__private::{Decimal, Piece, Sink};
use toolrunner_core::error::{Capacity, Error, Misuse};
use toolrunner_core::json::Text;
use toolrunner_core::run::Run;

use crate::machine::{Machine, code};
use crate::raw;
use crate::types::{TOOLRUNNER_OK, toolrunner_error_info, toolrunner_text};

/// Stores as much of a text as fits, and counts all of its bytes.
pub(crate) struct BoundedText<'o> {
    out: &'o mut [u8],
    len: usize,
}

impl Sink for BoundedText<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), Capacity> {
        // The last byte is reserved for the terminating zero.
        let end = self.out.len().saturating_sub(1);
        let room = self.out.get_mut(self.len..end).unwrap_or_default();
        for (place, byte) in room.iter_mut().zip(bytes) {
            *place = *byte;
        }
        self.len = self.len.saturating_add(bytes.len());
        Ok(())
    }
}

impl BoundedText<'_> {
    pub(crate) fn put_text(&mut self, text: &str) -> Result<(), Capacity> {
        self.put(text.as_bytes())
    }

    fn put_number(&mut self, number: usize) -> Result<(), Capacity> {
        self.put(Decimal::new(u64::try_from(number).unwrap_or(u64::MAX)).as_bytes())
    }

    /// Writes a text with its escapes decoded.
    pub(crate) fn put_meaning(&mut self, text: Text<'_>) -> Result<(), Capacity> {
        let mut utf8 = [0; 4];
        for piece in text.pieces() {
            match piece {
                Piece::Plain(text) => self.put_text(text)?,
                Piece::Char(c) => self.put_text(c.encode_utf8(&mut utf8))?,
            }
        }
        Ok(())
    }
}

/// Writes as much of a text as fits, with a zero byte at its end. Returns the size of the whole
/// text in bytes. The caller has zeroed `out`.
pub(crate) fn written(
    out: &mut [u8],
    write: impl FnOnce(&mut BoundedText<'_>) -> Result<(), Capacity>,
) -> usize {
    let mut cut = BoundedText { out, len: 0 };
    let _never_full = write(&mut cut);
    cut.len
}

pub(crate) fn put_last_text(run: &Run<'_>, out: &mut BoundedText<'_>) -> Result<(), Capacity> {
    let Some(message) = run.last_message() else { return Ok(()) };
    for text in message.texts() {
        out.put_meaning(text)?;
    }
    Ok(())
}

pub(crate) fn put_error(machine: &Machine, out: &mut BoundedText<'_>) -> Result<(), Capacity> {
    let Some(error) = machine.error else { return Ok(()) };
    match error {
        Error::Api(error) => {
            out.put_text("API error: ")?;
            out.put_text(error.kind.name())?;
            out.put_text(" (status ")?;
            out.put_number(usize::from(error.status))?;
            out.put_text(")")?;
            if let Some(words) = machine.run.api_error() {
                out.put_text(": ")?;
                out.put_meaning(words.message)?;
                if !words.request_id.is_empty() {
                    out.put_text(" [request id ")?;
                    out.put_meaning(words.request_id)?;
                    out.put_text("]")?;
                }
            }
            Ok(())
        }
        Error::Capacity(Capacity { what, needed, free }) => {
            out.put_text(what.name())?;
            out.put_text(" full: ")?;
            out.put_number(needed)?;
            out.put_text(" needed, ")?;
            out.put_number(free)?;
            out.put_text(" free")
        }
        Error::Misuse(misuse) => {
            out.put_text("misuse: ")?;
            put_misuse(misuse, out)
        }
        Error::Protocol(wrong) => {
            out.put_text("protocol error: ")?;
            let (text, expected) = wrong.text();
            out.put_text(text)?;
            if let Some(expected) = expected {
                out.put_text(": expected ")?;
                out.put_text(expected.as_str())?;
            }
            Ok(())
        }
        Error::Transport(kind) => out.put_text(kind.text()),
        _ => out.put_text("an error"),
    }
}

fn put_misuse(misuse: Misuse, out: &mut BoundedText<'_>) -> Result<(), Capacity> {
    let (before, number, after) = match misuse {
        Misuse::Setting(text) | Misuse::State(text) | Misuse::Json(text) => {
            return out.put_text(text);
        }
        Misuse::BaseUrl(why) => return out.put_text(why.as_str()),
        Misuse::NoSuchCall => return out.put_text("no open call has this index"),
        Misuse::NoMessages => {
            return out.put_text("nothing to send: the run has no message yet");
        }
        Misuse::Invalid(invalid) => {
            out.put_text("messages.")?;
            out.put_number(invalid.message)?;
            if let Some(block) = invalid.block {
                out.put_text(".content.")?;
                out.put_number(block)?;
            }
            out.put_text(": ")?;
            return out.put_text(invalid.rule.text());
        }
        Misuse::Breakpoints(count) => {
            ("", count, " cache breakpoints exceed the limit of 4 per request")
        }
        Misuse::DuplicateTool(_, i) => ("tool ", i, ": duplicate name"),
        Misuse::ToolName(i) => {
            ("the name of tool ", i, " must be 1 to 128 of a-z, A-Z, 0-9, _ and -")
        }
        Misuse::ToolDefinition(i) => {
            ("the definition of tool ", i, " must be an object whose input_schema has type object")
        }
        Misuse::ToolSchema(i) => (
            "the input schema of tool ",
            i,
            " has anyOf, oneOf, allOf or $ref at its root, which the API refuses",
        ),
        _ => return out.put_text("the call is not allowed"),
    };
    out.put_text(before)?;
    out.put_number(number)?;
    out.put_text(after)
}

pub(crate) fn info(error: Option<Error>) -> toolrunner_error_info {
    let mut info = toolrunner_error_info {
        code: error.as_ref().map_or(TOOLRUNNER_OK, code),
        status: 0,
        needed: 0,
        free: 0,
        what: toolrunner_text::EMPTY,
    };
    match error {
        Some(Error::Api(error)) => {
            info.status = u32::from(error.status);
            info.what = raw::lend(error.kind.name().as_bytes());
        }
        Some(Error::Capacity(full)) => {
            [info.needed, info.free] =
                [full.needed, full.free].map(|count| u64::try_from(count).unwrap_or(u64::MAX));
            info.what = raw::lend(full.what.name().as_bytes());
        }
        _ => {}
    }
    info
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod tests {
    use toolrunner_core::error::{Protocol, TransportKind};

    use super::*;

    /// `Display` adds only the place of a mistake in JSON.
    #[test]
    fn errors_of_the_server_and_the_network_are_told_as_in_rust() {
        let wrong = [
            Protocol::EndedEarly,
            Protocol::NotAMessage,
            Protocol::NotAReply,
            Protocol::ThreadIgnored,
            Protocol::Utf8,
        ];
        let kinds = [TransportKind::Closed, TransportKind::Setup, TransportKind::Tls];
        let errors = wrong.map(Error::Protocol).into_iter().chain(kinds.map(Error::Transport));
        let mut machine = Machine::void(Error::Misuse(Misuse::NoMessages));
        for error in errors {
            machine.error = Some(error);
            let mut out = [0; 200];
            let len = written(&mut out, |out| put_error(&machine, out));
            assert_eq!(core::str::from_utf8(out.get(..len).unwrap()).unwrap(), error.to_string());
        }
    }
}
