//! Writing JSON to any sink of bytes.

use crate::error::Capacity;

/// A destination for bytes that accepts either all bytes of a write or none.
pub trait Sink {
    /// Appends `bytes`.
    ///
    /// # Errors
    /// Returns the buffer that is too small. In this case nothing was written.
    fn put(&mut self, bytes: &[u8]) -> Result<(), Capacity>;
}

#[cfg(feature = "alloc")]
impl Sink for alloc::vec::Vec<u8> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), Capacity> {
        self.extend_from_slice(bytes);
        Ok(())
    }
}

/// Returns the escaped form of `text`, for use inside a JSON string: `"`, `\` and control
/// characters are escaped, and all other characters are unchanged.
pub const fn escape(text: &str) -> EscapedString<'_> {
    EscapedString { rest: text.as_bytes(), code: [0; 6] }
}

/// The escaped form of a text. Use [`EscapedString::write_to`] to write it.
#[derive(Clone, Debug)]
pub struct EscapedString<'a> {
    rest: &'a [u8],
    code: [u8; 6],
}

impl<'a> EscapedString<'a> {
    /// Returns the length of the escaped form in bytes.
    pub fn len(&self) -> usize {
        let mut each = self.clone();
        let mut sum = 0;
        while let Some(part) = each.next_part() {
            sum += part.len();
        }
        sum
    }

    /// Returns whether the text is empty.
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Appends the escaped form to `sink`.
    ///
    /// # Errors
    /// Returns the error of the sink. In this case a part of the text may have been written.
    pub fn write_to<S: Sink + ?Sized>(mut self, sink: &mut S) -> Result<(), Capacity> {
        while let Some(part) = self.next_part() {
            sink.put(part)?;
        }
        Ok(())
    }

    /// Returns the next run of plain bytes, or one escape.
    fn next_part(&mut self) -> Option<&[u8]> {
        let run = super::plain_run(self.rest, 0);
        if run > 0 {
            let (plain, rest) = self.rest.split_at_checked(run)?;
            self.rest = rest;
            return Some(plain);
        }
        let (&byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        let letter = match byte {
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            b'"' | b'\\' => byte,
            _ => {
                let low = byte & 15;
                let low = if low < 10 { b'0' + low } else { b'a' - 10 + low };
                self.code = [b'\\', b'u', b'0', b'0', b'0' + (byte >> 4), low];
                return Some(&self.code);
            }
        };
        (self.code[0], self.code[1]) = (b'\\', letter);
        self.code.get(..2)
    }
}

/// An unsigned integer in decimal, formatted without `core::fmt`.
#[derive(Clone, Copy, Debug)]
pub struct Decimal {
    digits: [u8; 20],
    start: usize,
}

impl Decimal {
    /// Formats `number`.
    pub fn new(mut number: u64) -> Self {
        let mut digits = [b'0'; 20];
        let mut start = digits.len();
        for (i, digit) in digits.iter_mut().enumerate().rev() {
            // The remainder modulo 10 always fits.
            *digit = b'0' + u8::try_from(number % 10).unwrap_or(0);
            number /= 10;
            start = i;
            if number == 0 {
                break;
            }
        }
        Self { digits, start }
    }

    /// Returns the digits as ASCII.
    pub fn as_bytes(&self) -> &[u8] {
        self.digits.get(self.start..).unwrap_or_default()
    }
}

/// Returns `text` as a JSON string.
#[cfg(feature = "alloc")]
pub fn quoted(text: &str) -> alloc::string::String {
    let mut out = alloc::vec::Vec::with_capacity(text.len() + 2);
    out.push(b'"');
    // A `Vec` is never full.
    let _ = escape(text).write_to(&mut out);
    out.push(b'"');
    alloc::string::String::from_utf8(out).unwrap_or_default()
}
