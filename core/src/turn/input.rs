//! The input of a call: unescaped while it arrives, checked when it is complete, and wrapped in an
//! object if it is not an object itself.

use core::num::NonZeroU16;

use heapless::Vec;

use super::unexpected;
use crate::error::{Capacity, Error, Phrase, phrase};
use crate::json::{Bits, IS_CHIP, JsonError, Kind, Value, check, join, unescape};
use crate::transcript::{Span, Transcript};
use crate::wire::Field;

/// The fault of an input that is not a JSON object: the error in its JSON, or `None` if it is valid
/// JSON.
pub(crate) type Fault = Option<JsonError>;

/// The maximum number of inputs per reply whose fault is stored in detail.
const MAX_FAULTS: usize = if cfg!(feature = "input-words") { 4 } else { 0 };

/// The fault of one call in a compact form, because a run stores several.
#[derive(Clone, Debug)]
struct InputFault {
    expected: Option<Phrase>,
    at: u32,
    call: u8,
}

/// The calls of a reply whose input is not a JSON object, and the faults of these inputs.
#[derive(Clone, Debug)]
pub(crate) struct BadInputs {
    /// One bit per call, for the first 128 calls. A turn cannot have more.
    calls: Bits<4>,
    faults: Vec<InputFault, MAX_FAULTS>,
}

impl BadInputs {
    pub(crate) const NONE: Self = Self { calls: Bits::NONE, faults: Vec::new() };

    /// Returns the calls with a bad input, with one bit per call. This does not include the faults.
    pub(crate) const fn calls(&self) -> Bits<4> {
        self.calls
    }

    pub(crate) const fn of_calls(calls: Bits<4>) -> Self {
        Self { calls, faults: Vec::new() }
    }

    /// Records that the call with the index `call` in the reply has a bad input.
    pub(super) fn note(&mut self, call: usize, fault: Fault) {
        self.calls.set(call, true);
        // The bit above is what matters. The fault is stored only while there is space, and only
        // for the first 128 calls, because a turn cannot have more.
        if let (Ok(call), Ok(at)) =
            (u8::try_from(call), u32::try_from(fault.map_or(0, |fault| fault.at)))
        {
            let _ = self.faults.push(InputFault {
                expected: fault.map(|fault| fault.expected),
                at,
                call,
            });
        }
    }

    /// Returns whether the input of the call is not an object.
    pub(crate) fn has(&self, call: usize) -> bool {
        self.calls.has(call)
    }

    /// Returns the fault of the call's input, or `None` if it was not stored.
    pub(crate) fn fault(&self, call: usize) -> Option<Fault> {
        let noted = self.faults.iter().find(|noted| usize::from(noted.call) == call)?;
        let at = usize::try_from(noted.at).unwrap_or(usize::MAX);
        Some(noted.expected.map(|expected| JsonError { at, expected }))
    }
}

/// The start and the end of an object that wraps a bad input. The object contains the model's text
/// as a string, as the provider's documentation recommends.
const MENDED: (&[u8], &[u8]) = (b"{\"INVALID_JSON\":\"", b"\"}");

/// The first half of a surrogate pair whose second half may arrive with the next delta. It is never
/// 0, which saves two bytes per block.
pub(super) type Half = Option<NonZeroU16>;

/// Returns a code unit as an escape.
pub(super) fn escaped_unit(unit: u32) -> [u8; 6] {
    let hex = |shift: u32| match (unit >> shift) & 15 {
        nibble @ 0..10 => b'0' + u8::try_from(nibble).unwrap_or(0),
        nibble => b'a' - 10 + u8::try_from(nibble).unwrap_or(10),
    };
    [b'\\', b'u', hex(12), hex(8), hex(4), hex(0)]
}

/// Returns whether `raw` begins with the escape of a second half of a surrogate pair.
pub(super) fn begins_with_low(raw: &[u8]) -> bool {
    (0xdc00..0xe000).contains(&unescape(raw).0)
}

