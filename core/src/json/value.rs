//! A JSON value as a slice of checked text.

use super::scan::{plain_key, skip_space, skip_value, string_end};
use super::text::Text;

/// A JSON value where it stands: a slice without white space at its ends.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Value<'a> {
    raw: &'a [u8],
}

/// What a value is, by its first byte.
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

impl Kind {
    /// The name that JSON Schema has for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Array => "array",
            Self::Bool => "boolean",
            Self::Null => "null",
            Self::Number => "number",
            Self::Object => "object",
            Self::String => "string",
        }
    }
}

impl<'a> Value<'a> {
    /// `null`.
    pub const NULL: Value<'static> = Value { raw: b"null" };
    /// `[]`
    pub(crate) const EMPTY_ARRAY: Self = Self { raw: b"[]" };

    /// The value that begins `bytes`, behind white space if there is any; what follows it is left
    /// out.
    pub fn first(bytes: &'a [u8]) -> Option<Self> {
        let start = skip_space(bytes, 0);
        let end = skip_value(bytes, start)?;
        bytes.get(start..end).map(|raw| Self { raw })
    }

    /// The value that `bytes` are, all of them but for white space at their ends. They are not
    /// looked at: it is for bytes of which it is known already that they are one value. Nothing if
    /// there are none.
    pub(crate) fn whole(bytes: &'a [u8]) -> Option<Self> {
        let raw = bytes.trim_ascii();
        (!raw.is_empty()).then_some(Self { raw })
    }

    /// The bytes of the value.
    pub const fn raw(self) -> &'a [u8] {
        self.raw
    }

    /// The bytes of the value as text. Empty if they are no UTF-8, which checked bytes always are.
    pub fn as_json(self) -> &'a str {
        core::str::from_utf8(self.raw).unwrap_or_default()
    }

    /// What it is.
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

    /// Whether it is `null`.
    pub fn is_null(self) -> bool {
        self.kind() == Kind::Null
    }

    /// The string's content.
    pub fn as_text(self) -> Option<Text<'a>> {
        self.raw.strip_prefix(b"\"")?.strip_suffix(b"\"").map(Text::from_bytes)
    }

    /// The boolean.
    pub fn as_bool(self) -> Option<bool> {
        match self.raw {
            b"true" => Some(true),
            b"false" => Some(false),
            _ => None,
        }
    }

    /// The number, if it is written as a whole one and fits.
    pub fn as_u64(self) -> Option<u64> {
        let digit = |byte: &u8| byte.is_ascii_digit().then(|| u64::from(byte - b'0'));
        self.raw
            .iter()
            .try_fold(0_u64, |number, byte| number.checked_mul(10)?.checked_add(digit(byte)?))
            .filter(|_| !self.raw.is_empty())
    }

    /// The members, if it is an object; none otherwise.
    pub fn members(self) -> Object<'a> {
        Object { raw: if self.kind() == Kind::Object { self.raw } else { &[] }, at: 1 }
    }

    /// The elements, if it is an array; none otherwise.
    pub fn elements(self) -> Array<'a> {
        Array { raw: if self.kind() == Kind::Array { self.raw } else { &[] }, at: 1 }
    }

    /// The value of the member of this name. If several members have the name, the last one counts,
    /// as for most parsers (those of Python, JavaScript and Go, and `serde_json::Value`): what the
    /// server reads is what is read here.
    pub fn member(self, name: &str) -> Option<Self> {
        let [found] = self.pick([name]);
        found
    }

    /// The values of the members of these names, in one pass. Of several members of one name the
    /// last counts.
    pub(crate) fn pick<const N: usize>(self, names: [&str; N]) -> [Option<Self>; N] {
        self.members().pick(names)
    }

    /// Whether it has a member of this name: nothing behind the first is read.
    pub(crate) fn has_member(self, name: &str) -> bool {
        let mut members = self.members();
        while let Some((key, _)) = members.next_raw() {
            if means(key, name) {
                return true;
            }
        }
        false
    }

    /// Whether it is a string that means `text`.
    pub(crate) fn is_text(self, text: &str) -> bool {
        self.as_text().is_some_and(|inside| inside == *text)
    }

    /// Where this value begins in `whole`; nothing if it is no part of it.
    pub fn offset_in(self, whole: &[u8]) -> Option<usize> {
        (self.raw.as_ptr().addr())
            .checked_sub(whole.as_ptr().addr())
            .filter(|at| at + self.raw.len() <= whole.len())
    }
}

/// Whether the content of a string, as it stands, means `text`, in which nothing needs an escape.
pub(crate) fn means(raw: &[u8], text: &str) -> bool {
    let may_begin = |first: &u8| *first == b'\\' || Some(first) == text.as_bytes().first();
    // An escape is longer than what it means. Most names differ in their first letter, and need no
    // second look.
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

/// Iterator over an object's members, in their order.
#[derive(Clone, Debug)]
pub struct Object<'a> {
    raw: &'a [u8],
    at: usize,
}

impl<'a> Object<'a> {
    /// The members of the object that begins `raw`, whatever follows it; none if it is no object.
    pub(crate) fn of(raw: &'a [u8]) -> Self {
        let start = skip_space(raw, 0);
        if raw.get(start) == Some(&b'{') {
            Self { raw, at: start + 1 }
        } else {
            Self { raw: &[], at: 0 }
        }
    }

    /// The members that were given until now.
    pub(crate) fn given(&self) -> Self {
        Self::of(self.raw.get(..self.at).unwrap_or_default())
    }

    /// The members in `raw`, which stands without its braces.
    pub(crate) const fn inside(raw: &'a [u8]) -> Self {
        Self { raw, at: 0 }
    }
}

impl<'a> Object<'a> {
    /// The values of the members of these names among those that were not given yet, all of which
    /// are given then. Of several members of one name the last counts.
    pub(crate) fn pick<const N: usize>(&mut self, names: [&str; N]) -> [Option<Value<'a>>; N] {
        let mut found = [None; N];
        self.pick_into(&names, &mut found);
        found
    }

    fn pick_into(&mut self, names: &[&str], found: &mut [Option<Value<'a>>]) {
        while let Some((key, value)) = self.next_raw() {
            if let Some((_, place)) =
                names.iter().zip(found.iter_mut()).find(|(name, _)| means(key, name))
            {
                *place = Some(value);
            }
        }
    }

    /// The next member, its name as it stands: still escaped, without its quotes.
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

    /// The next member's name, and where its value begins.
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

    /// When there is no member left: where the object ends.
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

/// Iterator over an array's elements.
#[derive(Clone, Debug)]
pub struct Array<'a> {
    raw: &'a [u8],
    at: usize,
}

impl<'a> Array<'a> {
    /// The elements of the array that begins `raw`, whatever follows it.
    pub(crate) const fn inside(raw: &'a [u8]) -> Self {
        Self { raw, at: 1 }
    }
}

impl<'a> Iterator for Array<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut at = skip_space(self.raw, self.at);
        if self.raw.get(at) == Some(&b',') {
            at = skip_space(self.raw, at + 1);
        }
        if matches!(self.raw.get(at), None | Some(b']')) {
            return None;
        }
        self.at = skip_value(self.raw, at)?;
        let raw = self.raw.get(at..self.at)?;
        Some(Value { raw })
    }
}
