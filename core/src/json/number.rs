//! Reading, writing and comparing numbers. `core::fmt` and core's float parser would need more code
//! and could panic.
//!
//! Reading and writing floats is exact. Where the fast path does not apply, it uses integer
//! arithmetic with up to 1280 bits, which is slow but small. Comparing numbers and reading integers
//! works on the decimal digits: `5.0` and `5e0` are the integer 5, at any size.

use core::cmp::Ordering;

use super::big::{Big, DOUBLE, SINGLE};
use super::{IS_CHIP, Sink};
use crate::error::Capacity;

/// The number of significant digits that [`parse_f64`] takes into account. Of the following digits
/// it only considers whether they are all zero.
const DIGITS: usize = 40;

/// Reads a JSON number and returns the nearest `f64`, with ties to even, like core's parser.
///
/// The result is exact for up to 40 significant digits. With more digits, a number within 10⁻⁴⁰ of
/// the midpoint between two floats may be rounded to the other one. Returns `None` if `text` is not
/// a number, or is too large for an `f64`. Numbers that are too small become zero.
pub fn parse_f64(text: &[u8]) -> Option<f64> {
    let parts = Parts::of(text)?;
    let signed = |value: f64| if parts.negative { -value } else { value };
    if parts.is_zero() || parts.point < -330 {
        return Some(signed(0.0));
    }
    if parts.point > 310 {
        return None;
    }
    // The fast path (Clinger): both the digits and the power of ten are exact in an `f64`, so that
    // a single operation rounds once.
    if let Some((mantissa, exp)) = parts.mantissa_u64()
        && mantissa <= 1 << 53
        && let Some(&power) = POWERS.get(exp.unsigned_abs())
    {
        #[allow(clippy::cast_precision_loss, reason = "at most 2^53")]
        let value = mantissa as f64;
        return Some(signed(if exp < 0 { value / power } else { value * power }));
    }
    slow(&parts).map(signed)
}

/// The powers of ten that an `f64` represents exactly.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

/// Returns the nearest `f64` for any number between 10⁻³³⁰ and 10³¹⁰, by a long division whose
/// quotient has 64 or 65 bits.
fn slow(parts: &Parts<'_>) -> Option<f64> {
    let mut numerator = Big::<DOUBLE>::shifted(0, 0);
    let mut used = 0_isize;
    let mut rest = parts.digits();
    for digit in rest.by_ref().take(DIGITS) {
        numerator.mul_add(10, u32::from(digit));
        used += 1;
    }
    if rest.any(|digit| digit != 0) {
        numerator.mul_add(10, 1);
        used += 1;
    }
    // The value is numerator · 10^exp = numerator · 5^exp · 2^exp.
    let exp = i32::try_from(parts.point.checked_sub(used)?).ok()?;
    let mut denominator = Big::shifted(1, 0);
    if exp < 0 {
        denominator.mul_power(5, exp.unsigned_abs());
    } else {
        numerator.mul_power(5, exp.unsigned_abs());
    }
    let shift =
        i32::try_from(denominator.bits()).ok()? + 64 - i32::try_from(numerator.bits()).ok()?;
    if shift >= 0 {
        numerator.shl(shift.unsigned_abs());
    } else {
        denominator.shl(shift.unsigned_abs());
    }
    denominator.shl(65);
    let mut quotient = 0_u128;
    for _ in 0..66 {
        quotient <<= 1;
        quotient |= u128::from(numerator.take(&denominator));
        denominator.shr1();
    }
    compose(quotient, !numerator.is_zero(), exp - shift)
}

/// Returns the `f64` that is nearest to `mantissa · 2^exp`, or to a slightly larger number if
/// `more`.
fn compose(mantissa: u128, more: bool, exp: i32) -> Option<f64> {
    let bits = i32::try_from(128 - mantissa.leading_zeros()).ok()?;
    // The number of bits to remove: all but 53, or more below the smallest normal number.
    let cut = (bits - 53).max(-1074 - exp);
    let (kept, exp) = if cut <= 0 {
        (mantissa, exp)
    } else {
        let cut_bits = cut.unsigned_abs();
        if cut_bits > 100 {
            return Some(0.0);
        }
        let kept = mantissa >> cut_bits;
        let rest = mantissa & ((1_u128 << cut_bits) - 1);
        let half = 1_u128 << (cut_bits - 1);
        let up = rest > half || (rest == half && (more || kept & 1 == 1));
        (kept + u128::from(up), exp + cut)
    };
    let kept = u64::try_from(kept).ok()?;
    const HIDDEN: u64 = 1 << 52;
    if kept < HIDDEN {
        // The number is below the smallest normal number, where `exp` is -1074, or the mantissa is
        // short and must be shifted up.
        let up = i32::try_from(kept.leading_zeros()).ok()? - 11;
        let up = up.min(exp + 1074);
        let (kept, exp) = (kept << up.unsigned_abs(), exp - up);
        return if kept < HIDDEN { Some(f64::from_bits(kept)) } else { assemble(kept, exp) };
    }
    assemble(kept, exp)
}