/// Returns whether `raw`, the content of a string, ends with the escape of a first half of a
/// surrogate pair.
pub(super) fn ends_with_high(raw: &[u8]) -> bool {
    let Some((before, last)) = raw.split_last_chunk::<6>() else { return false };
    let backslashes = before.iter().rev().take_while(|byte| **byte == b'\\').count();
    // After an odd number of backslashes, the next backslash is itself escaped.
    backslashes % 2 == 0 && (0xd800..0xdc00).contains(&unescape(last).0)
}

/// Unescapes the content of a JSON string in place, and returns its new length, which is never
/// greater.
///
/// A first half of a surrogate pair at the end is stored in `half`. Any other unpaired half stays
/// escaped. `half` may only be set on entry if `bytes` [begins with a second
/// half](begins_with_low).
pub(super) fn unescape_in_place(bytes: &mut [u8], half: &mut Half) -> usize {
    let (mut read, mut write) = (0, 0);
    let mut utf8 = [0; 4];
    while let Some(&byte) = bytes.get(read) {
        if byte != b'\\' {
            put(bytes, write, byte);
            (read, write) = (read + 1, write + 1);
            continue;
        }
        // Most escapes of an input are those of quotes.
        if !IS_CHIP && let Some(&quote @ (b'"' | b'\\')) = bytes.get(read + 1) {
            put(bytes, write, quote);
            (read, write) = (read + 2, write + 1);
            continue;
        }
        let (code, used) = unescape(bytes.get(read..).unwrap_or_default());
        // What is not an escape stays.
        let (code, used) = if used == 0 { (u32::from(byte), 1) } else { (code, used) };
        let char = match (char::from_u32(code), code) {
            (None, 0xd800..0xdc00) if read + used == bytes.len() => {
                *half = u16::try_from(code).ok().and_then(NonZeroU16::new);
                return write;
            }
            (None, 0xdc00..0xe000) => {
                half.take().and_then(|high| char::from_u32(join(u32::from(high.get()), code)))
            }
            (char, _) => char,
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

fn put(bytes: &mut [u8], at: usize, byte: u8) {
    if let Some(place) = bytes.get_mut(at) {
        *place = byte;
    }
}

/// Replaces each escape of an unpaired surrogate with that of U+FFFD, which has the same length.
/// The API refuses unpaired surrogates.
pub(super) fn mend_surrogates(bytes: &mut [u8]) {
    let mut at = 0;
    while let Some(rest) = bytes.get_mut(at..)
        && !rest.is_empty()
    {
        let (code, used) = unescape(rest);
        if (0xd800..0xe000).contains(&code)
            && let Some(place) = rest.first_chunk_mut::<6>()
        {
            *place = *b"\\ufffd";
        }
        at += used.max(1);
    }
}

/// Makes the input at `span` an object, if it has a form in which gateways send objects: an empty
/// input, `null` or `""` for no arguments, or a string that contains the JSON of an object. Returns
/// the new end of the input, or its fault if it does not represent an object. `grown` states that
/// the input arrived in deltas; then `null` and `""` are text from the model and do not mean that
/// there are no arguments.
pub(super) fn read_input(
    t: &mut Transcript<'_>,
    span: Span,
    grown: bool,
) -> Result<Result<usize, Fault>, Capacity> {
    let text = span.of(t.whole());
    let checked = check(text);
    let text = text.trim_ascii();
    let is_empty = text.is_empty() || (!grown && (text == b"null" || text == b"\"\""));
    if is_empty {
        t.remove(span);
        t.insert(span.start, b"{}")?;
        return Ok(Ok(span.start + 2));
    }
    let checked = match checked {
        Ok(checked) => checked,
        Err(error) => return Ok(Err(Some(error))),
    };
    match Value::whole(text).map(Value::kind) {
        Some(Kind::Object) => {
            if checked.lone_surrogate.is_some() {
                mend_surrogates(span.of_mut(t.whole_mut()));
            }
            Ok(Ok(span.end))
        }
        Some(Kind::String) if cfg!(feature = "gateways") => Ok(open_string(t, span)?.ok_or(None)),
        _ => Ok(Err(None)),
    }
}

/// Replaces the string at `span` with the object that it contains, and returns the new end. If the
/// string contains no object, returns `None` and leaves the string unchanged.
fn open_string(t: &mut Transcript<'_>, span: Span) -> Result<Option<usize>, Capacity> {
    // Unescaped in the tail, so that the string is still intact if it contains no object.
    let copy = t.copy_to_tail(span)?;
    let quotes = copy
        .of(t.whole())
        .iter()
        .position(|byte| *byte == b'"')
        .zip(copy.of(t.whole()).iter().rposition(|byte| *byte == b'"'));
    let Some((open, close)) = quotes else { return Ok(None) };
    let content = Span::new(copy.start + open + 1, copy.start + close);
    // An object cannot end with half of a surrogate pair, so the half is not needed.
    let object = content.with_len(unescape_in_place(content.of_mut(t.whole_mut()), &mut None));
    let text = object.of(t.whole());
    let Ok(checked) = check(text) else { return Ok(None) };
    if !text.trim_ascii_start().starts_with(b"{") {
        return Ok(None);
    }
    t.tail_of(object).replace(span);
    let object = span.with_len(object.len());
    if checked.lone_surrogate.is_some() {
        mend_surrogates(object.of_mut(t.whole_mut()));
    }
    Ok(Some(object.end))
}

/// Makes the input at `span` a JSON object. Wraps any other input as a string in an object. Returns
/// the new end of the input, and the fault if there is one.
fn close_input(
    t: &mut Transcript<'_>,
    span: Span,
    grown: bool,
) -> Result<(usize, Option<Fault>), Capacity> {
    match read_input(t, span, grown)? {
        Ok(end) => Ok((end, None)),
        Err(fault) => Ok((mend_input(t, span)?, Some(fault))),
    }
}

/// Wraps the text at `span` as a string in an object, and returns its new end.
fn mend_input(transcript: &mut Transcript<'_>, span: Span) -> Result<usize, Capacity> {
    let more: usize = span.of(transcript.whole()).iter().map(|&byte| escaped(byte).1 - 1).sum();
    transcript.reserve(more + MENDED.0.len() + MENDED.1.len())?;
    transcript.open_gap(span.end, more)?;
    // Works backwards from the end, so that no byte is overwritten before it has been read.
    let (mut read, mut write) = (span.end, span.end + more);
    while span.start < read && read < write {
        read -= 1;
        let (escape, len) = escaped(transcript.whole().get(read).copied().unwrap_or_default());
        write -= len;
        for (at, byte) in (write..).zip(escape).take(len) {
            put(transcript.whole_mut(), at, byte);
        }
    }
    transcript.insert(span.end + more, MENDED.1)?;
    transcript.insert(span.start, MENDED.0)?;
    Ok(span.end + more + MENDED.0.len() + MENDED.1.len())
}

/// Returns a byte as it is written in a string, and the length of that.
fn escaped(byte: u8) -> ([u8; 6], usize) {
    match byte {
        b'"' | b'\\' => ([b'\\', byte, 0, 0, 0, 0], 2),
        0..0x20 => (escaped_unit(u32::from(byte)), 6),
        _ => ([byte; 6], 1),
    }
}

/// Checks that a server call has an id and a name. Server calls are sent back as they arrived, and
/// the API would refuse every later request with one that has no id or no name.
pub(super) fn ensure_named(call: Span, t: &Transcript<'_>) -> Result<(), Error> {
    let call = Value::whole(call.of(t.whole())).unwrap_or_default();
    let has_text = |name: &str| {
        call.member(name).and_then(Value::as_text).is_some_and(|text| !text.is_empty())
    };
    if has_text("id") && has_text("name") {
        Ok(())
    } else {
        Err(unexpected(phrase!("server calls with a name and an id")))
    }
}

/// Ensures that the input of the call in `block` is a JSON object. `grown` is the range of the
/// input if it arrived in pieces. Returns the new end of the block, and the fault of the input if
/// there is one.
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
            match value.and_then(|value| Span::of_value(value, t.whole())) {
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
