//! The fixed texts of errors, each with a code that errors carry instead of the text.

use core::fmt;
use core::num::NonZeroU8;

/// A fixed text in an error, such as what was expected. [`as_str`](Self::as_str) returns the text,
/// `Display` writes it, and `==` compares it with a `str`.
///
/// It is one byte, and the texts are linked only into programs that print one.
#[doc(hidden)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Phrase(NonZeroU8);

/// Returns the [`Phrase`] of a text as a constant. Does not compile if no list contains the text.
macro_rules! phrase {
    ($text:expr) => {
        const { $crate::error::Phrase::of($text) }
    };
}
pub(crate) use phrase;

/// Joins texts, each with a line feed at its end.
macro_rules! lines {
    ($($text:literal)*) => { concat!($($text, "\n"),*) };
}
pub(crate) use lines;

/// What the JSON checker expects. Apart from the other texts, because a model may receive them too.
const OF_JSON: &str = lines! {
    "valid UTF-8"
    "',' or '}'"
    "',' or ']'"
    "the end"
    "at most 122 levels"
    "a value"
    "a member name"
    "':'"
    "members without braces"
    "four hexadecimal digits"
    "an escape"
    "no control character in a string"
    "the end of the string"
    "a digit"
};

/// The other texts.
const OTHERS: &str = lines! {
    "a base URL with http needs a link without TLS"
    "a base URL with https needs a link with TLS"
    "a block index that no open block has"
    "a content block with exactly one type"
    "a delta that matches its block"
    "a delta"
    "a message"
    "a string in a delta"
    "an event whose value is not its first member"
    "another reply of this endpoint"
    "at most 65535 blocks"
    "blocks in a turn that pauses"
    "blocks that a model may send"
    "calls with a name and a unique id"
    "content blocks with exactly one type"
    "message_start first"
    "server calls with a name and an id"
    "the base URL must be of printable ASCII characters without spaces"
    "the base URL must begin with http:// or https://"
    "the base URL must have a host"
    "the base URL must have a port from 1 to 65535, if any"
    "the base URL must not contain a query or a fragment"
    "the base URL must not contain a user or password"
    "the base URL's host contains a character that is not allowed in a host name; IPv6 addresses are not supported"
    "the index of an open block"
    "the index of one of the open blocks"
};

const OTHERS_START: u8 = count(OF_JSON);

impl Phrase {
    /// Returns the phrase with this text. Only for constants.
    ///
    /// # Panics
    /// If no list contains the text.
    #[expect(clippy::panic, reason = "a constant that panics does not compile")]
    pub const fn of(text: &str) -> Self {
        let code = match find(OF_JSON, text) {
            Some(i) => Some(i),
            None => match find(OTHERS, text) {
                Some(i) => Some(OTHERS_START + i),
                None => None,
            },
        };
        match code {
            Some(code) => match NonZeroU8::new(code + 1) {
                Some(code) => Self(code),
                None => panic!("there are too many phrases"),
            },
            None => panic!("core/src/error/phrase.rs does not list this text"),
        }
    }

    /// Returns the text.
    pub fn as_str(self) -> &'static str {
        let code = self.0.get() - 1;
        match code.checked_sub(OTHERS_START) {
            Some(code) => line(OTHERS, code),
            None => self.of_json(),
        }
    }

    /// Returns the text of an error in JSON. A program that calls only this does not link the other
    /// texts.
    pub(crate) fn of_json(self) -> &'static str {
        line(OF_JSON, self.0.get() - 1)
    }
}

/// Returns the text at `i` in a list, or an empty text.
pub(crate) const fn line(list: &'static str, mut i: u8) -> &'static str {
    let (mut start, mut end, mut rest) = (0, 0, list.as_bytes());
    while let [byte, after @ ..] = rest {
        if *byte == b'\n' {
            if i == 0 {
                break;
            }
            (i, start) = (i - 1, end + 1);
        }
        (end, rest) = (end + 1, after);
    }
    match list.split_at_checked(end) {
        Some((head, _)) => match head.split_at_checked(start) {
            Some((_, line)) => line,
            None => "",
        },
        None => "",
    }
}

/// Returns the number of texts in a list.
const fn count(list: &str) -> u8 {
    let (mut rest, mut count) = (list.as_bytes(), 0);
    while let [byte, after @ ..] = rest {
        count += (*byte == b'\n') as u8;
        rest = after;
    }
    count
}

/// Returns the position of a text in a list.
const fn find(list: &str, text: &str) -> Option<u8> {
    let (mut rest, mut i) = (list.as_bytes(), 0);
    // What is left of the text, or `None` if the line is another one.
    let mut left = Some(text.as_bytes());
    while let [byte, after @ ..] = rest {
        left = match left {
            Some([]) if *byte == b'\n' => return Some(i),
            Some([first, others @ ..]) if *first == *byte => Some(others),
            _ => None,
        };
        if *byte == b'\n' {
            i += 1;
            left = Some(text.as_bytes());
        }
        rest = after;
    }
    None
}

impl fmt::Display for Phrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Writes the text in quotes.
impl fmt::Debug for Phrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for Phrase {
    fn format(&self, f: defmt::Formatter<'_>) {
        self.as_str().format(f);
    }
}

impl PartialEq<str> for Phrase {
    fn eq(&self, text: &str) -> bool {
        self.as_str() == text
    }
}

impl PartialEq<&str> for Phrase {
    fn eq(&self, text: &&str) -> bool {
        self.as_str() == *text
    }
}
