//! The grammar: one pass, no recursion, every byte looked at.

use core::fmt;

use crate::error::Misuse;

use super::scan::{plain_run, skip_space};

/// The deepest nesting that [`check`] takes, in objects and arrays. As in serde_json.
pub const MAX_DEPTH: usize = 127;
const TOO_DEEP: &str = "at most 127 levels";

/// What [`check`] learned about a JSON text besides that it is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checked {
    /// Where the value ends: behind it there is only white space.
    pub end: usize,
    /// The first `\uD800` to `\uDFFF` that is not half of a pair: legal JSON, but no text, and refused by the API.
    pub lone_surrogate: Option<usize>,
}

/// Where a JSON text goes wrong, and what was expected there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct JsonError {
    /// Offset in bytes. The text's length if it ends too early.
    pub at: usize,
    /// What was expected there.
    pub expected: &'static str,
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at byte {}: expected {}", self.at, self.expected)
    }
}

impl core::error::Error for JsonError {}

impl JsonError {
    /// What the caller is told of its own text: that it is too deep, or else `what`.
    pub(crate) fn misuse(self, what: &'static str) -> Misuse {
        Misuse::Json(if self.expected == TOO_DEEP { TOO_DEEP } else { what })
    }
}

const fn fail<T>(at: usize, expected: &'static str) -> Result<T, JsonError> {
    Err(JsonError { at, expected })
}

/// The deepest that a message can be that has an input or a result in it which was checked by itself, and the deepest that what holds
/// such messages can be. What was once taken is not refused when it comes back.
pub(crate) const MESSAGE_DEPTH: usize = MAX_DEPTH + 3;
pub(crate) const SNAPSHOT_DEPTH: usize = MESSAGE_DEPTH + 2;

/// One bit a level: whether it is an object.
struct Stack {
    bits: [u32; 5],
    most: usize,
    depth: usize,
}

impl Stack {
    fn push(&mut self, object: bool) -> bool {
        if self.depth >= self.most {
            return false;
        }
        if let Some(word) = self.bits.get_mut(self.depth / 32) {
            let bit = 1 << (self.depth % 32);
            *word = if object { *word | bit } else { *word & !bit };
        }
        self.depth += 1;
        true
    }

    /// Whether the innermost level is an object; `None` outside of all.
    fn top(&self) -> Option<bool> {
        let level = self.depth.checked_sub(1)?;
        self.bits.get(level / 32).map(|word| word & (1 << (level % 32)) != 0)
    }
}

/// Checks that `bytes` is one JSON value (RFC 8259) and nothing else but white space: grammar, UTF-8, nesting of at most
/// [`MAX_DEPTH`]. Numbers may have any size.
///
/// # Errors
/// The place and what was expected there.
pub fn check(bytes: &[u8]) -> Result<Checked, JsonError> {
    check_to(MAX_DEPTH, bytes)
}

/// [`check`] with another depth, of at most 160 levels.
pub(crate) fn check_to(most: usize, bytes: &[u8]) -> Result<Checked, JsonError> {
    if let Err(e) = core::str::from_utf8(bytes) {
        return fail(e.valid_up_to(), "valid UTF-8");
    }
    let mut stack = Stack { bits: [0; 5], most, depth: 0 };
    let mut lone_surrogate = None;
    let mut at = skip_space(bytes, 0);
    'value: loop {
        // A value begins at `at`.
        match bytes.get(at) {
            Some(b'{') => {
                if !stack.push(true) {
                    return fail(at, TOO_DEEP);
                }
                at = skip_space(bytes, at + 1);
                if bytes.get(at) != Some(&b'}') {
                    at = key(bytes, at, &mut lone_surrogate)?;
                    continue 'value;
                }
            }
            Some(b'[') => {
                if !stack.push(false) {
                    return fail(at, TOO_DEEP);
                }
                at = skip_space(bytes, at + 1);
                if bytes.get(at) != Some(&b']') {
                    continue 'value;
                }
            }
            Some(b'"') => at = string(bytes, at + 1, &mut lone_surrogate)?,
            Some(b'-' | b'0'..=b'9') => at = number(bytes, at)?,
            Some(b't') => at = literal(bytes, at, b"true")?,
            Some(b'f') => at = literal(bytes, at, b"false")?,
            Some(b'n') => at = literal(bytes, at, b"null")?,
            _ => return fail(at, "a value"),
        }
        // A value has ended, or an empty container has its closing bracket at `at`.
        loop {
            at = skip_space(bytes, at);
            match (stack.top(), bytes.get(at)) {
                (None, None) => {
                    return Ok(Checked { end: at, lone_surrogate });
                }
                (None, Some(_)) => return fail(at, "the end"),
                (Some(true), Some(b'}')) | (Some(false), Some(b']')) => {
                    stack.depth -= 1;
                    at += 1;
                }
                (Some(true), Some(b',')) => {
                    at = key(bytes, skip_space(bytes, at + 1), &mut lone_surrogate)?;
                    continue 'value;
                }
                (Some(false), Some(b',')) => {
                    at = skip_space(bytes, at + 1);
                    continue 'value;
                }
                (Some(true), _) => return fail(at, "',' or '}'"),
                (Some(false), _) => return fail(at, "',' or ']'"),
            }
        }
    }
}

