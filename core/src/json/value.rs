//! JSON values, as slices of checked text.

use super::JsonError;
use super::scan::{IS_CHIP, plain_key, skip_space, skip_value, string_end};
use super::text::Text;
use crate::error::{line, lines};

/// A JSON value in its text: a slice without white space at its ends.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Value<'a> {
    raw: &'a [u8],
}

/// The kind of a JSON value, which its first byte determines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Kind {
    /// `[…]`
    Array,
    /// `true` or `false`
    Bool,
    /// `null`
    Null,
    /// A number of any size.
    Number,
    /// `{…}`
    Object,
    /// `"…"`
    String,
}

/// The names of the types in JSON Schema.
pub(crate) const TYPE_NAMES: &str = lines! {
    "boolean"
    "integer"
    "number"
    "string"
    "array"
    "object"
    "null"
};

impl Kind {
    /// Returns the name of the kind in JSON Schema.
    pub const fn name(self) -> &'static str {
        let i = match self {
            Self::Array => 4,
            Self::Bool => 0,
            Self::Null => 6,
            Self::Number => 2,
            Self::Object => 5,
            Self::String => 3,
        };
        line(TYPE_NAMES, i)
    }
}

impl<'a> Value<'a> {
    /// The value `null`.
    pub const NULL: Value<'static> = Value { raw: b"null" };
    /// The value `[]`.
    pub(crate) const EMPTY_ARRAY: Self = Self { raw: b"[]" };

    /// Checks that `bytes` are one JSON value (RFC 8259), nested at most 122 levels, and returns
    /// it.
    ///
    /// # Errors
    /// Returns the place of the first mistake, and what was expected there.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, JsonError> {
        super::check(bytes)?;
        Ok(Self::first(bytes).unwrap_or_default())
    }

    /// Returns the value at the start of `bytes`, after optional white space. Ignores the bytes
    /// that follow the value. Returns `None` if there is no value.
    pub fn first(bytes: &'a [u8]) -> Option<Self> {
        let start = skip_space(bytes, 0);
        let end = skip_value(bytes, start)?;
        bytes.get(start..end).map(|raw| Self { raw })
    }

    /// Returns the value whose JSON text this is, without a check.
    pub(crate) const fn from_raw(raw: &'a [u8]) -> Self {
        Self { raw }
    }

    /// Creates a value from all of `bytes`, without the white space at their ends. The bytes are
    /// not examined, so the caller must know that they are exactly one value. Returns `None` if
    /// there are no bytes.
    pub(crate) fn whole(bytes: &'a [u8]) -> Option<Self> {
        let raw = bytes.trim_ascii();
        (!raw.is_empty()).then_some(Self { raw })
    }

    /// Returns the bytes of the value.
    pub const fn raw(self) -> &'a [u8] {
        self.raw
    }

    /// Returns the bytes of the value as a `str`. Returns an empty `str` if they are not valid
    /// UTF-8, which checked bytes always are.
    pub fn as_json(self) -> &'a str {
        core::str::from_utf8(self.raw).unwrap_or_default()
    }

    /// Returns the kind of the value.
    pub fn kind(self) -> Kind {
        match self.raw.first() {
            Some(b'{') => Kind::Object,
            Some(b'[') => Kind::Array,
            Some(b'"') => Kind::String,
            Some(b't' | b'f') => Kind::Bool,
            Some(b'n') => Kind::Null,
            _ => Kind::Number,
        }
    }

    /// Returns whether the value is `null`.
    pub fn is_null(self) -> bool {
        self.kind() == Kind::Null
    }

    /// Returns the content of a string, or `None` if the value is not a string.
    pub fn as_text(self) -> Option<Text<'a>> {
        self.raw.strip_prefix(b"\"")?.strip_suffix(b"\"").map(Text::from_bytes)
    }

    /// Returns the boolean, or `None` if the value is not a boolean.
    pub fn as_bool(self) -> Option<bool> {
        (self.kind() == Kind::Bool).then(|| self.raw.first() == Some(&b't'))
    }

    /// Returns the number if it is written as a non-negative integer and fits in a `u64`, and
    /// `None` otherwise.
    pub fn as_u64(self) -> Option<u64> {
        let digit = |byte: &u8| byte.is_ascii_digit().then(|| u64::from(byte - b'0'));
        self.raw
            .iter()
            .try_fold(0_u64, |number, byte| number.checked_mul(10)?.checked_add(digit(byte)?))
            .filter(|_| !self.raw.is_empty())
    }

    /// Returns an iterator over the members of an object. If the value is not an object, the
    /// iterator is empty.
    pub fn members(self) -> Object<'a> {
        Object { raw: if self.kind() == Kind::Object { self.raw } else { &[] }, at: 1 }
    }

    /// Returns an iterator over the elements of an array. If the value is not an array, the
    /// iterator is empty.
    pub fn elements(self) -> Array<'a> {
        Array { raw: if self.kind() == Kind::Array { self.raw } else { &[] }, at: 1 }
    }

    /// Returns the value of the member `name`, or `None` if there is none. If several members have
    /// this name, returns the last one, like most parsers (those of Python, JavaScript and Go, and
    /// `serde_json::Value`). The server therefore reads the same value.
    pub fn member(self, name: &str) -> Option<Self> {
        let [found] = self.pick([name]);
        found
    }

    /// Returns the values of the members with these names, in one pass. If several members have the
    /// same name, returns the last one.
    pub(crate) fn pick<const N: usize>(self, names: [&str; N]) -> [Option<Self>; N] {
        self.members().pick(names)
    }

    /// Returns whether there is a member `name`. Does not read past the first one.
    pub(crate) fn has_member(self, name: &str) -> bool {
        let mut members = self.members();
        while let Some((key, _)) = members.next_raw() {
            if means(key, name) {
                return true;
            }
        }
        false
    }

    /// Returns whether the value is a string whose unescaped form is `text`.
    pub(crate) fn is_text(self, text: &str) -> bool {
        self.as_text().is_some_and(|inside| inside == *text)
    }

    /// Returns the offset of this value in `whole`, or `None` if it is not a part of `whole`.
    pub fn offset_in(self, whole: &[u8]) -> Option<usize> {
        (self.raw.as_ptr().addr())
            .checked_sub(whole.as_ptr().addr())
            .filter(|at| at + self.raw.len() <= whole.len())
    }
}

