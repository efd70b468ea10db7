//! Reading, writing and comparing numbers. `core::fmt` and core's float parser would need more code
//! and could panic.
//!
//! Reading and writing floats is exact. Where the fast path does not apply, it uses integer
//! arithmetic with up to 1280 bits, which is slow but small. Comparing numbers and reading integers
//! works on the decimal digits: `5.0` and `5e0` are the integer 5, at any size.

use core::cmp::Ordering;

use super::Sink;
use super::big::{Big, DOUBLE, SINGLE};
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
        && let Some(&power) = POWERS.get(usize::try_from(exp.unsigned_abs()).ok()?)
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
    let mut numerator = Big::<DOUBLE>::from(0);
    let mut used = 0_i64;
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
    let mut denominator = Big::from(1);
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
        if numerator.cmp(&denominator) != Ordering::Less {
            numerator.sub(&denominator);
            quotient |= 1;
        }
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
    /// The digits before and after the point, without the zeros at the start and at the end of the
    /// whole sequence.
    whole: &'a [u8],
    fraction: &'a [u8],
    /// The position of the point: the value is 0.d₁d₂d₃… · 10^point.
    point: i64,
}

impl<'a> Parts<'a> {
    fn of(text: &'a [u8]) -> Option<Self> {
        let (negative, text) = text.strip_prefix(b"-").map_or((false, text), |rest| (true, rest));
        let (mantissa, exp) = match text.iter().position(|byte| matches!(byte, b'e' | b'E')) {
            Some(at) => (text.get(..at)?, exponent(text.get(at + 1..)?)?),
            None => (text, 0),
        };
        let (mut whole, mut fraction) = match mantissa.iter().position(|&byte| byte == b'.') {
            Some(at) => (mantissa.get(..at)?, mantissa.get(at + 1..)?),
            None => (mantissa, &[][..]),
        };
        if whole.is_empty() || !whole.iter().chain(fraction).all(u8::is_ascii_digit) {
            return None;
        }
        let mut point = exp.saturating_add(i64::try_from(whole.len()).ok()?);
        while let [b'0', rest @ ..] = whole {
            (whole, point) = (rest, point.saturating_sub(1));
        }
        while let (true, [b'0', rest @ ..]) = (whole.is_empty(), fraction) {
            (fraction, point) = (rest, point.saturating_sub(1));
        }
        while let [rest @ .., b'0'] = fraction {
            fraction = rest;
        }
        while let (true, [rest @ .., b'0']) = (fraction.is_empty(), whole) {
            whole = rest;
        }
        Some(Self { negative, whole, fraction, point })
    }

    const fn is_zero(&self) -> bool {
        self.whole.is_empty() && self.fraction.is_empty()
    }

