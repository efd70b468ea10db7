//! The JSON grammar: a checker that reads every byte in one pass, without recursion.

use core::fmt;

use crate::error::{Misuse, Phrase, phrase};

use super::bits::Bits;
use super::scan::{IS_CHIP, IS_LARGE, plain_key, plain_run, short_string_end, skip_space};
use super::text::unescape;

/// The deepest nesting of objects and arrays that [`check`] accepts.
///
/// A request encloses an input or a result in five more levels (body, messages, message, content,
/// block). Many parsers, including serde_json, accept 127 levels by default. This limit ensures
/// that a request never has more.
pub(crate) const MAX_DEPTH: usize = 122;
const TOO_DEEP: Phrase = phrase!("at most 122 levels");

/// The properties of a valid JSON text that [`check`] finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JsonCheck {
    /// The offset at which the value ends. Only white space follows it.
    pub end: usize,
    /// The offset of the first unpaired surrogate, an escape from `\uD800` to `\uDFFF` that is not
    /// part of a pair. It is valid JSON, but not valid text, and the API refuses it.
    pub lone_surrogate: Option<usize>,
}

/// The position of an error in a JSON text, and what was expected there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct JsonError {
    /// The offset of the error in bytes. If the text ends too early, this is its length.
    pub at: usize,
    /// What was expected at the offset. `expected.as_str()` returns the text.
    pub expected: Phrase,
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
        Misuse::Json(if self.expected == TOO_DEEP { "at most 122 levels" } else { what })
    }
}

/// The deepest nesting of a message that contains an input or a result. Inputs and results are
/// checked on their own, so without this larger limit, data that was accepted once could be refused
/// when it is read again as part of a message.
pub(crate) const MESSAGE_DEPTH: usize = MAX_DEPTH + 3;
/// The deepest nesting of a snapshot, which contains messages of depth [`MESSAGE_DEPTH`].
pub(crate) const SNAPSHOT_DEPTH: usize = MESSAGE_DEPTH + 2;

/// Checks that `bytes` is one JSON value (RFC 8259), surrounded by nothing but white space. Checks
/// the grammar, UTF-8, and that the nesting is at most 122 levels. Numbers may have any size.
///
/// # Errors
/// Returns the offset of the first error and what was expected there.
pub fn check(bytes: &[u8]) -> Result<JsonCheck, JsonError> {
    check_to(MAX_DEPTH, bytes)
}

/// Checks like [`check`], but with a maximum nesting of `most`, which must be at most 160 levels.
pub(crate) fn check_to(most: usize, bytes: &[u8]) -> Result<JsonCheck, JsonError> {
    let mut walk = Walk::new(bytes);
    walk.most = most;
    let walked = walk.value();
    walk.end(walked)
}

/// Checks that `bytes` is the inside of an object, without the braces.
pub(crate) fn check_members(bytes: &[u8]) -> Result<JsonCheck, JsonError> {
    let mut walk = Walk { is_first: true, ..Walk::new(bytes) };
    let walked = walk.members();
    walk.end(walked)
}

/// Returns the length of the content of the string whose content begins at the start of `text`, or
/// `None` if it is not valid or contains a half of a surrogate pair. Does not check its UTF-8.
pub(crate) fn check_string(text: &[u8]) -> Option<usize> {
    let mut walk = Walk { at: 0, ..Walk::new(text) };
    walk.rest_of_string().ok()?;
    walk.lone_surrogate.is_none().then_some(walk.at.saturating_sub(1))
}

/// A checker that works like [`check`], but step by step, so that the caller can find values in the
/// same pass. The caller must continue until the first error or the end of the value, and then call
/// [`end`](Self::end), or the rest of the text is not checked.
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

/// The result of a step. In case of an error, the walk is at the place where this was expected.
pub(crate) type Step<T = ()> = Result<T, Phrase>;

