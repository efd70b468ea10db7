//! The byte loops that everything else in this module uses.

/// Copies `from` over `to`, which must have the same length. If the lengths differ, which is a bug
/// in this crate, does nothing instead of panicking.
#[inline]
pub(crate) fn copy(to: &mut [u8], from: &[u8]) {
    debug_assert_eq!(to.len(), from.len());
    if to.len() == from.len() {
        #[expect(clippy::disallowed_methods, reason = "the lengths are the same")]
        to.copy_from_slice(from);
    }
}

/// Moves the items after the first `by` items to the front, and overwrites those. If there are
/// fewer items, which is a bug in this crate, does nothing instead of panicking.
#[inline]
pub(crate) fn copy_down<T: Copy>(items: &mut [T], by: usize) {
    debug_assert!(by <= items.len());
    if by <= items.len() {
        #[expect(clippy::disallowed_methods, reason = "the range begins within")]
        items.copy_within(by.., 0);
    }
}

/// Returns the index of the first byte at or after `from` that ends a run of plain string bytes:
/// `"`, `\` or a control character. Returns the length of the slice if there is none. Reads 8 bytes
/// at a time, 32 bytes in a long run on a large machine, and single bytes on a chip.
pub(crate) fn plain_run(bytes: &[u8], from: usize) -> usize {
    plain_run_seen(bytes, from, &mut 0)
}

/// Works like [`plain_run`], and also adds the bits of all bytes that were read to `seen`. If no
/// byte has its high bit set, the run is ASCII.
#[inline]
pub(crate) fn plain_run_seen(bytes: &[u8], from: usize, seen: &mut u64) -> usize {
    let mut at = from;
    while !IS_CHIP && let Some(chunk) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*chunk);
        *seen |= word;
        let hits = stops(word);
        if hits != 0 {
            return at + usize::try_from(hits.trailing_zeros() / 8).unwrap_or(0);
        }
        at += 8;
        if IS_LARGE && at == from + BEFORE_WIDE {
            at = skip_plain(bytes, at, seen);
        }
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

/// Whether the machine has vector registers, and enough memory for code that would be too large for
/// a microcontroller.
pub(super) const IS_LARGE: bool = cfg!(any(target_arch = "x86_64", target_arch = "aarch64"));
/// Whether the machine is a microcontroller, where code that only saves time is left out: its bytes
/// matter more, and a reply arrives more slowly than it is read in any case.
pub(crate) const IS_CHIP: bool = cfg!(target_os = "none");
/// The number of bytes of a run that are read 8 at a time before the run is treated as long.
const BEFORE_WIDE: usize = 16;
/// The number of bytes in one step over a long run.
const WIDE: usize = 32;

/// Advances from `at` while no byte of a step is a stop byte. The compiler turns this loop into
/// vector instructions.
#[inline(always)]
fn skip_wide(bytes: &[u8], mut at: usize, seen: &mut u64, is_stop: impl Fn(u8) -> u8) -> usize {
    while let Some(chunk) = bytes.get(at..).and_then(|rest| rest.first_chunk::<WIDE>()) {
        let (mut stop, mut bits) = (0, 0);
        for &byte in chunk {
            stop |= is_stop(byte);
            bits |= byte;
        }
        if stop != 0 {
            break;
        }
        *seen |= u64::from(bits);
        at += WIDE;
    }
    at
}

/// Advances over plain string bytes. This is out of line because few strings are long, so that the
/// code for short strings does not need to reserve registers for it.
#[inline(never)]
fn skip_plain(bytes: &[u8], at: usize, seen: &mut u64) -> usize {
    skip_wide(bytes, at, seen, |byte| {
        u8::from(byte == b'"') | u8::from(byte == b'\\') | u8::from(byte < 0x20)
    })
}

#[inline(never)]
fn skip_line(bytes: &[u8], at: usize) -> usize {
    skip_wide(bytes, at, &mut 0, |byte| u8::from(byte == b'\n') | u8::from(byte == b'\r'))
}

/// Returns whether the strings in `bytes`, which are JSON, may mean a text with `word` in it.
/// `word` consists of letters, digits, underscores and the quotes around a string. If this returns
/// `false`, no string does; a reader that looks for `word` then needs no closer look. Always
/// returns `true` on a small machine.
pub(crate) fn may_mention(bytes: &[u8], word: &[u8]) -> bool {
    /// The beginning of the only escape that can represent such a character.
    const ESCAPE: &[u8] = b"\\u00";
    let [first, second, ..] = *word else { return true };
    if !IS_LARGE {
        return true;
    }
    // The last chunk overlaps the one before it, because single bytes take longer.
    let last = bytes.len().saturating_sub(WIDE + 1);
    let mut at = 0;
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        let (chunk, next) =
            (rest.first_chunk::<WIDE>(), rest.get(1..).and_then(<[u8]>::first_chunk));
        let may_begin = if let (Some(chunk), Some(next)) = (chunk, next) {
            // The compiler turns this loop into vector instructions.
            let mut hit = 0;
            for (&a, &b) in chunk.iter().zip::<&[u8; WIDE]>(next) {
                hit |= u8::from(a == first) & u8::from(b == second);
                hit |= u8::from(a == b'\\') & u8::from(b == b'u');
            }
            hit != 0
        } else {
            true
        };
        let begins = |i: &usize| {
            rest.get(*i..).is_some_and(|rest| rest.starts_with(word) || rest.starts_with(ESCAPE))
        };
        if may_begin && (0..WIDE.min(rest.len())).any(|i| begins(&i)) {
            return true;
        }
        if at >= last {
            return false;
        }
        at = (at + WIDE).min(last);
    }
}

