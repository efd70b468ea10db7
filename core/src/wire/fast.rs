//! A fast path for the most frequent events of a reply (text, thinking and input deltas) and for
//! events without content. It recognizes only the exact form that the API sends: it compares
//! constant bytes, finds the closing quote eight bytes at a time, and uses no JSON parser. An event
//! that differs in one byte takes the general path from its first byte, with the same result. On a
//! chip, only deltas have a fast path, because the other events come only once per block.

use super::event::{EventKind, Wire};
use super::kinds::Field;
use crate::json::{IS_CHIP, check_string, hex4, is_ascii, plain_run_seen};

/// A delta in the exact form of the API.
pub(crate) struct FastDelta<'i> {
    pub(crate) index: usize,
    pub(crate) field: Field,
    /// The content of the string, still escaped. It contains no half of a surrogate pair.
    pub(crate) text: &'i [u8],
    /// The length of the whole frame in bytes, including the blank line.
    pub(crate) used: usize,
}

// Split in two, because the compiler compares short strings inline.
const NAME: &[u8] = b"event: content_block_delta\n";
const HEAD: &[u8] = b"data: {\"type\":\"content_block_delta\",\"index\":";
const MIDDLE: &[u8] = b",\"delta\":{\"type\":\"";
const TEXT: &[u8] = Field::Text.head();
const INPUT: &[u8] = Field::Input.head();
const THINKING: &[u8] = Field::Thinking.head();

/// Returns the delta at the start of `input`, if it is complete and in the exact form. Inlined on a
/// large machine, where the event would otherwise go through memory once more.
#[cfg_attr(target_pointer_width = "64", inline(always))]
pub(super) fn delta(input: &[u8]) -> Option<FastDelta<'_>> {
    let (index, rest) = index(input.strip_prefix(NAME)?.strip_prefix(HEAD)?)?;
    let rest = rest.strip_prefix(MIDDLE)?;
    let (field, text) = match rest.strip_prefix(TEXT) {
        Some(text) => (Field::Text, text),
        None => match rest.strip_prefix(INPUT) {
            Some(text) => (Field::Input, text),
            None => (Field::Thinking, rest.strip_prefix(THINKING)?),
        },
    };
    let (end, is_ascii) = content(text)?;
    let (text, rest) = text.split_at_checked(end)?;
    let rest = match rest.strip_prefix(b"\"}}\n\n") {
        Some(rest) => rest,
        // The API pads its events with spaces before either brace.
        None => brace(brace(rest.get(1..)?)?)?.strip_prefix(b"\n\n")?,
    };
    if !is_ascii {
        core::str::from_utf8(text).ok()?;
    }
    Some(FastDelta { index, field, text, used: input.len() - rest.len() })
}

/// Returns the length of the content of the string whose content begins at the start of `text`, and
/// whether it is known to be ASCII. Returns `None` if it contains a half of a surrogate pair.
#[inline]
fn content(text: &[u8]) -> Option<(usize, bool)> {
    if IS_CHIP {
        return Some((check_string(text)?, false));
    }
    let (mut end, mut seen) = (0, 0);
    loop {
        end = plain_run_seen(text, end, &mut seen);
        match text.get(end)? {
            b'"' => return Some((end, is_ascii(seen))),
            b'\\' => match text.get(end + 1)? {
                b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => end += 2,
                // A code unit of a surrogate pair takes the general path, which handles separated
                // halves.
                b'u' => match hex4(text, end + 2)? {
                    0xd800..0xe000 => return None,
                    _ => end += 6,
                },
                _ => return None,
            },
            _ => return None,
        }
    }
}

/// Returns the event without content at the start of `input`, and the bytes after it, if the event
/// is complete and in the exact form.
pub(super) fn plain(input: &[u8]) -> Option<(Wire, &[u8])> {
    let input = input.strip_prefix(b"event: ")?;
    let (wire, rest) = match input.first()? {
        b'c' => {
            let rest = input.strip_prefix(
                b"content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":",
            )?;
            let (index, rest) = index(rest)?;
            (Wire::plain(EventKind::BlockStop, u16::try_from(index).ok()), rest)
        }
        b'm' => (
            Wire::plain(EventKind::MessageStop, None),
            input.strip_prefix(b"message_stop\ndata: {\"type\":\"message_stop\"")?,
        ),
        b'p' => {
            let rest = input.strip_prefix(b"ping\ndata: {\"type\":")?;
            (
                Wire::plain(EventKind::Ping, None),
                rest.strip_prefix(b" ").unwrap_or(rest).strip_prefix(b"\"ping\"")?,
            )
        }
        _ => return None,
    };
    Some((wire, brace(rest)?.strip_prefix(b"\n\n")?))
}

/// Returns the index of a block, with at most two digits, and the bytes after it. A third digit
/// needs no check, because no form continues with a digit.
#[inline]
fn index(rest: &[u8]) -> Option<(usize, &[u8])> {
    let (index, rest) = match rest {
        [b'0', rest @ ..] => (0, rest),
        [tens @ b'1'..=b'9', digit @ b'0'..=b'9', rest @ ..] => {
            (usize::from(tens - b'0') * 10 + usize::from(digit - b'0'), rest)
        }
        [digit @ b'1'..=b'9', rest @ ..] => (usize::from(digit - b'0'), rest),
        _ => return None,
    };
    Some((index, rest))
}

fn brace(mut rest: &[u8]) -> Option<&[u8]> {
    while let [b' ', more @ ..] = rest {
        rest = more;
    }
    rest.strip_prefix(b"}")
}
