//! A call's input: unescaped as it comes, checked when it is whole, mended if it is no object.

use core::num::NonZeroU16;

use heapless::Vec;

use super::unexpected;
use crate::error::{Capacity, Error};
use crate::json::{JsonError, Kind, Value, check, copy, hex4};
use crate::transcript::{Span, Transcript};
use crate::wire::Field;

/// What is wrong with an input that is no JSON object: with its JSON, or nothing if it is JSON.
pub(crate) type Fault = Option<JsonError>;

/// Most inputs of one reply whose fault is kept in detail.
const MAX_FAULTS: usize = 4;

/// The fault of one call, small: a run keeps several.
#[derive(Clone, Debug)]
struct Noted {
    expected: Option<&'static str>,
    at: u32,
    call: u8,
}

/// The calls of a reply whose input is no JSON object, and why.
#[derive(Clone, Debug)]
pub(crate) struct BadInputs {
    /// One bit a call, for the first 128: a turn cannot have more.
    calls: [u32; 4],
    faults: Vec<Noted, MAX_FAULTS>,
}

impl BadInputs {
    pub(crate) const NONE: Self = Self { calls: [0; 4], faults: Vec::new() };

    /// Which calls, one bit each. Why is not among it.
    pub(crate) const fn words(&self) -> [u32; 4] {
        self.calls
    }

    pub(crate) const fn from_words(calls: [u32; 4]) -> Self {
        Self { calls, faults: Vec::new() }
    }

    /// The `call`th call of the reply has a bad input.
    pub(super) fn note(&mut self, call: usize, fault: Fault) {
        if let Some(word) = self.calls.get_mut(call / 32) {
            *word |= 1 << (call % 32);
        }
        // That it is bad counts; why is kept as long as there is room, and of the first 128 calls:
        // a turn cannot have more.
        if let (Ok(call), Ok(at)) =
            (u8::try_from(call), u32::try_from(fault.map_or(0, |fault| fault.at)))
        {
            let _ =
                self.faults.push(Noted { expected: fault.map(|fault| fault.expected), at, call });
        }
    }

    /// Whether the call's input is no object.
    pub(crate) fn has(&self, call: usize) -> bool {
        self.calls.get(call / 32).is_some_and(|word| word >> (call % 32) & 1 == 1)
    }

    /// Why, as far as that was kept.
    pub(crate) fn fault(&self, call: usize) -> Option<Fault> {
        let noted = self.faults.iter().find(|noted| usize::from(noted.call) == call)?;
        let at = usize::try_from(noted.at).unwrap_or(usize::MAX);
        Some(noted.expected.map(|expected| JsonError { at, expected }))
    }
}

/// A mended input: what the model wrote, as a string in an object, as the provider's documentation
/// proposes.
const MENDED: (&[u8], &[u8]) = (b"{\"INVALID_JSON\":\"", b"\"}");

/// The first half of a surrogate pair whose second half may come with the next delta. It is never
/// 0, which saves two bytes a block.
pub(super) type Half = Option<NonZeroU16>;

/// A code unit as an escape.
pub(super) fn escaped_unit(unit: u32) -> [u8; 6] {
    let hex = |shift: u32| match (unit >> shift) & 15 {
        nibble @ 0..10 => b'0' + u8::try_from(nibble).unwrap_or(0),
        nibble => b'a' - 10 + u8::try_from(nibble).unwrap_or(10),
    };
    [b'\\', b'u', hex(12), hex(8), hex(4), hex(0)]
}

/// Whether `raw` begins with the escape of a pair's second half.
pub(super) fn begins_with_low(raw: &[u8]) -> bool {
    unit(raw, 0).is_some_and(|unit| (0xdc00..0xe000).contains(&unit))
}

/// Whether `raw`, the content of a string, ends with the escape of a pair's first half.
pub(super) fn ends_with_high(raw: &[u8]) -> bool {
    let Some(at) = raw.len().checked_sub(6) else { return false };
    let backslashes =
        raw.get(..at).unwrap_or_default().iter().rev().take_while(|byte| **byte == b'\\').count();
    // Behind an odd number of them the next one is no escape, but escaped.
    backslashes % 2 == 0 && unit(raw, at).is_some_and(|unit| (0xd800..0xdc00).contains(&unit))
}

/// The code unit that stands escaped at `at`.
fn unit(raw: &[u8], at: usize) -> Option<u32> {
    if raw.get(at..)?.starts_with(b"\\u") { hex4(raw, at + 2) } else { None }
}