/// Returns the index of the name that the unescaped form of `raw`, the content of a string, equals.
#[cfg_attr(not(target_os = "none"), inline)]
pub(crate) fn meant(raw: &[u8], names: &[&str]) -> Option<usize> {
    let plain = names.iter().position(|name| name.as_bytes() == raw);
    if plain.is_some() || !raw.contains(&b'\\') {
        return plain;
    }
    names.iter().position(|name| Text::from_bytes(raw) == **name)
}

/// Returns whether the unescaped form of `raw`, the content of a string, equals `text`. `text` must
/// not contain characters that need an escape.
pub(crate) fn means(raw: &[u8], text: &str) -> bool {
    if IS_CHIP {
        // The rest only saves time.
        return meant(raw, &[text]).is_some();
    }
    let may_begin = |first: &u8| *first == b'\\' || Some(first) == text.as_bytes().first();
    // An escape is longer than the character that it represents. Most names differ in their first
    // letter, so the other comparisons are rarely needed.
    raw == text.as_bytes()
        || (raw.len() > text.len()
            && raw.first().is_some_and(may_begin)
            && raw.contains(&b'\\')
            && Text::from_bytes(raw) == *text)
}

impl core::fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.as_json())
    }
}

impl core::fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.as_json())
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for Value<'_> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "{=str}", self.as_json());
    }
}

/// An iterator over the members of an object, in order.
#[derive(Clone, Debug)]
pub struct Object<'a> {
    raw: &'a [u8],
    at: usize,
}

impl<'a> Object<'a> {
    /// Creates an iterator over the members of the object at the start of `raw`. Ignores the bytes
    /// after the object. If there is no object, the iterator is empty.
    pub(crate) fn of(raw: &'a [u8]) -> Self {
        let start = skip_space(raw, 0);
        if raw.get(start) == Some(&b'{') {
            Self { raw, at: start + 1 }
        } else {
            Self { raw: &[], at: 0 }
        }
    }

    /// Returns an iterator over the members that this iterator has already returned.
    pub(crate) fn given(&self) -> Self {
        Self::of(self.raw.get(..self.at).unwrap_or_default())
    }