/// Assembles a float. `mantissa` must have 53 bits, or be 2^53.
fn assemble(mantissa: u64, exp: i32) -> Option<f64> {
    let biased = u64::try_from(exp + 1075).ok()?;
    let value = f64::from_bits((biased << 52) + (mantissa - (1 << 52)));
    (biased < 2047 && value.is_finite()).then_some(value)
}

/// The parts of a JSON number.
#[derive(Clone, Copy)]
struct Parts<'a> {
    negative: bool,
    /// The digits, with the point if it is among them, and without the zeros at both ends.
    digits: &'a [u8],
    /// The number of digits.
    count: isize,
    /// The position of the point: the value is 0.d₁d₂d₃… · 10^point. 0 without digits.
    point: isize,
}

impl<'a> Parts<'a> {
    fn of(text: &'a [u8]) -> Option<Self> {
        let (negative, text) = text.strip_prefix(b"-").map_or((false, text), |rest| (true, rest));
        let (all, exp) = match text.iter().position(|byte| matches!(byte, b'e' | b'E')) {
            Some(at) => (text.get(..at)?, exponent(text.get(at + 1..)?)?),
            None => (text, 0),
        };
        let dot = all.iter().position(|&byte| byte == b'.').unwrap_or(all.len());
        if dot == 0 || !all.iter().enumerate().all(|(i, byte)| byte.is_ascii_digit() || i == dot) {
            return None;
        }
        let is_zero = |byte: &u8| matches!(byte, b'0' | b'.');
        let Some(start) = all.iter().position(|byte| !is_zero(byte)) else {
            return Some(Self { negative, digits: &[], count: 0, point: 0 });
        };
        let mut digits = all.get(start..)?;
        while let [rest @ .., b'0' | b'.'] = digits {
            digits = rest;
        }
        // Negative if the point is before the first of the digits.
        let before = dot.cast_signed() - start.cast_signed();
        let is_inside = (0..digits.len().cast_signed()).contains(&before);
        let count = digits.len().cast_signed() - isize::from(is_inside);
        let point = (before + isize::from(before < 0)).saturating_add(exp);
        Some(Self { negative, digits, count, point })
    }

    const fn is_zero(&self) -> bool {
        self.count == 0
    }

    /// Returns the values of the significant digits.
    fn digits(&self) -> impl Iterator<Item = u8> + use<'a> {
        self.digits.iter().filter(|byte| **byte != b'.').map(|digit| digit.wrapping_sub(b'0'))
    }

    /// Returns the number as `mantissa · 10^exp`, without the sign, or `None` if the mantissa does
    /// not fit.
    fn mantissa_u64(&self) -> Option<(u64, isize)> {
        let mantissa = self
            .digits()
            .try_fold(0_u64, |sum, digit| sum.checked_mul(10)?.checked_add(u64::from(digit)))?;
        Some((mantissa, self.point.checked_sub(self.count)?))
    }

    const fn is_integer(&self) -> bool {
        self.point >= self.count
    }

    /// Returns the digits of an integer, with the zeros at its end. Returns none if the number is
    /// not an integer.
    fn whole_digits(&self) -> Option<impl Iterator<Item = u8> + use<'a>> {
        let zeros = usize::try_from(self.point.checked_sub(self.count)?).ok()?;
        Some(self.digits().chain(core::iter::repeat_n(0, zeros)))
    }

    /// Compares the absolute values.
    fn cmp_amount(&self, other: &Self) -> Ordering {
        match (self.is_zero(), other.is_zero()) {
            (true, true) => return Ordering::Equal,
            (true, false) => return Ordering::Less,
            (false, true) => return Ordering::Greater,
            (false, false) => {}
        }
        // There are no zeros at either end. If the points are at the same position, the digits
        // compare like text.
        self.point.cmp(&other.point).then_with(|| self.digits().cmp(other.digits()))
    }
}

/// The greatest magnitude of an exponent. No text is long enough to compensate for it.
const MAX_EXPONENT: isize = isize::MAX / 16;

/// Returns the value of the exponent, limited to ±[`MAX_EXPONENT`].
fn exponent(text: &[u8]) -> Option<isize> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    if digits.is_empty() {
        return None;
    }
    let mut amount = 0_isize;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        amount = (amount * 10 + isize::from(digit.wrapping_sub(b'0'))).min(MAX_EXPONENT);
    }
    Some(if negative { -amount } else { amount })
}

/// Returns whether a JSON number is an integer, such as `5`, `5.0`, `1e2` or `12.5e1`.
pub(crate) fn is_integer(text: &[u8]) -> bool {
    plain_integer(text).is_some() || Parts::of(text).is_some_and(|parts| parts.is_integer())
}