/// Unescapes the content of a JSON string where it stands and gives its new length, which is never
/// more.
///
/// A first half at the end goes to `half`; a half alone stays the escape that it is. `half` may
/// come in set only if [`begins_with_low`].
pub(super) fn unescape_in_place(bytes: &mut [u8], half: &mut Half) -> usize {
    let (mut read, mut write) = (0, 0);
    let mut utf8 = [0; 4];
    while let Some(&byte) = bytes.get(read) {
        if byte != b'\\' {
            put(bytes, write, byte);
            (read, write) = (read + 1, write + 1);
            continue;
        }
        let (char, used) = match bytes.get(read + 1) {
            Some(b'u') => match unit(bytes, read) {
                Some(high @ 0xd800..0xdc00) => {
                    if read + 6 == bytes.len() {
                        *half = u16::try_from(high).ok().and_then(NonZeroU16::new);
                        return write;
                    }
                    match unit(bytes, read + 6) {
                        Some(low @ 0xdc00..0xe000) => (join(high, low), 12),
                        _ => (None, 6),
                    }
                }
                Some(low @ 0xdc00..0xe000) => match half.take() {
                    Some(high) => (join(u32::from(high.get()), low), 6),
                    None => (None, 6),
                },
                unit => (unit.and_then(char::from_u32), 6),
            },
            Some(&escape) => {
                let char = match escape {
                    b'b' => '\u{8}',
                    b'f' => '\u{c}',
                    b'n' => '\n',
                    b'r' => '\r',
                    b't' => '\t',
                    other => char::from(other),
                };
                (Some(char), 2)
            }
            // A lone one at the end, which checked text has not.
            None => (None, 1),
        };
        match char {
            Some(char) => {
                for &byte in char.encode_utf8(&mut utf8).as_bytes() {
                    put(bytes, write, byte);
                    write += 1;
                }
            }
            None => {
                for at in read..read + used {
                    let byte = bytes.get(at).copied().unwrap_or_default();
                    put(bytes, write, byte);
                    write += 1;
                }
            }
        }
        read += used;
    }
    write
}

fn join(high: u32, low: u32) -> Option<char> {
    char::from_u32(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00))
}

fn put(bytes: &mut [u8], at: usize, byte: u8) {
    if let Some(place) = bytes.get_mut(at) {
        *place = byte;
    }
}

/// Replaces each lone surrogate's escape by that of U+FFFD, of the same length: the API refuses
/// text that is none.
pub(super) fn mend_surrogates(bytes: &mut [u8]) {
    let mut at = 0;
    while at < bytes.len() {
        if bytes.get(at) != Some(&b'\\') {
            at += 1;
            continue;
        }
        at += match unit(bytes, at) {
            None => 2,
            Some(0xd800..0xdc00)
                if unit(bytes, at + 6).is_some_and(|low| (0xdc00..0xe000).contains(&low)) =>
            {
                12
            }
            Some(0xd800..0xe000) => {
                if let Some(place) = bytes.get_mut(at..at + 6) {
                    copy(place, b"\\ufffd");
                }
                6
            }
            Some(_) => 6,
        };
    }
}

/// Makes an object of the input at `span`, if it is one in a form that gateways give it: nothing,
/// `null` or `""` for no arguments, or a string that holds the object's JSON. Gives its new end;
/// nothing if it is no object in any form. `grown`: it came in deltas, where what the model wrote
/// is told apart from what is not there.
pub(super) fn read_input(
    t: &mut Transcript<'_>,
    span: Span,
    grown: bool,
) -> Result<Option<usize>, Capacity> {
    let text = span.of(t.whole()).trim_ascii();
    let is_empty = text.is_empty() || (!grown && (text == b"null" || text == b"\"\""));
    if is_empty {
        t.remove(span);
        t.insert(span.start, b"{}")?;
        return Ok(Some(span.start + 2));
    }
    let Ok(checked) = check(text) else { return Ok(None) };
    match Value::whole(text).map(Value::kind) {
        Some(Kind::Object) => {
            if checked.lone_surrogate.is_some() {
                mend_surrogates(t.whole_mut().get_mut(span.start..span.end).unwrap_or_default());
            }
            Ok(Some(span.end))
        }
        Some(Kind::String) => open_string(t, span),
        _ => Ok(None),
    }
}

