//! The events of which a reply has most (text, thinking and input deltas) and those that say next
//! to nothing, in the exact form that the API sends: constant bytes compared, a closing quote found
//! eight bytes at a time, no JSON parser. Whatever differs in one byte goes the general way from
//! its first byte, with the same outcome.

use super::event::{Field, WireKind};
use crate::json::{hex4, is_ascii, plain_run_seen};

/// A delta found by its form.
pub(super) struct FastDelta<'i> {
    pub(super) index: usize,
    pub(super) field: Field,
    /// The string's content, still escaped; no half of a surrogate pair is in it.
    pub(super) text: &'i [u8],
    /// Bytes of the whole frame, blank line included.
    pub(super) used: usize,
}

// In two, for the compiler compares what is short in place.
const NAME: &[u8] = b"event: content_block_delta\n";
const HEAD: &[u8] = b"data: {\"type\":\"content_block_delta\",\"index\":";
const MIDDLE: &[u8] = b",\"delta\":{\"type\":\"";
const TEXT: &[u8] = b"text_delta\",\"text\":\"";
const INPUT: &[u8] = b"input_json_delta\",\"partial_json\":\"";
const THINKING: &[u8] = b"thinking_delta\",\"thinking\":\"";

/// The delta at the start of `input`, if it is whole and in the exact form.
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
    let (mut end, mut seen) = (0, 0);
    loop {
        end = plain_run_seen(text, end, &mut seen);
        match text.get(end)? {
            b'"' => break,
            b'\\' => match text.get(end + 1)? {
                b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => end += 2,
                // A code unit of a pair goes the general way, which knows of halves.
                b'u' => match hex4(text, end + 2)? {
                    0xd800..0xe000 => return None,
                    _ => end += 6,
                },
                _ => return None,
            },
            _ => return None,
        }
    }
    let (text, rest) = text.split_at_checked(end)?;
    let rest = match rest.strip_prefix(b"\"}}\n\n") {
        Some(rest) => rest,
        // The API pads its events with spaces, before either brace.
        None => brace(brace(rest.get(1..)?)?)?.strip_prefix(b"\n\n")?,
    };
    if !is_ascii(seen) {
        core::str::from_utf8(text).ok()?;
    }
    Some(FastDelta { index, field, text, used: input.len() - rest.len() })
}

/// An event without content at the start of `input`, if it is whole and in the exact form, and what
/// follows it.
pub(super) fn plain(input: &[u8]) -> Option<(WireKind, &[u8])> {
    let input = input.strip_prefix(b"event: ")?;
    let (kind, rest) = match input.first()? {
        b'c' => {
            let rest = input.strip_prefix(
                b"content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":",
            )?;
            let (index, rest) = index(rest)?;
            (WireKind::BlockStop { index: u16::try_from(index).ok() }, rest)
        }
        b'm' => (
            WireKind::MessageStop,
            input.strip_prefix(b"message_stop\ndata: {\"type\":\"message_stop\"")?,
        ),
        b'p' => {
            let rest = input.strip_prefix(b"ping\ndata: {\"type\":")?;
            (WireKind::Ping, rest.strip_prefix(b" ").unwrap_or(rest).strip_prefix(b"\"ping\"")?)
        }
        _ => return None,
    };
    Some((kind, brace(rest)?.strip_prefix(b"\n\n")?))
}

/// A block's index of at most two digits, and what follows it: if that is a digit, no form goes on
/// with it.
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
