//! The byte loops under everything else.

/// Copies `from` over `to`, which is of the same length: nothing happens if it is not.
#[inline]
pub(crate) fn copy(to: &mut [u8], from: &[u8]) {
    if to.len() == from.len() {
        #[expect(clippy::disallowed_methods, reason = "the lengths are the same")]
        to.copy_from_slice(from);
    }
}

/// Moves what is behind the first `by` bytes to the front, over them. Nothing happens if there are fewer.
#[inline]
pub(crate) fn copy_down(bytes: &mut [u8], by: usize) {
    if by <= bytes.len() {
        #[expect(clippy::disallowed_methods, reason = "the range begins within")]
        bytes.copy_within(by.., 0);
    }
}

/// Index of the first byte at or after `from` that ends a run of plain string bytes: `"`, `\` or a control character.
/// The slice's length if there is none. Eight bytes at a time.
pub(crate) fn plain_run(bytes: &[u8], from: usize) -> usize {
    plain_run_seen(bytes, from, &mut 0)
}

/// [`plain_run`], and in `seen` the bits of all that was looked at: if none has its high bit set, the run is ASCII.
#[inline]
pub(crate) fn plain_run_seen(bytes: &[u8], from: usize, seen: &mut u64) -> usize {
    let mut at = from;
    while let Some(chunk) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*chunk);
        *seen |= word;
        let hits = stops(word);
        if hits != 0 {
            return at + usize::try_from(hits.trailing_zeros() / 8).unwrap_or(0);
        }
        at += 8;
    }
    while let Some(&byte) = bytes.get(at) {
        if byte == b'"' || byte == b'\\' || byte < 0x20 {
            return at;
        }
        *seen |= u64::from(byte);
        at += 1;
    }
    at
}

/// Whether bytes whose bits are in `seen` are all ASCII.
pub(crate) const fn is_ascii(seen: u64) -> bool {
    seen & 0x8080_8080_8080_8080 == 0
}

/// The high bit of each byte that is `"`, `\` or below 0x20. Bits above the lowest may be set wrongly: only the lowest counts.
const fn stops(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let quote = word ^ (ONES * 0x22);
    let slash = word ^ (ONES * 0x5c);
    ((quote.wrapping_sub(ONES) & !quote) | (slash.wrapping_sub(ONES) & !slash) | (word.wrapping_sub(ONES * 0x20) & !word)) & HIGH
}

/// The index of the quote that closes the string whose content begins at `from`.
pub(crate) fn string_end(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        at = plain_run(bytes, at);
        match bytes.get(at)? {
            b'"' => return Some(at),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// The index of the first byte at or after `from` that is not white space.
pub(crate) fn skip_space(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    while let Some(b' ' | b'\n' | b'\r' | b'\t') = bytes.get(at) {
        at += 1;
    }
    at
}

/// The index behind the value that begins at `at`; its inside is not checked.
pub(crate) fn skip_value(bytes: &[u8], at: usize) -> Option<usize> {
    match bytes.get(at)? {
        b'"' => Some(string_end(bytes, at + 1)? + 1),
        b'{' | b'[' => {
            let (mut at, mut depth) = (at + 1, 1_usize);
            loop {
                match bytes.get(at)? {
                    b'"' => at = string_end(bytes, at + 1)?,
                    b'{' | b'[' => depth += 1,
                    b'}' | b']' => {
                        depth -= 1;
                        if depth == 0 {
                            return Some(at + 1);
                        }
                    }
                    _ => {}
                }
                at += 1;
            }
        }
        _ => {
            let mut end = at;
            while let Some(byte) = bytes.get(end) {
                if matches!(byte, b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t' | b':') {
                    break;
                }
                end += 1;
            }
            (end > at).then_some(end)
        }
    }
}
