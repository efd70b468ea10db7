//! The JSON grammar: a checker that reads every byte in one pass, without recursion.

use core::fmt;

use crate::error::Misuse;

use super::bits::Bits;
use super::scan::{IS_CHIP, IS_LARGE, plain_key, plain_run, short_string_end, skip_space};
use super::text::unescape;

/// The deepest nesting of objects and arrays that [`check`] accepts.
///
/// A request encloses an input or a result in five more levels (body, messages, message, content,
/// block). Many parsers, including serde_json, accept 127 levels by default. This limit ensures
/// that a request never has more.
pub const MAX_DEPTH: usize = 122;
const TOO_DEEP: &str = "at most 122 levels";

/// The properties of a valid JSON text that [`check`] finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The offset at which the value ends. Only white space follows it.
    pub end: usize,
    /// The offset of the first unpaired surrogate, an escape from `\uD800` to `\uDFFF` that is not
    /// part of a pair. It is valid JSON, but not valid text, and the API rejects it.
    pub lone_surrogate: Option<usize>,
}

/// The position of an error in a JSON text, and what was expected there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct JsonError {
    /// The offset of the error in bytes. If the text ends too early, this is its length.
    pub at: usize,
    /// What was expected at the offset.
    pub expected: &'static str,
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at byte {}: expected {}", self.at, self.expected)
    }
}

impl core::error::Error for JsonError {}

impl JsonError {
    /// Converts the error in a caller's JSON argument to a [`Misuse`]. The text says that the JSON
    /// is nested too deeply, or else it is `what`.
    pub(crate) fn misuse(self, what: &'static str) -> Misuse {
        Misuse::Json(if self.expected == TOO_DEEP { TOO_DEEP } else { what })
    }
}

const fn fail<T>(at: usize, expected: &'static str) -> Result<T, JsonError> {
    Err(JsonError { at, expected })
}

/// The deepest nesting of a message that contains an input or a result. Inputs and results are
/// checked on their own, so without this larger limit, data that was accepted once could be
/// rejected when it is read again as part of a message.
pub(crate) const MESSAGE_DEPTH: usize = MAX_DEPTH + 3;
/// The deepest nesting of a snapshot, which contains messages of depth [`MESSAGE_DEPTH`].
pub(crate) const SNAPSHOT_DEPTH: usize = MESSAGE_DEPTH + 2;

/// The enclosing levels, with one bit each: whether the level is an object.
struct Stack {
    objects: Bits<5>,
    most: usize,
    depth: usize,
}

impl Stack {
    fn push(&mut self, object: bool) -> bool {
        if self.depth >= self.most {
            return false;
        }
        self.objects.set(self.depth, object);
        self.depth += 1;
        true
    }

    /// Returns whether the innermost level is an object, or `None` outside all levels.
    fn top(&self) -> Option<bool> {
        let level = self.depth.checked_sub(1)?;
        Some(self.objects.has(level))
    }
}

/// Checks that `bytes` is one JSON value (RFC 8259), surrounded by nothing but white space. Checks
/// the grammar, UTF-8, and that the nesting is at most [`MAX_DEPTH`]. Numbers may have any size.
///
/// # Errors
/// Returns the offset of the first error and what was expected there.
pub fn check(bytes: &[u8]) -> Result<Checked, JsonError> {
    check_to(MAX_DEPTH, bytes)
}

/// Checks like [`check`], but with a maximum nesting of `most`, which must be at most 160 levels.
pub(crate) fn check_to(most: usize, bytes: &[u8]) -> Result<Checked, JsonError> {
    let mut walk = Walk::new(bytes)?;
    walk.most = most;
    walk.value()?;
    walk.end()
}

/// Checks that `bytes` is the inside of an object, without the braces.
pub(crate) fn check_members(bytes: &[u8]) -> Result<Checked, JsonError> {
    let mut walk = Walk { is_first: true, ..Walk::new(bytes)? };
    while skip_space(bytes, walk.at) < bytes.len() {
        if walk.key()?.is_none() {
            return fail(walk.at, "members without braces");
        }
        walk.value()?;
    }
    walk.end()
}

