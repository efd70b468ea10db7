//! JSON strings, unescaped only when they are read.

use core::fmt;

use super::check::hex4;
use super::scan::{IS_CHIP, copy, plain_run};
use crate::error::{Capacity, CapacityKind};

/// The content of a JSON string, still escaped, without its quotes.
///
/// `Display`, and therefore `to_string()`, writes the unescaped text. An unpaired surrogate reads
/// as U+FFFD.
#[derive(Clone, Copy, Default)]
pub struct Text<'a> {
    /// Valid UTF-8, like all checked text. It is validated again only when it is read as a `str`.
    raw: &'a [u8],
}

/// A part of the unescaped form of a [`Text`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Characters that are not escaped.
    Plain(&'a str),
    /// One character that is written as an escape.
    Char(char),
}

impl<'a> Text<'a> {
    /// Creates a text from its escaped form.
    pub const fn from_raw(raw: &'a str) -> Self {
        Self { raw: raw.as_bytes() }
    }

    /// Creates a text from the bytes of its escaped form, which must have been checked. Bytes that
    /// are not valid UTF-8 read as an empty text.
    pub(crate) const fn from_bytes(raw: &'a [u8]) -> Self {
        Self { raw }
    }

    /// Returns the escaped form, as it is written in the JSON.
    pub const fn raw(self) -> &'a str {
        match core::str::from_utf8(self.raw) {
            Ok(raw) => raw,
            Err(_) => "",
        }
    }

    /// Returns the bytes of the escaped form.
    pub(crate) const fn raw_bytes(self) -> &'a [u8] {
        self.raw
    }

    /// Returns the text if it contains no escapes, and `None` otherwise.
    pub fn as_plain(self) -> Option<&'a str> {
        self.is_plain().then(|| self.raw())
    }

    /// Returns the unescaped text, borrowed if it contains no escapes. It matches like a string:
    /// `match &*name.to_str() { "search" => …, _ => … }`.
    #[cfg(feature = "alloc")]
    pub fn to_str(self) -> alloc::borrow::Cow<'a, str> {
        self.into()
    }

    fn is_plain(self) -> bool {
        !self.raw.contains(&b'\\')
    }

    /// Returns whether the text is empty.
    pub const fn is_empty(self) -> bool {
        self.raw.is_empty()
    }

    /// Returns an iterator over the pieces of the unescaped text.
    pub const fn pieces(self) -> Pieces<'a> {
        Pieces { raw: self.raw() }
    }

    /// Returns the length of the unescaped text in bytes of UTF-8. It is never greater than the
    /// length of [`raw`](Self::raw).
    pub fn len(self) -> usize {
        self.pieces()
            .map(|piece| match piece {
                Piece::Plain(text) => text.len(),
                Piece::Char(c) => c.len_utf8(),
            })
            .sum()
    }

    /// Returns the unescaped text. Unescapes it into `buffer` if it contains escapes.
    ///
    /// # Errors
    /// Returns `Capacity` with [`CapacityKind::Input`] if the buffer is too short.
    pub fn decode<'b>(self, buffer: &'b mut [u8]) -> Result<&'b str, Capacity>
    where
        'a: 'b,
    {
        if let Some(plain) = self.as_plain() {
            return Ok(plain);
        }
        let free = buffer.len();
        let full = |text: Self| Capacity { what: CapacityKind::Input, needed: text.len(), free };
        let mut used = 0_usize;
        let mut utf8 = [0; 4];
        for piece in self.pieces() {
            let bytes = match piece {
                Piece::Plain(text) => text.as_bytes(),
                Piece::Char(c) => c.encode_utf8(&mut utf8).as_bytes(),
            };
            let room = buffer.get_mut(used..).and_then(|rest| rest.get_mut(..bytes.len()));
            copy(room.ok_or_else(|| full(self))?, bytes);
            used += bytes.len();
        }
        // The bytes are always whole characters. The error only satisfies the return type.
        buffer
            .get(..used)
            .and_then(|bytes| core::str::from_utf8(bytes).ok())
            .ok_or_else(|| full(self))
    }
}

#[cfg(feature = "alloc")]
impl<'a> From<Text<'a>> for alloc::borrow::Cow<'a, str> {
    fn from(text: Text<'a>) -> Self {
        use alloc::string::ToString;
        text.as_plain().map_or_else(|| Self::Owned(text.to_string()), Self::Borrowed)
    }
}

#[cfg(feature = "alloc")]
impl From<Text<'_>> for alloc::string::String {
    fn from(text: Text<'_>) -> Self {
        alloc::borrow::Cow::from(text).into_owned()
    }
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        for piece in self.pieces() {
            match piece {
                Piece::Plain(text) => f.write_str(text)?,
                Piece::Char(c) => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.raw())
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for Text<'_> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "\"{=str}\"", self.raw());
    }
}

impl PartialEq<str> for Text<'_> {
    fn eq(&self, other: &str) -> bool {
        // An escape is longer than the character that it represents.
        if self.raw.len() <= other.len() {
            return self.raw == other.as_bytes() && self.is_plain();
        }
        // Most texts differ in their first letter. This only saves time.
        if !IS_CHIP
            && self.raw.first() != Some(&b'\\')
            && self.raw.first() != other.as_bytes().first()
        {
            return false;
        }
        !self.is_plain() && chars(*self).eq(other.chars())
    }
}

impl PartialEq<&str> for Text<'_> {
    fn eq(&self, other: &&str) -> bool {
        *self == **other
    }
}

#[cfg(feature = "alloc")]
impl PartialEq<alloc::string::String> for Text<'_> {
    fn eq(&self, other: &alloc::string::String) -> bool {
        *self == **other
    }
}

