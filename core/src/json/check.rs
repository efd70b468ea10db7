//! The grammar: one pass, no recursion, every byte looked at.

use core::fmt;

use crate::error::Misuse;

use super::scan::{IS_LARGE, plain_key, plain_run, short_string_end, skip_space};

/// The deepest nesting that [`check`] takes, in objects and arrays.
///
/// An input or a result goes back in a request that has five more levels around it (body, messages,
/// message, content, block). Many parsers, serde_json's among them, take 127 levels by default; so
/// a request never has more.
pub const MAX_DEPTH: usize = 122;
const TOO_DEEP: &str = "at most 122 levels";

/// What [`check`] learned about a JSON text besides that it is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checked {
    /// Where the value ends: behind it there is only white space.
    pub end: usize,
    /// The first `\uD800` to `\uDFFF` that is not half of a pair: legal JSON, but no text, and
    /// refused by the API.
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

/// The deepest that a message can be that has an input or a result in it which was checked by
/// itself, and the deepest that what holds such messages can be. What was once taken is not refused
/// when it comes back.
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

/// Checks that `bytes` is one JSON value (RFC 8259) and nothing else but white space: grammar,
/// UTF-8, nesting of at most [`MAX_DEPTH`]. Numbers may have any size.
///
/// # Errors
/// The place and what was expected there.
pub fn check(bytes: &[u8]) -> Result<Checked, JsonError> {
    check_to(MAX_DEPTH, bytes)
}

/// [`check`] with another depth, of at most 160 levels.
pub(crate) fn check_to(most: usize, bytes: &[u8]) -> Result<Checked, JsonError> {
    let mut walk = Walk::new(bytes)?;
    walk.most = most;
    walk.value()?;
    walk.end()
}

/// [`check`] step by step, so that what is sought is found in the same pass. Whoever walks must go
/// on to [`end`](Self::end).
pub(crate) struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
    most: usize,
    depth: usize,
    /// An object or array was just entered: no comma before what is first in it.
    is_first: bool,
    lone_surrogate: Option<usize>,
}

impl<'a> Walk<'a> {
    /// At the outermost value of `bytes`.
    pub(crate) fn new(bytes: &'a [u8]) -> Result<Self, JsonError> {
        // What is ASCII, as most is, is found so in steps that the check of UTF-8 has not.
        if (!IS_LARGE || !bytes.is_ascii())
            && let Err(e) = core::str::from_utf8(bytes)
        {
            return fail(e.valid_up_to(), "valid UTF-8");
        }
        Ok(Self {
            bytes,
            at: skip_space(bytes, 0),
            most: MAX_DEPTH,
            depth: 0,
            is_first: false,
            lone_surrogate: None,
        })
    }

    /// Where the next value begins, or where the last one ended.
    pub(crate) const fn at(&self) -> usize {
        self.at
    }

    /// Enters the value here if it is an object: then [`key`](Self::key) comes next. For a few
    /// levels, less than [`MAX_DEPTH`].
    pub(crate) fn enter(&mut self) -> bool {
        self.enter_by(b'{')
    }

    /// Enters the value here if it is an array: then [`element`](Self::element) comes next.
    pub(crate) fn enter_array(&mut self) -> bool {
        self.enter_by(b'[')
    }

    fn enter_by(&mut self, bracket: u8) -> bool {
        self.is_first = self.bytes.get(self.at) == Some(&bracket);
        if self.is_first {
            self.at += 1;
            self.depth += 1;
        }
        self.is_first
    }