    /// Returns the values of the significant digits.
    fn digits(&self) -> impl Iterator<Item = u8> + use<'a> {
        self.whole.iter().chain(self.fraction).map(|digit| digit.wrapping_sub(b'0'))
    }

    /// Returns the number of significant digits.
    fn count(&self) -> i64 {
        i64::try_from(self.whole.len().saturating_add(self.fraction.len())).unwrap_or(i64::MAX)
    }

    /// Returns the number as `mantissa · 10^exp`, without the sign, or `None` if the mantissa does
    /// not fit.
    fn mantissa_u64(&self) -> Option<(u64, i64)> {
        let mantissa = self
            .digits()
            .try_fold(0_u64, |sum, digit| sum.checked_mul(10)?.checked_add(u64::from(digit)))?;
        Some((mantissa, self.point.checked_sub(self.count())?))
    }

    fn is_integer(&self) -> bool {
        self.is_zero() || self.point >= self.count()
    }

    /// Returns the absolute value of an integer, or `None` if it does not fit.
    fn whole_u128(&self) -> Option<u128> {
        if self.is_zero() {
            return Some(0);
        }
        let zeros = u32::try_from(self.point.checked_sub(self.count())?).ok()?;
        let digits = self
            .digits()
            .try_fold(0_u128, |sum, digit| sum.checked_mul(10)?.checked_add(u128::from(digit)))?;
        digits.checked_mul(10_u128.checked_pow(zeros)?)
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

/// Returns the value of the exponent, clamped to ±10¹⁵. No text is long enough to compensate for
/// such an exponent.
fn exponent(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let fold = |sum: i64, digit: &u8| {
        (sum * 10 + i64::from(digit.wrapping_sub(b'0'))).min(1_000_000_000_000_000)
    };
    let amount = digits.iter().fold(0, fold);
    Some(if negative { -amount } else { amount })
}

/// Returns whether a JSON number is an integer, such as `5`, `5.0`, `1e2` or `12.5e1`.
pub(crate) fn is_integer(text: &[u8]) -> bool {
    Parts::of(text).is_some_and(|parts| parts.is_integer())
}

/// Reads a JSON number that is an integer. Returns whether it is negative, and its absolute value.
/// Returns `None` if the number is not an integer or does not fit.
pub(crate) fn parse_integer(text: &[u8]) -> Option<(bool, u128)> {
    let parts = Parts::of(text)?;
    if !parts.is_integer() {
        return None;
    }
    let amount = parts.whole_u128()?;
    Some((parts.negative && amount != 0, amount))
}

/// Works like [`parse_integer`], but for absolute values of 64 bits, so that a microcontroller
/// needs no 128-bit arithmetic.
pub(crate) fn parse_small_integer(text: &[u8]) -> Option<(bool, u64)> {
    let parts = Parts::of(text)?;
    if parts.is_zero() {
        return Some((false, 0));
    }
    // If the number is not an integer, this exponent is negative.
    let (digits, zeros) = parts.mantissa_u64()?;
    let amount = digits.checked_mul(10_u64.checked_pow(u32::try_from(zeros).ok()?)?)?;
    Some((parts.negative, amount))
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
    let (fraction, biased) =
        (bits & ((1 << 52) - 1), i32::try_from((bits >> 52) & 0x7ff).unwrap_or(0));
    let (mantissa, exp) =
        if biased == 0 { (fraction, -1074) } else { (fraction | (1 << 52), biased - 1075) };
    let float = Float {
        negative: number.is_sign_negative(),
        mantissa,
        exp,
        narrow_below: fraction == 0 && biased > 1,
    };
    if number.is_finite() { float.write::<DOUBLE>(sink) } else { sink.put(b"null") }
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
    let (fraction, biased) =
        (u64::from(bits & ((1 << 23) - 1)), i32::try_from((bits >> 23) & 0xff).unwrap_or(0));
    let (mantissa, exp) =
        if biased == 0 { (fraction, -149) } else { (fraction | (1 << 23), biased - 150) };
    let float = Float {
        negative: number.is_sign_negative(),
        mantissa,
        exp,
        narrow_below: fraction == 0 && biased > 1,
    };
    if number.is_finite() { float.write::<SINGLE>(sink) } else { sink.put(b"null") }
}

/// A finite float, `mantissa · 2^exp`.
struct Float {
    negative: bool,
    mantissa: u64,
    exp: i32,
    /// Whether the distance to the next lower float is half the distance to the next higher one.
    /// This is the case if the mantissa is a power of two.
    narrow_below: bool,
}

impl Float {
    fn write<const LIMBS: usize>(&self, sink: &mut (impl Sink + ?Sized)) -> Result<(), Capacity> {
        if self.negative {
            sink.put(b"-")?;
        }
        if self.mantissa == 0 {
            return sink.put(b"0.0");
        }
        let mut digits = [0; 17];
        let (count, point) = self.digits::<LIMBS>(&mut digits);
        let digits = digits.get(..count).unwrap_or_default();
        layout(digits, point, sink)
    }

    /// Computes the shortest sequence of decimal digits that no other float is closer to, and of
    /// several such sequences the closest (Steele and White, Dragon4). Returns the number of digits
    /// and the position of the point: the value is 0.d₁d₂d₃… · 10^point.
    fn digits<const LIMBS: usize>(&self, digits: &mut [u8; 17]) -> (usize, i32) {
        // The value is value / scale. Half the distances to its neighbours are above / scale and
        // below / scale.
        let mut value = Big::<LIMBS>::from(self.mantissa);
        let (mut scale, mut above, mut below) = (Big::from(1), Big::from(1), Big::from(1));
        if self.exp >= 0 {
            let up = self.exp.unsigned_abs();
            value.shl(up);
            above.shl(up);
            below.shl(up);
        } else {
            scale.shl(self.exp.unsigned_abs());
        }
        let twice = if self.narrow_below { 2 } else { 1 };
        value.shl(twice);
        scale.shl(twice);
        above.shl(twice - 1);
        let even = self.mantissa & 1 == 0;
        // The decimal logarithm of the value, computed from the binary logarithm. It is too small
        // by at most one.
        let log2 = self.exp + 63 - i32::try_from(self.mantissa.leading_zeros()).unwrap_or(0);
        let mut point = log2.saturating_mul(30_103).div_euclid(100_000);
        if point >= 0 {
            scale.mul_power(10, point.unsigned_abs());
        } else {
            for part in [&mut value, &mut above, &mut below] {
                part.mul_power(10, point.unsigned_abs());
            }
        }
        let too_large = |value: &Big<LIMBS>, above: &Big<LIMBS>, scale: &Big<LIMBS>| {
            let mut end = *value;
            end.add(above);
            match end.cmp(scale) {
                Ordering::Greater => true,
                Ordering::Equal => even,
                Ordering::Less => false,
            }
        };
        while too_large(&value, &above, &scale) {
            scale.mul_add(10, 0);
            point += 1;
        }
        let mut count = 0;
        for slot in digits.iter_mut() {
            for part in [&mut value, &mut above, &mut below] {
                part.mul_add(10, 0);
            }
            let mut digit = 0;
            while value.cmp(&scale) != Ordering::Less {
                value.sub(&scale);
                digit += 1;
            }
            let low = match value.cmp(&below) {
                Ordering::Less => true,
                Ordering::Equal => even,
                Ordering::Greater => false,
            };
            let high = too_large(&value, &above, &scale);
            count += 1;
            if low || high {
                let mut twice = value;
                twice.shl(1);
                let nearer_above = match twice.cmp(&scale) {
                    Ordering::Less => false,
                    Ordering::Equal => digit % 2 == 1,
                    Ordering::Greater => true,
                };
                // A digit of 9 never increases here, because the digit before it would have ended
                // the loop.
                let up = high && (!low || nearer_above);
                *slot = b'0' + digit + u8::from(up);
                break;
            }
            *slot = b'0' + digit;
        }
        (count, point)
    }
}

/// Writes digits in the same form as serde_json: without an exponent between 10⁻⁵ and 10¹⁶, and
/// with an exponent elsewhere.
fn layout<S: Sink + ?Sized>(digits: &[u8], point: i32, sink: &mut S) -> Result<(), Capacity> {
    let zeros = |count: i32| {
        b"0000000000000000".get(..usize::try_from(count).unwrap_or(0)).unwrap_or_default()
    };
    let split = |at: i32| {
        digits.split_at_checked(usize::try_from(at).unwrap_or(0)).unwrap_or((digits, b""))
    };
    let count = i32::try_from(digits.len()).unwrap_or(0);
    let exponent = super::Decimal::new(u64::from((point - 1).unsigned_abs()));
    let parts: [&[u8]; 5] = match point {
        _ if (-4..=0).contains(&point) => [b"0.", zeros(-point), digits, b"", b""],
        1..=16 if point >= count => [digits, zeros(point - count), b".0", b"", b""],
        1..=16 => {
            let (whole, fraction) = split(point);
            [whole, b".", fraction, b"", b""]
        }
        _ => {
            let (first, rest) = split(1);
            [
                first,
                if rest.is_empty() { b"" } else { b"." },
                rest,
                if point > 0 { b"e" } else { b"e-" },
                exponent.as_bytes(),
            ]
        }
    };
    parts.into_iter().filter(|part| !part.is_empty()).try_for_each(|part| sink.put(part))
}