/// Returns the index of the first line feed or carriage return at or after `from`, or the length of
/// the slice without one. Reads as many bytes at a time as [`plain_run`].
pub(crate) fn line_end(bytes: &[u8], from: usize) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let mut at = from;
    while !IS_CHIP && let Some(chunk) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*chunk);
        let (feed, ret) = (word ^ (ONES * 0x0a), word ^ (ONES * 0x0d));
        let hits = ((feed.wrapping_sub(ONES) & !feed) | (ret.wrapping_sub(ONES) & !ret)) & HIGH;
        if hits != 0 {
            return at + usize::try_from(hits.trailing_zeros() / 8).unwrap_or(0);
        }
        at += 8;
        if IS_LARGE && at == from + BEFORE_WIDE {
            at = skip_line(bytes, at);
        }
    }
    while let Some(&byte) = bytes.get(at) {
        if byte == b'\n' || byte == b'\r' {
            return at;
        }
        at += 1;
    }
    at
}

/// Returns whether all bytes that were ORed into `seen` are ASCII.
pub(crate) const fn is_ascii(seen: u64) -> bool {
    seen & 0x8080_8080_8080_8080 == 0
}

/// Sets the high bit of each byte that is `"`, `\` or below 0x20. Bits above the lowest set bit may
/// be wrong, so only the lowest is meaningful.
const fn stops(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let quote = word ^ (ONES * 0x22);
    let slash = word ^ (ONES * 0x5c);
    ((quote.wrapping_sub(ONES) & !quote)
        | (slash.wrapping_sub(ONES) & !slash)
        | (word.wrapping_sub(ONES * 0x20) & !word))
        & HIGH
}

/// Returns the index of the quote that closes the string whose content begins at `from`.
#[inline]
pub(crate) fn string_end(bytes: &[u8], from: usize) -> Option<usize> {
    match short_string_end(bytes, from) {
        Some(end) => Some(end),
        None => any_string_end(bytes, from),
    }
}

/// Finds the closing quote like [`string_end`], but only of a string of less than 16 bytes without
/// an escape. On a large machine this finds most strings, without a function call.
#[inline]
pub(crate) fn short_string_end(bytes: &[u8], from: usize) -> Option<usize> {
    if !IS_LARGE {
        return None;
    }
    let (first, rest) = bytes.get(from..)?.split_first_chunk::<8>()?;
    let hits = stops(u64::from_le_bytes(*first));
    let (from, hits) = match hits {
        0 => (from + 8, stops(u64::from_le_bytes(*rest.first_chunk::<8>()?))),
        hits => (from, hits),
    };
    let at = from + usize::try_from(hits.trailing_zeros() / 8).unwrap_or(0);
    (bytes.get(at) == Some(&b'"')).then_some(at)
}

/// Returns the name of a member, still escaped, and the index at which its value begins. Recognizes
/// `"name":value` at `quote` only if it contains no white space and no escape, and only on a large
/// machine. Most members have this form.
#[cfg_attr(target_os = "none", inline)]
#[cfg_attr(not(target_os = "none"), inline(always))]
pub(crate) fn plain_key(bytes: &[u8], quote: usize) -> Option<(&[u8], usize)> {
    if bytes.get(quote) != Some(&b'"') {
        return None;
    }
    let end = match short_string_end(bytes, quote + 1) {
        Some(end) => end,
        None => plain_string_end(bytes, quote + 1)?,
    };
    match bytes.get(end + 1..)? {
        [b':', b'!'..=0xff, ..] => Some((bytes.get(quote + 1..end)?, end + 2)),
        _ => None,
    }
}

/// Finds the closing quote like [`string_end`], but only of a string without an escape, and on a
/// large machine only.
#[inline(never)]
fn plain_string_end(bytes: &[u8], from: usize) -> Option<usize> {
    if !IS_LARGE {
        return None;
    }
    let at = plain_run(bytes, from);
    (bytes.get(at) == Some(&b'"')).then_some(at)
}

fn any_string_end(bytes: &[u8], from: usize) -> Option<usize> {
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

/// Returns the index of the first byte at or after `from` that is not white space.
pub(crate) fn skip_space(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    while let Some(b' ' | b'\n' | b'\r' | b'\t') = bytes.get(at) {
        at += 1;
    }
    at
}

/// Returns the index after the value that begins at `at`. Does not check the inside of the value.
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

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_found_wherever_it_is() {
        for len in 0..150 {
            let mut memory = [b'_'; 150];
            let text = &mut memory[..len];
            assert!(!IS_LARGE || !may_mention(text, b"_control"), "{len} bytes");
            for word in [b"_control".as_slice(), b"\\u005f"] {
                for at in 0..(len + 1).saturating_sub(word.len()) {
                    text[at..at + word.len()].copy_from_slice(word);
                    assert!(may_mention(text, b"_control"), "at {at} of {len} bytes");
                    text[at..at + word.len()].fill(b'_');
                }
            }
        }
    }
}