/// Puts the object that the string at `span` holds in its place and gives the new end; nothing, and
/// the string stays, if it holds none.
fn open_string(t: &mut Transcript<'_>, span: Span) -> Result<Option<usize>, Capacity> {
    // Unescaped in the tail, so that the string is still there if it is none.
    let start = t.len();
    t.append_within(span)?;
    t.truncate(start);
    let copy = Span::new(start, 0).with_len(span.len());
    let quotes = copy
        .of(t.whole())
        .iter()
        .position(|byte| *byte == b'"')
        .zip(copy.of(t.whole()).iter().rposition(|byte| *byte == b'"'));
    let Some((open, close)) = quotes else { return Ok(None) };
    let start = copy.start + open + 1;
    let content = t.whole_mut().get_mut(start..copy.start + close).unwrap_or_default();
    // Half of a pair at the end is no end of an object.
    let len = unescape_in_place(content, &mut None);
    let object = Span::new(start, start + len);
    let text = object.of(t.whole());
    let Ok(checked) = check(text) else { return Ok(None) };
    if !text.trim_ascii_start().starts_with(b"{") {
        return Ok(None);
    }
    t.remove(span);
    t.insert_tail(span.start, object)?;
    let end = span.start + len;
    if checked.lone_surrogate.is_some() {
        mend_surrogates(t.whole_mut().get_mut(span.start..end).unwrap_or_default());
    }
    Ok(Some(end))
}

/// Makes the input at `span` a JSON object: anything else is kept as a string in one. Gives its new
/// end, and what was wrong.
fn close_input(
    t: &mut Transcript<'_>,
    span: Span,
    grown: bool,
) -> Result<(usize, Option<Fault>), Capacity> {
    if let Some(end) = read_input(t, span, grown)? {
        return Ok((end, None));
    }
    let error = check(span.of(t.whole())).err();
    Ok((mend_input(t, span)?, Some(error)))
}

/// Makes the text at `span` the string of a mended input; gives its new end.
fn mend_input(transcript: &mut Transcript<'_>, span: Span) -> Result<usize, Capacity> {
    let extra = |byte: u8| match byte {
        b'"' | b'\\' => 1,
        0..0x20 => 5,
        _ => 0,
    };
    let more: usize = span.of(transcript.whole()).iter().map(|&byte| extra(byte)).sum();
    transcript.reserve(more + MENDED.0.len() + MENDED.1.len())?;
    transcript.open_gap(span.end, more)?;
    // From the end, so that nothing is overwritten before it was read.
    if let Some(bytes) = transcript.whole_mut().get_mut(span.start..span.end + more) {
        let (mut read, mut write) = (span.len(), bytes.len());
        while read > 0 && read < write {
            read -= 1;
            let byte = bytes.get(read).copied().unwrap_or_default();
            write -= extra(byte) + 1;
            match extra(byte) {
                0 => put(bytes, write, byte),
                1 => {
                    put(bytes, write, b'\\');
                    put(bytes, write + 1, byte);
                }
                _ => {
                    for (offset, part) in escaped_unit(u32::from(byte)).into_iter().enumerate() {
                        put(bytes, write + offset, part);
                    }
                }
            }
        }
    }
    transcript.insert(span.end + more, MENDED.1)?;
    transcript.insert(span.start, MENDED.0)?;
    Ok(span.end + more + MENDED.0.len() + MENDED.1.len())
}

/// A call of the server's own goes back as it came: the API would take no conversation again in
/// which one has no id or no name.
pub(super) fn ensure_named(call: Span, t: &Transcript<'_>) -> Result<(), Error> {
    let parts = Value::whole(call.of(t.whole())).unwrap_or_default().pick(["id", "name"]);
    let is_text = |part: Option<Value<'_>>| {
        part.and_then(Value::as_text).is_some_and(|text| !text.is_empty())
    };
    if parts.into_iter().all(is_text) {
        Ok(())
    } else {
        Err(unexpected("server calls that have a name and an id"))
    }
}

/// Sees that the call in `block` has a JSON object for an input. `grown`: where the input is, if it
/// came in pieces. Gives the block's new end.
pub(super) fn close_call(
    t: &mut Transcript<'_>,
    block: Span,
    grown: Option<Span>,
) -> Result<(usize, Option<Fault>), Capacity> {
    let (input, end) = match grown {
        Some(input) => (input, block.end),
        None => {
            let value = Value::whole(block.of(t.whole()))
                .and_then(|value| value.member(Field::Input.member()));
            match value.and_then(|value| {
                Some(Span::new(value.offset_in(t.whole())?, 0).with_len(value.raw().len()))
            }) {
                Some(input) => (input, block.end),
                None => {
                    let at = block.end.saturating_sub(1);
                    t.insert(at, b",\"input\":")?;
                    (Span::new(at + 9, at + 9), block.end + 9)
                }
            }
        }
    };
    let (input_end, bad) = close_input(t, input, grown.is_some())?;
    Ok(((end + input_end).saturating_sub(input.end), bad))
}