    /// Creates an iterator over the members in `raw`, the inside of an object without its braces.
    pub(crate) const fn inside(raw: &'a [u8]) -> Self {
        Self { raw, at: 0 }
    }
}

impl<'a> Object<'a> {
    /// Returns the values of the members with these names among the members that the iterator has
    /// not returned yet, and advances the iterator to the end. If several members have the same
    /// name, returns the last one.
    pub(crate) fn pick<const N: usize>(&mut self, names: [&str; N]) -> [Option<Value<'a>>; N] {
        let mut found = [None; N];
        self.pick_into(&names, &mut found);
        found
    }

    fn pick_into(&mut self, names: &[&str], found: &mut [Option<Value<'a>>]) {
        while let Some((key, value)) = self.next_raw() {
            if let Some(place) = meant(key, names).and_then(|i| found.get_mut(i)) {
                *place = Some(value);
            }
        }
    }

    /// Returns the next member. Its name is as it is stored: still escaped, without its quotes.
    pub(crate) fn next_raw(&mut self) -> Option<(&'a [u8], Value<'a>)> {
        let quote = self.at + usize::from(self.raw.get(self.at) == Some(&b','));
        let (key, start) = match plain_key(self.raw, quote) {
            Some(found) => found,
            None => self.any_key()?,
        };
        self.at = skip_value(self.raw, start)?;
        let raw = self.raw.get(start..self.at)?;
        Some((key, Value { raw }))
    }

    /// Returns the name of the next member, and the offset at which its value begins.
    #[cfg_attr(target_pointer_width = "64", inline(never))]
    fn any_key(&self) -> Option<(&'a [u8], usize)> {
        let mut at = skip_space(self.raw, self.at);
        if self.raw.get(at) == Some(&b',') {
            at = skip_space(self.raw, at + 1);
        }
        if self.raw.get(at) != Some(&b'"') {
            return None;
        }
        let key_end = string_end(self.raw, at + 1)?;
        let key = self.raw.get(at + 1..key_end)?;
        let colon = skip_space(self.raw, key_end + 1);
        if self.raw.get(colon) != Some(&b':') {
            return None;
        }
        Some((key, skip_space(self.raw, colon + 1)))
    }

    /// Returns the offset at which the object ends. Call it only when the iterator has no members
    /// left.
    pub(crate) fn end(&self) -> usize {
        skip_space(self.raw, self.at) + 1
    }
}

impl<'a> Iterator for Object<'a> {
    type Item = (Text<'a>, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let (key, value) = self.next_raw()?;
        Some((Text::from_bytes(key), value))
    }
}

/// An iterator over the elements of an array, in order.
#[derive(Clone, Debug)]
pub struct Array<'a> {
    raw: &'a [u8],
    at: usize,
}

impl<'a> Array<'a> {
    /// Creates an iterator over the elements of the array at the start of `raw`. Ignores the bytes
    /// after the array.
    pub(crate) const fn inside(raw: &'a [u8]) -> Self {
        Self { raw, at: 1 }
    }

    /// Returns where the next element begins.
    fn next_start(&self) -> Option<usize> {
        let mut at = skip_space(self.raw, self.at);
        if self.raw.get(at) == Some(&b',') {
            at = skip_space(self.raw, at + 1);
        }
        (!matches!(self.raw.get(at), None | Some(b']'))).then_some(at)
    }

    /// Returns the values of the members with these names in the next element, in one pass over it.
    /// An element that is not an object has no members. The array must be complete.
    pub(crate) fn next_picked<const N: usize>(
        &mut self,
        names: [&str; N],
    ) -> Option<[Option<Value<'a>>; N]> {
        if IS_CHIP {
            // One pass takes more code.
            return self.next().map(|element| element.pick(names));
        }
        let at = self.next_start()?;
        let rest = self.raw.get(at..)?;
        if !rest.starts_with(b"{") {
            self.at = skip_value(self.raw, at)?;
            return Some([None; N]);
        }
        let mut members = Object::of(rest);
        let found = members.pick(names);
        self.at = at + members.end();
        Some(found)
    }
}

impl<'a> Iterator for Array<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let at = self.next_start()?;
        self.at = skip_value(self.raw, at)?;
        let raw = self.raw.get(at..self.at)?;
        Some(Value { raw })
    }
}
