//! The swap of two neighbouring ranges, which brings a part of the tail into the conversation.

use crate::json::IS_CHIP;

/// Moves the last `count` bytes before all others, without additional memory.
pub(super) fn rotate(bytes: &mut [u8], count: usize) {
    if count > bytes.len() {
        return;
    }
    if IS_CHIP {
        rotate_by_cycles(bytes, count);
    } else {
        // Several times as fast on large results, and larger.
        #[expect(clippy::disallowed_methods, reason = "the length was checked")]
        bytes.rotate_right(count);
    }
}

/// Does the same as [`rotate`] in little flash: follows each byte to its place, and from there the
/// byte that was there, until a cycle is closed.
fn rotate_by_cycles(bytes: &mut [u8], count: usize) {
    let front = bytes.len().saturating_sub(count);
    let mut left = if front == 0 { 0 } else { bytes.len() };
    let mut start = 0;
    while left > 0 {
        let mut at = start;
        let mut held = bytes.get(start).copied().unwrap_or_default();
        loop {
            at = if at < front { at + count } else { at - front };
            if let Some(place) = bytes.get_mut(at) {
                held = core::mem::replace(place, held);
            }
            left -= 1;
            if at == start {
                break;
            }
        }
        start += 1;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
mod tests {
    use alloc::vec::Vec;

    use super::rotate_by_cycles;

    #[test]
    fn cycles_swap_two_ranges() {
        for len in 0..=24_u8 {
            for count in 0..=len {
                let bytes: Vec<u8> = (0..len).collect();
                let mut expected = bytes.clone();
                let (front, back) = bytes.split_at_checked((len - count).into()).unwrap();
                expected.clear();
                expected.extend(back.iter().chain(front));
                let mut rotated = bytes.clone();
                rotate_by_cycles(&mut rotated, count.into());
                assert_eq!(rotated, expected, "{count} of {len}");
            }
        }
    }
}