    /// The name of the next member, still escaped: its value comes next. Nothing at the object's
    /// end, which is left.
    pub(crate) fn key(&mut self) -> Result<Option<&'a [u8]>, JsonError> {
        match self.plain_key() {
            Some(key) => Ok(Some(key)),
            None => self.any_key(),
        }
    }

    /// [`key`](Self::key) of any form. Out of line, for most names come the short way.
    #[cfg_attr(target_pointer_width = "64", inline(never))]
    fn any_key(&mut self) -> Result<Option<&'a [u8]>, JsonError> {
        if !self.next(b'}', "',' or '}'")? {
            return Ok(None);
        }
        let start = self.at + 1;
        let (end, value) = key(self.bytes, self.at, &mut self.lone_surrogate)?;
        self.at = value;
        Ok(self.bytes.get(start..end))
    }

    /// [`key`](Self::key) by the short way, if it is one for that: else nothing is done.
    #[inline]
    fn plain_key(&mut self) -> Option<&'a [u8]> {
        let comma = !self.is_first;
        if comma && self.bytes.get(self.at) != Some(&b',') {
            return None;
        }
        let (key, value) = plain_key(self.bytes, self.at + usize::from(comma))?;
        (self.at, self.is_first) = (value, false);
        Some(key)
    }

    /// Whether there is another element: its value comes next. At the array's end it is left.
    pub(crate) fn element(&mut self) -> Result<bool, JsonError> {
        self.next(b']', "',' or ']'")
    }

    fn next(&mut self, closing: u8, expected: &'static str) -> Result<bool, JsonError> {
        self.at = skip_space(self.bytes, self.at);
        match (self.bytes.get(self.at), core::mem::take(&mut self.is_first)) {
            (Some(&byte), _) if byte == closing => {
                self.at += 1;
                self.depth = self.depth.saturating_sub(1);
                return Ok(false);
            }
            (_, true) => {}
            (Some(b','), false) => self.at = skip_space(self.bytes, self.at + 1),
            _ => return fail(self.at, expected),
        }
        Ok(true)
    }

    /// The value here, all of it.
    pub(crate) fn value(&mut self) -> Result<&'a [u8], JsonError> {
        let start = self.at;
        self.at = value(self.bytes, start, (self.depth, self.most), &mut self.lone_surrogate)?;
        Ok(self.bytes.get(start..self.at).unwrap_or_default())
    }

    /// Behind the outermost value.
    pub(crate) fn end(&self) -> Result<Checked, JsonError> {
        let end = skip_space(self.bytes, self.at);
        if end < self.bytes.len() {
            return fail(end, "the end");
        }
        Ok(Checked { end, lone_surrogate: self.lone_surrogate })
    }
}

/// The value that begins at `at`, with `outside` levels around it of `most`; gives where it ends.
fn value(
    bytes: &[u8],
    mut at: usize,
    (outside, most): (usize, usize),
    lone: &mut Option<usize>,
) -> Result<usize, JsonError> {
    let mut stack = Stack { bits: [0; 5], most, depth: outside };
    'value: loop {
        // A value begins at `at`.
        match bytes.get(at) {
            Some(b'{') => {
                if !stack.push(true) {
                    return fail(at, TOO_DEEP);
                }
                at = skip_space(bytes, at + 1);
                if bytes.get(at) != Some(&b'}') {
                    (_, at) = key(bytes, at, lone)?;
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
            Some(b'"') => at = string(bytes, at + 1, lone)?,
            Some(b'-' | b'0'..=b'9') => at = number(bytes, at)?,
            Some(b't') => at = literal(bytes, at, b"true")?,
            Some(b'f') => at = literal(bytes, at, b"false")?,
            Some(b'n') => at = literal(bytes, at, b"null")?,
            _ => return fail(at, "a value"),
        }
        // A value has ended, or an empty container has its closing bracket at `at`.
        loop {
            if stack.depth <= outside {
                return Ok(at);
            }
            at = skip_space(bytes, at);
            match (stack.top(), bytes.get(at)) {
                (Some(true), Some(b'}')) | (Some(false), Some(b']')) => {
                    stack.depth -= 1;
                    at += 1;
                }
                (Some(true), Some(b',')) => {
                    (_, at) = key(bytes, skip_space(bytes, at + 1), lone)?;
                    continue 'value;
                }
                (Some(false), Some(b',')) => {
                    at = skip_space(bytes, at + 1);
                    continue 'value;
                }
                (Some(true), _) => return fail(at, "',' or '}'"),
                _ => return fail(at, "',' or ']'"),
            }
        }
    }
}

/// A member's name and colon; gives where the name ends and its value begins.
fn key(bytes: &[u8], at: usize, lone: &mut Option<usize>) -> Result<(usize, usize), JsonError> {
    if bytes.get(at) != Some(&b'"') {
        return fail(at, "a member name");
    }
    let behind = string(bytes, at + 1, lone)?;
    let at = skip_space(bytes, behind);
    if bytes.get(at) != Some(&b':') {
        return fail(at, "':'");
    }
    Ok((behind.saturating_sub(1), skip_space(bytes, at + 1)))
}

/// The rest of a string; gives the index behind its closing quote.
#[inline]
fn string(bytes: &[u8], at: usize, lone: &mut Option<usize>) -> Result<usize, JsonError> {
    match short_string_end(bytes, at) {
        Some(end) => Ok(end + 1),
        None => any_string(bytes, at, lone),
    }
}

fn any_string(bytes: &[u8], mut at: usize, lone: &mut Option<usize>) -> Result<usize, JsonError> {
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
pub(crate) fn hex4(bytes: &[u8], at: usize) -> Option<u32> {
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