/// Reads a JSON number that is an integer. Returns whether it is negative, and its absolute value.
/// Returns `None` if the number is not an integer or does not fit.
pub(crate) fn parse_integer(text: &[u8]) -> Option<(bool, u128)> {
    let parts = Parts::of(text)?;
    let mut amount = 0_u128;
    for digit in parts.whole_digits()? {
        amount = amount.checked_mul(10)?.checked_add(u128::from(digit))?;
    }
    Some((parts.negative && amount != 0, amount))
}

/// Works like [`parse_integer`], but for absolute values of 64 bits, so that a microcontroller
/// needs no 128-bit arithmetic.
pub(crate) fn parse_small_integer(text: &[u8]) -> Option<(bool, u64)> {
    if let Some(number) = plain_integer(text) {
        return Some(number);
    }
    let parts = Parts::of(text)?;
    let mut amount = 0_u64;
    for digit in parts.whole_digits()? {
        amount = amount.checked_mul(10)?.checked_add(u64::from(digit))?;
    }
    Some((parts.negative && amount != 0, amount))
}

/// Reads an integer of at most 18 digits without a point or an exponent, which most are. This only
/// saves time, so on a chip it always returns `None`.
fn plain_integer(text: &[u8]) -> Option<(bool, u64)> {
    let (is_negative, digits) = text.strip_prefix(b"-").map_or((false, text), |rest| (true, rest));
    if IS_CHIP || digits.is_empty() || digits.len() > 18 {
        return None;
    }
    let mut amount = 0;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        amount = amount * 10 + u64::from(digit - b'0');
    }
    Some((is_negative && amount != 0, amount))
}

/// Compares two JSON numbers, exactly and at any size.
pub(crate) fn compare(a: &[u8], b: &[u8]) -> Option<Ordering> {
    let (a, b) = (Parts::of(a)?, Parts::of(b)?);
    Some(match (a.negative && !a.is_zero(), b.negative && !b.is_zero()) {
        (false, false) => a.cmp_amount(&b),
        (true, true) => b.cmp_amount(&a),
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
    })
}

/// Returns whether `number` is an integer multiple of `of`. Returns `None` if there are too many
/// digits to decide, or if `of` is zero.
pub(crate) fn is_multiple(number: &[u8], of: &[u8]) -> Option<bool> {
    let (number, of) = (Parts::of(number)?, Parts::of(of)?);
    if number.is_zero() {
        return Some(true);
    }
    let (a, a_exp) = number.mantissa_u64()?;
    let (b, b_exp) = of.mantissa_u64()?;
    let shift = u32::try_from(a_exp.abs_diff(b_exp)).ok()?;
    let scaled = |mantissa: u64| u128::from(mantissa).checked_mul(10_u128.checked_pow(shift)?);
    let (a, b) =
        if a_exp >= b_exp { (scaled(a)?, u128::from(b)) } else { (u128::from(a), scaled(b)?) };
    Some(a.checked_rem(b)? == 0)
}

/// Writes a number with the fewest digits that read back as the same `f64`, in the same form as
/// serde_json: `5.0`, `0.1`, `1e16`. Writes `null` for `NaN` and the infinities, which JSON cannot
/// represent.
///
/// # Errors
/// Returns the error of the sink.
pub fn write_f64<S: Sink + ?Sized>(number: f64, sink: &mut S) -> Result<(), Capacity> {
    let bits = number.to_bits();
    let biased = i32::try_from((bits >> 52) & 0x7ff).unwrap_or(0);
    let float = Float::new(bits & ((1 << 52) - 1), biased, 52, 1075);
    let negative = number.is_sign_negative();
    if !number.is_finite() {
        sink.put(b"null")
    } else if !IS_CHIP && (-200..=150).contains(&float.exp) {
        // Most numbers need few limbs: less than 2^208 here.
        float.write::<SINGLE>(negative, sink)
    } else {
        float.write::<DOUBLE>(negative, sink)
    }
}

/// Writes a number with the fewest digits that read back as the same `f32`, in the same form as
/// serde_json: `5.0`, `0.1`, `1e16`. Writes `null` for `NaN` and the infinities, which JSON cannot
/// represent.
///
/// # Errors
/// Returns the error of the sink.
// Not inlined: its numbers of many digits would be in the stack frame of every tool call.
#[inline(never)]
pub fn write_f32<S: Sink + ?Sized>(number: f32, sink: &mut S) -> Result<(), Capacity> {
    let bits = number.to_bits();
    let biased = i32::try_from((bits >> 23) & 0xff).unwrap_or(0);
    let float = Float::new(u64::from(bits & ((1 << 23) - 1)), biased, 23, 150);
    if number.is_finite() {
        float.write::<SINGLE>(number.is_sign_negative(), sink)
    } else {
        sink.put(b"null")
    }
}

