//! Floats are read and written as the standard library and serde_json do.
#![cfg(feature = "alloc")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::std_instead_of_core,
    reason = "tests"
)]

use toolrunner_core::__private::{parse_f64, write_f32, write_f64};
/// xorshift64*: enough for covering exponents and mantissas.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}

fn text64(number: f64) -> String {
    let mut text = Vec::new();
    write_f64(number, &mut text).unwrap();
    String::from_utf8(text).unwrap()
}

fn text32(number: f32) -> String {
    let mut text = Vec::new();
    write_f32(number, &mut text).unwrap();
    String::from_utf8(text).unwrap()
}

/// Returns the number of significant digits.
fn significant(text: &str) -> usize {
    let digits = text.split('e').next().unwrap_or_default().replace(['-', '.'], "");
    digits.trim_matches('0').len()
}

#[test]
fn the_forms() {
    for (number, text) in [
        (5.0, "5.0"),
        (0.1, "0.1"),
        (-0.0, "-0.0"),
        (1e15, "1000000000000000.0"),
        (1e16, "1e16"),
        (1e-5, "0.00001"),
        (1.5e-7, "1.5e-7"),
        (1.797_693_134_862_315_7e308, "1.7976931348623157e308"),
        (5e-324, "5e-324"),
        (f64::NAN, "null"),
        (f64::INFINITY, "null"),
        (123.456, "123.456"),
    ] {
        assert_eq!(text64(number), text);
    }
    assert_eq!(text32(21.3), "21.3");
    assert_eq!(text32(0.0), "0.0");
    assert_eq!(text32(f32::from_bits(1)), "1e-45");
    assert_eq!(text32(f32::MAX), "3.4028235e38");
}

#[test]
fn written_as_serde_json_does_and_read_back() {
    let mut random = Random(0x1234_5678_9abc_def1);
    for i in 0..2_000_u32 {
        let bits = random.next();
        let number = f64::from_bits(if i % 3 == 0 { bits & !0x0000_ffff_ffff_ffff } else { bits });
        if number.is_finite() {
            let text = text64(number);
            assert_eq!(text.parse::<f64>().unwrap().to_bits(), number.to_bits(), "{text}");
            assert_eq!(parse_f64(text.as_bytes()).unwrap().to_bits(), number.to_bits(), "{text}");
            #[cfg(feature = "serde-json")]
            assert_eq!(text, serde_json::to_string(&number).unwrap().replace("e+", "e"));
        }
        let number = f32::from_bits((bits >> 16) as u32);
        if number.is_finite() {
            let text = text32(number);
            assert_eq!(text.parse::<f32>().unwrap().to_bits(), number.to_bits(), "{text}");
            assert_eq!(significant(&text), significant(&format!("{number:e}")), "{text}");
        }
    }
}

#[test]
fn read_as_std_does() {
    let mut random = Random(0xdead_beef_1234_5671);
    for _ in 0..10_000 {
        let digits = random.next() % 25 + 1;
        let mut text = String::new();
        for i in 0..digits {
            text.push(char::from(b'0' + u8::try_from(random.next() % 10).unwrap()));
            if i == 0 && digits > 1 && random.next().is_multiple_of(2) {
                text.push('.');
            }
        }
        if text.len() > 1 && text.starts_with('0') && !text.starts_with("0.") {
            text.insert(0, '1');
        }
        if random.next().is_multiple_of(2) {
            text.push_str(&format!("e{}", (random.next() % 680).cast_signed() - 350));
        }
        let std: f64 = text.parse().unwrap();
        assert_eq!(
            parse_f64(text.as_bytes()).map(f64::to_bits),
            std.is_finite().then_some(std.to_bits()),
            "{text}"
        );
    }
    for text in [
        "9007199254740993",
        "2.2250738585072011e-308",
        "4.9406564584124654e-324",
        "2.4703282292062327e-324",
        "2.4703282292062328e-324",
        "1.7976931348623158e308",
        "0e999999999999",
        "1e-999999999999999999999",
        "0.000000000000000000000000000000000000000000000000000001",
        "100000000000000000000000000000000000000000000000000000",
        "-1.5",
    ] {
        assert_eq!(parse_f64(text.as_bytes()), Some(text.parse().unwrap()), "{text}");
    }
    for text in ["1e400", "1e999999999999999999999", "", "-", "1.e5x", "abc", "1e"] {
        assert_eq!(parse_f64(text.as_bytes()), None, "{text}");
    }
}