/// A member's name and colon; gives the start of its value.
fn key(bytes: &[u8], at: usize, lone: &mut Option<usize>) -> Result<usize, JsonError> {
    if bytes.get(at) != Some(&b'"') {
        return fail(at, "a member name");
    }
    let at = skip_space(bytes, string(bytes, at + 1, lone)?);
    if bytes.get(at) != Some(&b':') {
        return fail(at, "':'");
    }
    Ok(skip_space(bytes, at + 1))
}

/// The rest of a string; gives the index behind its closing quote.
fn string(bytes: &[u8], mut at: usize, lone: &mut Option<usize>) -> Result<usize, JsonError> {
    loop {
        at = plain_run(bytes, at);
        match bytes.get(at) {
            Some(b'"') => return Ok(at + 1),
            Some(b'\\') => match bytes.get(at + 1) {
                Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => at += 2,
                Some(b'u') => {
                    let Some(unit) = hex4(bytes, at + 2) else {
                        return fail(at + 2, "four hexadecimal digits");
                    };
                    let pair = (0xd800..0xdc00).contains(&unit)
                        && bytes.get(at + 6..at + 8) == Some(b"\\u")
                        && hex4(bytes, at + 8).is_some_and(|low| (0xdc00..0xe000).contains(&low));
                    if !pair && (0xd800..0xe000).contains(&unit) && lone.is_none() {
                        *lone = Some(at);
                    }
                    at += if pair { 12 } else { 6 };
                }
                _ => return fail(at + 1, "an escape"),
            },
            Some(_) => return fail(at, "no control character in a string"),
            None => return fail(at, "the end of the string"),
        }
    }
}

/// The four hexadecimal digits at `at`, as a UTF-16 code unit.
pub(super) fn hex4(bytes: &[u8], at: usize) -> Option<u32> {
    let digits = bytes.get(at..)?.first_chunk::<4>()?;
    let mut unit = 0;
    for &digit in digits {
        unit = unit * 16 + char::from(digit).to_digit(16)?;
    }
    Some(unit)
}

fn number(bytes: &[u8], mut at: usize) -> Result<usize, JsonError> {
    let digits = |mut at: usize| {
        while let Some(b'0'..=b'9') = bytes.get(at) {
            at += 1;
        }
        at
    };
    if bytes.get(at) == Some(&b'-') {
        at += 1;
    }
    match bytes.get(at) {
        Some(b'0') => at += 1,
        Some(b'1'..=b'9') => at = digits(at),
        _ => return fail(at, "a digit"),
    }
    if bytes.get(at) == Some(&b'.') {
        let end = digits(at + 1);
        if end == at + 1 {
            return fail(end, "a digit");
        }
        at = end;
    }
    if let Some(b'e' | b'E') = bytes.get(at) {
        at += 1;
        if let Some(b'+' | b'-') = bytes.get(at) {
            at += 1;
        }
        let end = digits(at);
        if end == at {
            return fail(end, "a digit");
        }
        at = end;
    }
    Ok(at)
}

fn literal(bytes: &[u8], at: usize, word: &'static [u8]) -> Result<usize, JsonError> {
    match bytes.get(at..) {
        Some(rest) if rest.starts_with(word) => Ok(at + word.len()),
        _ => fail(at, "a value"),
    }
}