/// The magnitude of a finite float, `mantissa · 2^exp`.
struct Float {
    mantissa: u64,
    exp: i32,
    /// Whether the distance to the next lower float is half the distance to the next higher one.
    /// This is the case if the mantissa is a power of two.
    narrow_below: bool,
}

impl Float {
    /// Creates a float from its stored mantissa, which has this `width`, and its exponent, which is
    /// stored plus a `bias`.
    const fn new(fraction: u64, biased: i32, width: u32, bias: i32) -> Self {
        let (hidden, exp) = if biased == 0 { (0, 1) } else { (1 << width, biased) };
        Self {
            mantissa: fraction | hidden,
            exp: exp - bias,
            narrow_below: fraction == 0 && biased > 1,
        }
    }

    #[inline(never)]
    fn write<const LIMBS: usize>(
        &self,
        negative: bool,
        sink: &mut (impl Sink + ?Sized),
    ) -> Result<(), Capacity> {
        let mut text = Text { bytes: [0; 32], len: 0 };
        if negative {
            text.push(b'-');
        }
        let mut digits = [b'0'; 17];
        let (count, point) =
            if self.mantissa == 0 { (1, 1) } else { self.digits::<LIMBS>(&mut digits) };
        text.layout(digits.get(..count).unwrap_or_default(), point);
        sink.put(text.bytes.get(..text.len).unwrap_or_default())
    }

    /// Computes the shortest sequence of decimal digits that no other float is closer to, and of
    /// several such sequences the closest (Steele and White, Dragon4). Returns the number of digits
    /// and the position of the point: the value is 0.d₁d₂d₃… · 10^point.
    fn digits<const LIMBS: usize>(&self, digits: &mut [u8; 17]) -> (usize, i32) {
        // The value is value / scale. Half the distances to its neighbours are above / scale and
        // below / scale.
        let up = self.exp.max(0).unsigned_abs();
        let mut parts = [
            Big::<LIMBS>::shifted(self.mantissa, up + 2),
            Big::shifted(1, up + 1),
            Big::shifted(1, up + u32::from(!self.narrow_below)),
        ];
        let mut scale = Big::shifted(1, self.exp.min(0).unsigned_abs() + 2);
        let even = self.mantissa & 1 == 0;
        let mut point = 0;
        // Each number of `parts` stays within ten times the scale.
        while parts[0].plus(&parts[1]).exceeds(&scale, even) {
            scale.mul_add(10, 0);
            point += 1;
        }
        let mut count = 0;
        while let Some(slot) = digits.get_mut(count) {
            for part in &mut parts {
                part.mul_add(10, 0);
            }
            let [value, above, below] = &mut parts;
            let mut digit = 0;
            while value.take(&scale) {
                digit += 1;
            }
            let low = below.exceeds(value, even);
            let high = value.plus(above).exceeds(&scale, even);
            let is_last = low || high;
            if is_last {
                // A digit of 9 never increases here, because the digit before it would have ended
                // the loop.
                let nearer_above = value.plus(value).exceeds(&scale, digit % 2 == 1);
                digit += u8::from(high && (!low || nearer_above));
            }
            if digit == 0 && count == 0 {
                point -= 1;
                continue;
            }
            *slot = b'0' + digit;
            count += 1;
            if is_last {
                break;
            }
        }
        (count, point)
    }
}

/// The text of a float, which is at most 25 bytes long.
struct Text {
    bytes: [u8; 32],
    len: usize,
}

impl Text {
    #[inline(never)]
    fn push(&mut self, byte: u8) {
        if let Some(slot) = self.bytes.get_mut(self.len) {
            *slot = byte;
            self.len += 1;
        }
    }

    /// Appends digits in the same form as serde_json: without an exponent between 10⁻⁵ and 10¹⁶,
    /// and with an exponent elsewhere.
    fn layout(&mut self, digits: &[u8], point: i32) {
        let count = i32::try_from(digits.len()).unwrap_or(0);
        let is_plain = (-4..=16).contains(&point);
        // The number of digits in front of the written point, or if it is not positive, minus the
        // number of zeros after it.
        let whole = if is_plain { point } else { 1 };
        for i in (whole - 1).min(0)..count.max(whole + i32::from(is_plain)) {
            if i == whole {
                self.push(b'.');
            }
            let digit = usize::try_from(i).ok().and_then(|i| digits.get(i));
            self.push(*digit.unwrap_or(&b'0'));
        }
        if !is_plain {
            self.push(b'e');
            if point < 1 {
                self.push(b'-');
            }
            let exponent = super::Decimal::new(u64::from((point - 1).unsigned_abs()));
            exponent.as_bytes().iter().for_each(|digit| self.push(*digit));
        }
    }
}
