//! Unsigned integers of a fixed size. The sizes are the largest that are needed to read and write
//! floats exactly.

/// The number of limbs for an `f64`: 1280 bits.
pub(super) const DOUBLE: usize = 40;
/// The number of limbs for an `f32`: its smallest value, scaled by 10^45 and shifted, has 180 bits.
pub(super) const SINGLE: usize = 7;

/// An unsigned integer with the least significant limb first. Bits that do not fit are discarded;
/// the callers stay within the size.
#[derive(Clone, Copy)]
pub(super) struct Big<const LIMBS: usize>([u32; LIMBS]);

/// Splits `word` into its low and its high half.
const fn halves(word: u64) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = word.to_le_bytes();
    (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]))
}

impl<const LIMBS: usize> Big<LIMBS> {
    /// Computes `self = self * factor + carry`.
    pub(super) fn mul_add(&mut self, factor: u32, mut carry: u32) {
        for limb in &mut self.0 {
            (*limb, carry) = halves(u64::from(*limb) * u64::from(factor) + u64::from(carry));
        }
    }

    /// Returns `number * 2^bits`.
    pub(super) fn shifted(number: u64, bits: u32) -> Self {
        let (low, high) = halves(number);
        let mut limbs = [0; LIMBS];
        for (slot, limb) in limbs.iter_mut().zip([low, high]) {
            *slot = limb;
        }
        let mut this = Self(limbs);
        this.shl(bits);
        this
    }

    /// Computes `self = self * base^exp`.
    pub(super) fn mul_power(&mut self, base: u32, exp: u32) {
        for _ in 0..exp {
            self.mul_add(base, 0);
        }
    }

    pub(super) fn shl(&mut self, bits: u32) {
        for _ in 0..bits / 31 {
            self.mul_add(1 << 31, 0);
        }
        self.mul_add(1 << (bits % 31), 0);
    }

    pub(super) fn shr1(&mut self) {
        let mut carry = 0;
        for limb in self.0.iter_mut().rev() {
            let low = *limb & 1;
            *limb = (*limb >> 1) | carry << 31;
            carry = low;
        }
    }

    /// Adds `other`, whose bits are inverted by `mask`, and `carry`. Returns the carry.
    fn add(&mut self, other: &Self, mask: u32, mut carry: u32) -> u32 {
        for (limb, &more) in self.0.iter_mut().zip(&other.0) {
            (*limb, carry) = halves(u64::from(*limb) + u64::from(more ^ mask) + u64::from(carry));
        }
        carry
    }

    /// Returns `self + other`.
    pub(super) fn plus(&self, other: &Self) -> Self {
        let mut sum = *self;
        sum.add(other, 0, 0);
        sum
    }

    /// Computes `self = self - other` and returns true, unless `other` is larger.
    pub(super) fn take(&mut self, other: &Self) -> bool {
        let mut rest = *self;
        let is_larger = rest.add(other, u32::MAX, 1) == 0;
        if !is_larger {
            *self = rest;
        }
        !is_larger
    }

    /// Returns whether `self > other`, or if `or_equal`, whether `self >= other`.
    pub(super) fn exceeds(&self, other: &Self, or_equal: bool) -> bool {
        let mut difference = *self;
        difference.add(other, u32::MAX, u32::from(or_equal)) == 1
    }

    pub(super) fn is_zero(&self) -> bool {
        self.0.iter().all(|&limb| limb == 0)
    }

    /// Returns the number of bits of the number, without leading zeros.
    pub(super) fn bits(&self) -> u32 {
        let mut bits = 0;
        for (&limb, below) in self.0.iter().zip((0_u32..).step_by(32)) {
            if limb != 0 {
                bits = below + 32 - limb.leading_zeros();
            }
        }
        bits
    }
}