impl PartialEq<Text<'_>> for str {
    fn eq(&self, other: &Text<'_>) -> bool {
        *other == *self
    }
}

impl PartialEq<Text<'_>> for &str {
    fn eq(&self, other: &Text<'_>) -> bool {
        *other == **self
    }
}

/// Compares the unescaped texts.
impl PartialEq<Text<'_>> for Text<'_> {
    fn eq(&self, other: &Text<'_>) -> bool {
        same(*self, *other)
    }
}

impl Eq for Text<'_> {}

/// An iterator over the [`Piece`]s of a text.
#[derive(Clone, Debug)]
pub struct Pieces<'a> {
    raw: &'a str,
}

impl Pieces<'_> {
    /// Returns the number of bytes of the escaped form that the iterator has not returned yet.
    pub(crate) const fn left(&self) -> usize {
        self.raw.len()
    }
}

impl<'a> Iterator for Pieces<'a> {
    type Item = Piece<'a>;

    fn next(&mut self) -> Option<Piece<'a>> {
        let bytes = self.raw.as_bytes();
        let mut run = plain_run(bytes, 0);
        // Checked text contains no quotes or control characters here. In other text they represent
        // themselves.
        while run < bytes.len() && bytes.get(run) != Some(&b'\\') {
            run = plain_run(bytes, run + 1);
        }
        if run > 0 {
            let (plain, rest) = self.raw.split_at_checked(run)?;
            self.raw = rest;
            return Some(Piece::Plain(plain));
        }
        let (char, used) = escaped_char(bytes)?;
        self.raw = self.raw.get(used..)?;
        Some(Piece::Char(char))
    }
}

/// Reads the escape at the start of `bytes`. Returns the character, or the half of a surrogate pair
/// that has no other half, and the length of the escape. Returns the length 0 if there is no valid
/// escape.
pub(crate) fn unescape(bytes: &[u8]) -> (u32, usize) {
    let [b'\\', escape, rest @ ..] = bytes else { return (0, 0) };
    let char = match escape {
        b'b' => 8,
        b'f' => 12,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'"' | b'\\' | b'/' => *escape,
        b'u' => {
            return match (hex4(rest, 0), rest.get(4..6)) {
                (Some(high @ 0xd800..0xdc00), Some(b"\\u")) => match hex4(rest, 6) {
                    Some(low @ 0xdc00..0xe000) => (join(high, low), 12),
                    _ => (high, 6),
                },
                (Some(unit), _) => (unit, 6),
                (None, _) => (0, 0),
            };
        }
        _ => return (0, 0),
    };
    (u32::from(char), 2)
}

/// Returns the character of a surrogate pair.
pub(crate) const fn join(high: u32, low: u32) -> u32 {
    0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00)
}

/// Reads an escape like [`unescape`]. An unpaired half of a surrogate pair reads as U+FFFD.
fn escaped_char(bytes: &[u8]) -> Option<(char, usize)> {
    let (code, used) = unescape(bytes);
    (used > 0).then_some((char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), used))
}

/// A function that receives a text part by part. All callers use this one type, so that a
/// microcontroller needs only one copy of the code that writes texts. It returns nothing: a
/// function that can fail remembers that, so that the code before each part need not look.
pub(crate) type PartFn<'e> = dyn FnMut(&str) + 'e;

/// Calls `each` with the parts of the unescaped text, in order.
pub(crate) fn text_parts(text: Text<'_>, each: &mut PartFn<'_>) {
    for piece in text.pieces() {
        match piece {
            Piece::Plain(plain) => each(plain),
            Piece::Char(c) => each(c.encode_utf8(&mut [0; 4])),
        }
    }
}

/// Writes a text to a formatter. `parts` passes its parts to the function that it receives.
pub(crate) fn write_parts(
    f: &mut fmt::Formatter<'_>,
    parts: impl FnOnce(&mut PartFn<'_>),
) -> fmt::Result {
    let mut written = Ok(());
    parts(&mut |part| {
        if written.is_ok() {
            written = f.write_str(part);
        }
    });
    written
}

/// Calls `each` with the decimal digits of a number.
pub(crate) fn number_parts(number: u64, each: &mut PartFn<'_>) {
    each(core::str::from_utf8(super::Decimal::new(number).as_bytes()).unwrap_or_default());
}

/// Calls `each` with the decimal digits of a count.
pub(crate) fn count_parts(count: usize, each: &mut PartFn<'_>) {
    number_parts(u64::try_from(count).unwrap_or(u64::MAX), each);
}

/// Returns whether the unescaped forms of two texts are equal.
pub(crate) fn same(a: Text<'_>, b: Text<'_>) -> bool {
    // Only texts with escapes can be written in more than one way.
    a.raw == b.raw || (!(a.is_plain() && b.is_plain()) && chars(a).eq(chars(b)))
}

/// Returns an iterator over the characters of the unescaped text.
pub(crate) const fn chars(text: Text<'_>) -> Chars<'_> {
    Chars { raw: text.raw() }
}

/// An iterator over the characters of a text.
pub(crate) struct Chars<'a> {
    raw: &'a str,
}

impl Iterator for Chars<'_> {
    type Item = char;

    fn next(&mut self) -> Option<char> {
        let mut rest = self.raw.chars();
        let plain = rest.next()?;
        if plain != '\\' {
            self.raw = rest.as_str();
            return Some(plain);
        }
        let (char, used) = escaped_char(self.raw.as_bytes())?;
        self.raw = self.raw.get(used..)?;
        Some(char)
    }
}