impl<'a> Walk<'a> {
    /// Creates a checker at the outermost value of `bytes`.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            at: skip_space(bytes, 0),
            most: MAX_DEPTH,
            depth: 0,
            is_first: false,
            lone_surrogate: None,
        }
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
        self.is_first = self.skip(bracket);
        self.depth += usize::from(self.is_first);
        self.is_first
    }

    /// Returns the name of the next member, still escaped, and advances to its value. At the end of
    /// the object, leaves the object and returns `None`. Not inlined on a chip, because it contains
    /// [`plain_key`](Self::plain_key).
    #[cfg_attr(target_os = "none", inline(never))]
    #[cfg_attr(not(target_os = "none"), inline)]
    pub(crate) fn key(&mut self) -> Step<Option<&'a [u8]>> {
        match self.plain_key() {
            Some(key) => Ok(Some(key)),
            None => self.any_key(),
        }
    }

    /// Advances to the next element and returns `true`. At the end of the array, leaves the array
    /// and returns `false`.
    pub(crate) fn element(&mut self) -> Step<bool> {
        self.next(b']')
    }

    /// Checks the whole value at the current offset.
    pub(crate) fn value(&mut self) -> Step {
        // Most values are not nested, and most need no more than one function.
        match self.bytes.get(self.at) {
            Some(b'"') if !IS_CHIP => self.string(),
            Some(b'-' | b'0'..=b'9') if !IS_CHIP => self.number(),
            _ => self.any_value(),
        }
    }

    /// Returns the bytes from `start`, an earlier offset, to the current one.
    pub(crate) fn since(&self, start: usize) -> &'a [u8] {
        self.bytes.get(start..self.at).unwrap_or_default()
    }

    /// Ends the check, with the result of the last step. Checks that only white space follows the
    /// outermost value, and that the whole text is valid UTF-8. If it is not, that is the error.
    pub(crate) fn end(&mut self, walked: Step) -> Result<JsonCheck, JsonError> {
        // Most texts are ASCII, and the check for ASCII takes larger steps than the check for
        // UTF-8.
        if (!IS_LARGE || !self.bytes.is_ascii())
            && let Err(e) = core::str::from_utf8(self.bytes)
        {
            return Err(JsonError { at: e.valid_up_to(), expected: phrase!("valid UTF-8") });
        }
        let walked = walked.and_then(|()| {
            self.at = skip_space(self.bytes, self.at);
            if self.at < self.bytes.len() { Err(phrase!("the end")) } else { Ok(()) }
        });
        match walked {
            Ok(()) => Ok(JsonCheck { end: self.at, lone_surrogate: self.lone_surrogate }),
            Err(expected) => Err(JsonError { at: self.at, expected }),
        }
    }

    /// Checks all members of an object without braces.
    fn members(&mut self) -> Step {
        while skip_space(self.bytes, self.at) < self.bytes.len() {
            if self.key()?.is_none() {
                return Err(phrase!("members without braces"));
            }
            self.value()?;
        }
        Ok(())
    }

    /// Reads a name of any form for [`key`](Self::key).
    #[cfg_attr(target_pointer_width = "64", inline(never))]
    fn any_key(&mut self) -> Step<Option<&'a [u8]>> {
        if !self.next(b'}')? {
            return Ok(None);
        }
        let start = self.at + 1;
        if self.bytes.get(self.at) != Some(&b'"') {
            return Err(phrase!("a member name"));
        }
        self.string()?;
        let key = self.bytes.get(start..self.at.saturating_sub(1));
        self.at = skip_space(self.bytes, self.at);
        if !self.skip(b':') {
            return Err(phrase!("':'"));
        }
        self.at = skip_space(self.bytes, self.at);
        Ok(key)
    }

    /// Reads a name without white space or escapes for [`key`](Self::key). For other names, returns
    /// `None` and does not advance. Always inlined, because most names take this path.
    #[inline(always)]
    fn plain_key(&mut self) -> Option<&'a [u8]> {
        let comma = !self.is_first;
        if comma && self.bytes.get(self.at) != Some(&b',') {
            return None;
        }
        let (key, value) = plain_key(self.bytes, self.at + usize::from(comma))?;
        (self.at, self.is_first) = (value, false);
        Some(key)
    }

    /// Advances to the next item and returns `true`. At the `closing` bracket, leaves the object or
    /// array and returns `false`.
    #[inline]
    fn next(&mut self, closing: u8) -> Step<bool> {
        self.at = skip_space(self.bytes, self.at);
        let is_first = core::mem::take(&mut self.is_first);
        if self.skip(closing) {
            self.depth = self.depth.saturating_sub(1);
            return Ok(false);
        }
        if !is_first {
            if !self.skip(b',') {
                return Err(match closing {
                    b'}' => phrase!("',' or '}'"),
                    _ => phrase!("',' or ']'"),
                });
            }
            self.at = skip_space(self.bytes, self.at);
        }
        Ok(true)
    }

    /// Advances over `byte` if it is at the current offset, and returns whether it was.
    #[inline]
    fn skip(&mut self, byte: u8) -> bool {
        let found = self.bytes.get(self.at) == Some(&byte);
        self.at += usize::from(found);
        found
    }

    /// Checks the value at the current offset.
    fn any_value(&mut self) -> Step {
        let outside = self.depth;
        // The enclosing levels, with one bit each: whether the level is an object.
        let mut objects = Bits::<5>::NONE;
        loop {
            match self.bytes.get(self.at) {
                Some(&bracket @ (b'{' | b'[')) => {
                    if self.depth >= self.most {
                        return Err(TOO_DEEP);
                    }
                    objects.set(self.depth, bracket == b'{');
                    self.enter_by(bracket);
                }
                Some(b'"') => self.string()?,
                Some(b'-' | b'0'..=b'9') => self.number()?,
                Some(b't') => self.literal(b"true")?,
                Some(b'f') => self.literal(b"false")?,
                Some(b'n') => self.literal(b"null")?,
                _ => return Err(phrase!("a value")),
            }
            // A value has ended, or a container has been entered.
            loop {
                if self.depth <= outside {
                    return Ok(());
                }
                let has_next = if objects.has(self.depth - 1) {
                    self.plain_key().is_some() || self.any_key()?.is_some()
                } else {
                    self.next(b']')?
                };
                if has_next {
                    break;
                }
            }
        }
    }

    /// Checks the string at the current offset.
    #[inline]
    fn string(&mut self) -> Step {
        match short_string_end(self.bytes, self.at + 1) {
            Some(end) => {
                self.at = end + 1;
                Ok(())
            }
            None => self.any_string(),
        }
    }

    fn any_string(&mut self) -> Step {
        self.at += 1;
        self.rest_of_string()
    }

    fn rest_of_string(&mut self) -> Step {
        let (bytes, mut at) = (self.bytes, self.at);
        let checked = loop {
            at = plain_run(bytes, at);
            match bytes.get(at) {
                Some(b'"') => {
                    at += 1;
                    break Ok(());
                }
                Some(b'\\') => {
                    let escape = bytes.get(at + 1);
                    // This only saves time: `unescape` knows these, too.
                    if !IS_CHIP && matches!(escape, Some(b'"' | b'\\' | b'n' | b't')) {
                        at += 2;
                        continue;
                    }
                    match unescape(bytes.get(at..).unwrap_or_default()) {
                        (_, 0) if escape == Some(&b'u') => {
                            at += 2;
                            break Err(phrase!("four hexadecimal digits"));
                        }
                        (_, 0) => {
                            at += 1;
                            break Err(phrase!("an escape"));
                        }
                        (code, used) => {
                            if (0xd800..0xe000).contains(&code) && self.lone_surrogate.is_none() {
                                self.lone_surrogate = Some(at);
                            }
                            at += used;
                        }
                    }
                }
                Some(_) => break Err(phrase!("no control character in a string")),
                None => break Err(phrase!("the end of the string")),
            }
        };
        self.at = at;
        checked
    }

    #[inline]
    fn number(&mut self) -> Step {
        self.skip(b'-');
        if !self.skip(b'0') {
            self.digits()?;
        }
        if self.skip(b'.') {
            self.digits()?;
        }
        if self.skip(b'e') || self.skip(b'E') {
            if !self.skip(b'+') {
                self.skip(b'-');
            }
            self.digits()?;
        }
        Ok(())
    }

    #[inline]
    fn digits(&mut self) -> Step {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.bytes.get(self.at) {
            self.at += 1;
        }
        if self.at > start { Ok(()) } else { Err(phrase!("a digit")) }
    }

    #[inline]
    fn literal(&mut self, word: &[u8]) -> Step {
        match self.bytes.get(self.at..) {
            Some(rest) if rest.starts_with(word) => {
                self.at += word.len();
                Ok(())
            }
            _ => Err(phrase!("a value")),
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