/// A checker that works like [`check`], but step by step, so that the caller can find values in the
/// same pass. The caller must continue until [`end`](Self::end), or the rest of the text is not
/// checked.
pub(crate) struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
    most: usize,
    depth: usize,
    /// Whether the checker has just entered an object or an array, so that no comma precedes the
    /// next item.
    is_first: bool,
    lone_surrogate: Option<usize>,
}

impl<'a> Walk<'a> {
    /// Creates a checker at the outermost value of `bytes`, and checks that `bytes` is valid UTF-8.
    pub(crate) fn new(bytes: &'a [u8]) -> Result<Self, JsonError> {
        // Most texts are ASCII, and the check for ASCII takes larger steps than the check for
        // UTF-8.
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

    /// Returns the offset at which the next value begins or the last one ended.
    pub(crate) const fn at(&self) -> usize {
        self.at
    }

    /// Enters the value at the current offset if it is an object, and returns whether it did. The
    /// caller must then call [`key`](Self::key). The nesting is not limited here, so this is only
    /// for fewer levels than [`MAX_DEPTH`].
    pub(crate) fn enter(&mut self) -> bool {
        self.enter_by(b'{')
    }

    /// Enters the value at the current offset if it is an array, and returns whether it did. The
    /// caller must then call [`element`](Self::element).
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

    /// Returns the name of the next member, still escaped, and advances to its value. At the end of
    /// the object, leaves the object and returns `None`.
    pub(crate) fn key(&mut self) -> Result<Option<&'a [u8]>, JsonError> {
        match self.plain_key() {
            Some(key) => Ok(Some(key)),
            None => self.any_key(),
        }
    }

    /// Reads a name of any form for [`key`](Self::key). This is out of line because most names take
    /// the fast path.
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

    /// Reads a short name without white space for [`key`](Self::key). For other names, returns
    /// `None` and does not advance.
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

    /// Advances to the next element and returns `true`. At the end of the array, leaves the array
    /// and returns `false`.
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

    /// Checks the whole value at the current offset, and returns its bytes.
    pub(crate) fn value(&mut self) -> Result<&'a [u8], JsonError> {
        let start = self.at;
        // Most values are not nested, and most need no more than one function.
        self.at = match self.bytes.get(start) {
            Some(b'"') if !IS_CHIP => string(self.bytes, start + 1, &mut self.lone_surrogate)?,
            _ => value(self.bytes, start, (self.depth, self.most), &mut self.lone_surrogate)?,
        };
        Ok(self.bytes.get(start..self.at).unwrap_or_default())
    }

    /// Checks that only white space follows the outermost value.
    pub(crate) fn end(&self) -> Result<Checked, JsonError> {
        let end = skip_space(self.bytes, self.at);
        if end < self.bytes.len() {
            return fail(end, "the end");
        }
        Ok(Checked { end, lone_surrogate: self.lone_surrogate })
    }
}

/// Checks the value that begins at `at`, and returns the offset at which it ends. `outside` is the
/// number of enclosing levels, and `most` the maximum number of levels.
fn value(
    bytes: &[u8],
    mut at: usize,
    (outside, most): (usize, usize),
    lone: &mut Option<usize>,
) -> Result<usize, JsonError> {
    let mut stack = Stack { objects: Bits::NONE, most, depth: outside };
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
        // A value has ended, or the closing bracket of an empty container is at `at`.
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

/// Checks the name of a member and the colon after it. Returns the offsets at which the name ends
/// and at which the value begins.
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

/// Checks the rest of a string, and returns the offset after its closing quote.
#[inline]
pub(crate) fn string(
    bytes: &[u8],
    at: usize,
    lone: &mut Option<usize>,
) -> Result<usize, JsonError> {
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
                    let Some((code, used)) = bytes.get(at..).and_then(unescape) else {
                        return fail(at + 2, "four hexadecimal digits");
                    };
                    if (0xd800..0xe000).contains(&code) && lone.is_none() {
                        *lone = Some(at);
                    }
                    at += used;
                }
                _ => return fail(at + 1, "an escape"),
            },
            Some(_) => return fail(at, "no control character in a string"),
            None => return fail(at, "the end of the string"),
        }
    }
}

/// Returns the four hexadecimal digits at `at` as a UTF-16 code unit, or `None` if there are no
/// such digits.
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
