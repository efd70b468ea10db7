//! The module `json` against serde_json: the same verdict on every text, and the same meaning.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]
#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "a test runs on a server"
)]

use std::collections::BTreeMap;
use toolrunner_core::__private::check;
use toolrunner_core::__private::{Decimal, Piece, Sink, escape};

use serde_json::value::RawValue;
use toolrunner_core::error::{Capacity, CapacityKind, Phrase};
use toolrunner_core::json::{JsonError, Kind, Text, Value};

/// Valid documents with every feature of JSON.
const VALID: &[&str] = &[
    "null",
    " true ",
    "false\n",
    "0",
    "-0",
    "-12.5e+3",
    "1E9",
    "0.0001e-7",
    "123456789012345678901234567890.123456789012345678901234567890",
    "1e400",
    r#""""#,
    r#""plain""#,
    r#""\"\\\/\b\f\n\r\t\u0000\u001f\u00e9\uD83D\uDE00\uffff""#,
    "\"Zürich, 東京, 🙂, \u{7f}\u{80}\u{2028}\"",
    "[]",
    "[ ]",
    "[1]",
    "[1,\t[2 , [3]],\r\n{}]",
    "{}",
    "{ }",
    r#"{"a":1}"#,
    r#" { "a" : [ 1 , "]}" , { "b\"c" : null } ] , "a" : "again" , "" : {} } "#,
    r#"{"type":"tool_use","id":"toolu_1","name":"f","input":{"z":1.50,"a":"\u00e9","n":12345678901234567890}}"#,
    r#"{"text":"a long run of plain characters, longer than eight bytes, then \\ and \" and more plain characters"}"#,
];

/// Invalid texts.
const INVALID: &[&str] = &[
    "",
    " ",
    "nul",
    "nulll",
    "True",
    "tru e",
    "+1",
    "01",
    "-",
    "-a",
    "1.",
    ".5",
    "1e",
    "1e+",
    "1.e1",
    "0x1",
    "--1",
    "1 2",
    "NaN",
    "Infinity",
    "\"",
    "\"a",
    r#""\x""#,
    r#""\u12g4""#,
    r#""\u12""#,
    r#""\""#,
    "\"\n\"",
    "\"\t\"",
    "\"\u{0}\"",
    "'a'",
    "[",
    "]",
    "[1",
    "[1,",
    "[1,]",
    "[,1]",
    "[1 2]",
    "[1}",
    "{",
    "}",
    r#"{"a""#,
    r#"{"a":"#,
    r#"{"a":1"#,
    r#"{"a":1,"#,
    r#"{"a":1,}"#,
    r#"{,"a":1}"#,
    "{a:1}",
    r#"{"a" 1}"#,
    r#"{"a":1]"#,
    r#"{"a":1 "b":2}"#,
    "{1:2}",
    "[1]]",
    "{}{}",
    "// c\n1",
    "[1] // c",
    "\u{feff}1",
    "\u{a0}1",
];

/// Returns whether serde_json accepts the text. It parses a raw value, because then it does not
/// check for lone surrogates either.
fn serde_takes(bytes: &[u8]) -> bool {
    serde_json::from_slice::<&RawValue>(bytes).is_ok()
}

#[track_caller]
fn same_verdict(bytes: &[u8]) {
    let ours = check(bytes);
    assert_eq!(ours.is_ok(), serde_takes(bytes), "{ours:?} on {}", String::from_utf8_lossy(bytes));
}

/// xorshift64: the same numbers in every run.
struct Xorshift(u64);

impl Xorshift {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(limit).unwrap()).unwrap()
    }
}

/// Builds serde_json's value through the views.
fn rebuild(value: Value<'_>) -> serde_json::Value {
    match value.kind() {
        Kind::Null => serde_json::Value::Null,
        Kind::Bool => value.as_bool().unwrap().into(),
        Kind::String => value.as_text().unwrap().to_string().into(),
        Kind::Array => value.elements().map(rebuild).collect::<Vec<_>>().into(),
        Kind::Object => value
            .members()
            .map(|(name, value)| (name.to_string(), rebuild(value)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        Kind::Number => digits(value.as_json()),
    }
}

/// Keeps all digits of a number, which serde_json would round.
fn digits(number: &str) -> serde_json::Value {
    format!("the number {number}").into()
}

/// Returns the value as serde_json reads it, with numbers as [`digits`].
fn reference(json: &[u8]) -> serde_json::Result<serde_json::Value> {
    let raw: &RawValue = serde_json::from_slice(json)?;
    let json = raw.get().as_bytes();
    Ok(match json[0] {
        b'[' => serde_json::from_slice::<Vec<&RawValue>>(json)?
            .into_iter()
            .map(|element| reference(element.get().as_bytes()))
            .collect::<serde_json::Result<Vec<_>>>()?
            .into(),
        b'{' => serde_json::from_slice::<BTreeMap<String, &RawValue>>(json)?
            .into_iter()
            .map(|(name, value)| Ok((name, reference(value.get().as_bytes())?)))
            .collect::<serde_json::Result<serde_json::Map<_, _>>>()?
            .into(),
        b'-' | b'0'..=b'9' => digits(raw.get()),
        _ => serde_json::from_slice(json)?,
    })
}

#[test]
fn valid_and_the_same_value() {
    for text in VALID {
        same_verdict(text.as_bytes());
        let checked = check(text.as_bytes()).unwrap();
        assert_eq!((checked.end, checked.lone_surrogate), (text.len(), None));
        let value = Value::first(text.as_bytes()).unwrap();
        assert_eq!(value.as_json(), text.trim_ascii());
        assert_eq!(rebuild(value), reference(text.as_bytes()).unwrap(), "{text}");
    }
}

#[test]
fn invalid() {
    for text in INVALID {
        assert!(check(text.as_bytes()).is_err(), "{text}");
        same_verdict(text.as_bytes());
    }
}

#[test]
fn invalid_utf8() {
    for bytes in [
        &b"\"\xff\""[..],
        b"\"\xc3\"",
        b"\"\xed\xa0\x80\"",
        b"\"\xf4\x90\x80\x80\"",
        b"\"\xc0\xaf\"",
        b"\xef\xbb\xbf1",
        b"[1]\xff",
    ] {
        assert!(check(bytes).is_err());
        assert!(serde_json::from_slice::<serde_json::Value>(bytes).is_err());
    }
    assert_eq!(
        check(b"[\"ab\xff\"]"),
        Err(JsonError { at: 4, expected: Phrase::of("valid UTF-8") })
    );
}

#[test]
fn every_prefix_is_refused() {
    for text in VALID {
        let text = text.trim_ascii();
        // A prefix of a number may be a number.
        let number = matches!(Value::first(text.as_bytes()).unwrap().kind(), Kind::Number);
        for end in 0..text.len() {
            same_verdict(&text.as_bytes()[..end]);
            assert!(number || check(&text.as_bytes()[..end]).is_err(), "{text} to {end}");
        }
    }
}

#[test]
fn where_and_what() {
    let error = |text: &str| check(text.as_bytes()).unwrap_err().to_string();
    assert_eq!(error(""), "at byte 0: expected a value");
    assert_eq!(error("[1,]"), "at byte 3: expected a value");
    assert_eq!(error("[1 2]"), "at byte 3: expected ',' or ']'");
    assert_eq!(error(r#"{"a":1 2}"#), "at byte 7: expected ',' or '}'");
    assert_eq!(error("{1}"), "at byte 1: expected a member name");
    assert_eq!(error(r#"{"a"}"#), "at byte 4: expected ':'");
    assert_eq!(error("1 1"), "at byte 2: expected the end");
    assert_eq!(error("-x"), "at byte 1: expected a digit");
    assert_eq!(error(r#""\x""#), "at byte 2: expected an escape");
    assert_eq!(error(r#""\u00""#), "at byte 3: expected four hexadecimal digits");
    assert_eq!(error("\"a\nb\""), "at byte 2: expected no control character in a string");
    assert_eq!(error("\"abc"), "at byte 4: expected the end of the string");
}

#[test]
fn depth() {
    let nested = |depth: usize, open: &str, close: &str| {
        format!("{}1{}", open.repeat(depth), close.repeat(depth))
    };
    for (open, close) in [("[", "]"), ("{\"a\":", "}"), ("[{\"a\":", "}]")] {
        let levels = if open.len() > 5 { 2 } else { 1 };
        let most = 122 / levels;
        let deep = nested(most, open, close);
        assert!(check(deep.as_bytes()).is_ok());
        assert!(serde_json::from_str::<serde_json::Value>(&deep).is_ok());
        let deeper = nested(most + 1, open, close);
        assert_eq!(check(deeper.as_bytes()).unwrap_err().expected, "at most 122 levels");
    }
    // Nothing recurses: neither the check, nor the views of unchecked data.
    for deep in
        [b"[".repeat(100_000), b"{\"a\":".repeat(100_000), nested(100_000, "[", "]").into_bytes()]
    {
        assert_eq!(check(&deep).unwrap_err().expected, "at most 122 levels");
        let value = Value::first(&deep);
        assert_eq!(value.is_some(), deep.ends_with(b"]"));
        assert_eq!(value.map_or(0, |value| value.elements().count()), usize::from(value.is_some()));
    }
    // Siblings do not count as depth.
    let wide = format!("[{}[]]", "[],".repeat(100_000));
    assert!(check(wide.as_bytes()).is_ok());
    assert_eq!(Value::first(wide.as_bytes()).unwrap().elements().count(), 100_001);
}

#[test]
fn lone_surrogates() {
    let cases = [
        (r#""\ud83d\ude00""#, None, "😀"),
        (r#""\uD83D\uDE00x""#, None, "😀x"),
        (r#""\ud83d""#, Some(1), "\u{fffd}"),
        (r#""\ude00""#, Some(1), "\u{fffd}"),
        (r#""a\ud83dx""#, Some(2), "a\u{fffd}x"),
        (r#""\ud83d\n""#, Some(1), "\u{fffd}\n"),
        (r#""\ud83d\u0041""#, Some(1), "\u{fffd}A"),
        (r#""\ude00\ud83d""#, Some(1), "\u{fffd}\u{fffd}"),
        (r#""\ud83d\ud83d\ude00""#, Some(1), "\u{fffd}😀"),
        (r#"["\ud83d\ude00","\udfff"]"#, Some(17), ""),
        (r#"{"\ud800":1}"#, Some(2), ""),
        (r#""\\ud800""#, None, "\\ud800"),
    ];
    for (text, lone, meaning) in cases {
        assert_eq!(check(text.as_bytes()).unwrap().lone_surrogate, lone, "{text}");
        // serde_json cannot represent half of a surrogate pair.
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(text).is_err(),
            lone.is_some(),
            "{text}"
        );
        if let Some(ours) = Value::first(text.as_bytes()).unwrap().as_text() {
            assert_eq!(ours.to_string(), meaning, "{text}");
        }
    }
}

#[test]
fn random_mutations() {
    let mut rng = Xorshift(0x9e37_79b9_7f4a_7c15);
    let alphabet = b"{}[]\",:\\u0019aef.+-tn \n\x00\xc3\xff/d8";
    let mut taken = 0;
    for round in 0..60_000 {
        let mut bytes = VALID[rng.below(VALID.len())].as_bytes().to_vec();
        for _ in 0..=rng.below(3) {
            let at = rng.below(bytes.len() + 1);
            let byte = alphabet[rng.below(alphabet.len())];
            match rng.below(4) {
                0 => bytes.insert(at, byte),
                1 if at < bytes.len() => bytes[at] = byte,
                2 if at < bytes.len() => drop(bytes.remove(at)),
                _ => bytes.rotate_left(at.min(1)),
            }
        }
        let ours = check(&bytes);
        let theirs = serde_takes(&bytes);
        assert_eq!(
            ours.is_ok(),
            theirs,
            "round {round}: {ours:?} on {}",
            String::from_utf8_lossy(&bytes)
        );
        if let Ok(checked) = ours {
            taken += 1;
            let value = Value::first(&bytes).unwrap();
            match reference(&bytes) {
                Ok(expected) => assert_eq!(rebuild(value), expected),
                Err(e) => assert!(
                    checked.lone_surrogate.is_some(),
                    "{e} on {}",
                    String::from_utf8_lossy(&bytes)
                ),
            }
        }
        walk(&bytes);
    }
    assert!(taken > 5_000, "{taken}");
}

/// Calls every method of the views, on arbitrary bytes: it must end, and not panic.
fn walk(bytes: &[u8]) {
    fn each(value: Value<'_>, depth: usize) {
        let _ = (
            value.as_bool(),
            value.as_u64(),
            value.is_null(),
            value.as_text().map(Text::len),
            value.member("a"),
        );
        if depth < 5 {
            value.members().take(50).for_each(|(_, value)| each(value, depth + 1));
            value.elements().take(50).for_each(|value| each(value, depth + 1));
        }
    }
    if let Some(value) = Value::first(bytes) {
        each(value, 0);
    }
}

#[test]
fn views() {
    let text = r#"{"a":1,"\u0062":[true,"x",null],"a":2,"n":18446744073709551616,"neg":-1,"whole":5.0,"max":18446744073709551615}"#;
    let value = Value::first(text.as_bytes()).unwrap();
    let member = |name: &str| value.member(name);
    // If two members have the same name, the last counts.
    assert_eq!(member("a").and_then(Value::as_u64), Some(2));
    assert_eq!(
        member("b").unwrap().elements().map(Value::kind).collect::<Vec<_>>(),
        [Kind::Bool, Kind::String, Kind::Null]
    );
    assert_eq!(["n", "neg", "whole", "b"].map(|name| member(name).unwrap().as_u64()), [None; 4]);
    assert_eq!(member("max").unwrap().as_u64(), Some(u64::MAX));
    assert!(member("c").is_none());
    assert!(value.elements().next().is_none() && member("a").unwrap().members().next().is_none());
    assert_eq!(Value::NULL.kind(), Kind::Null);
    let names = [Kind::Array, Kind::Bool, Kind::Null, Kind::Number, Kind::Object, Kind::String]
        .map(Kind::name);
    assert_eq!(names, ["array", "boolean", "null", "number", "object", "string"]);
}

/// Returns a text of random characters, escaped in any way that JSON allows.
fn random_string(rng: &mut Xorshift) -> String {
    const PIECES: &[&str] = &[
        "a",
        "plain text here",
        " ",
        "ü",
        "東",
        "🙂",
        r#"\""#,
        r"\\",
        r"\/",
        r"\b",
        r"\f",
        r"\n",
        r"\r",
        r"\t",
        r"\u0000",
        r"\u00e9",
        r"\u6771",
        r"\ud83d\ude42",
        r"\uFFFF",
    ];
    (0..rng.below(12)).map(|_| PIECES[rng.below(PIECES.len())]).collect()
}

#[test]
fn text_means_what_serde_says() {
    let mut rng = Xorshift(88_172_645_463_325_252);
    for _ in 0..5_000 {
        let raw = random_string(&mut rng);
        let text = Text::from_raw(&raw);
        let expected: String = serde_json::from_str(&format!("\"{raw}\"")).unwrap();
        assert_eq!(text.to_string(), expected);
        assert_eq!(text.len(), expected.len());
        assert!(text == *expected && text == expected.as_str());
        assert!(text != *format!("{expected}x") && (expected.is_empty() || text != *""));
        assert_eq!(text.is_empty(), expected.is_empty());
        assert_eq!(text.as_plain(), (!raw.contains('\\')).then_some(expected.as_str()));
        let pieces = text.pieces().map(|piece| match piece {
            Piece::Plain(plain) => plain.to_string(),
            Piece::Char(c) => c.to_string(),
        });
        assert_eq!(pieces.collect::<String>(), expected);

        let mut buffer = vec![0; expected.len()];
        assert_eq!(text.decode(&mut buffer), Ok(expected.as_str()));
        if raw.contains('\\') {
            let mut short = vec![0; expected.len() - 1];
            let full =
                Capacity { what: CapacityKind::Input, needed: expected.len(), free: short.len() };
            assert_eq!(text.decode(&mut short), Err(full));
        } else {
            assert_eq!(text.decode(&mut []), Ok(expected.as_str()));
        }
        #[cfg(feature = "alloc")]
        assert_eq!(String::from(text), expected);
    }
}

/// A sink with a limit of this many bytes.
struct Small(Vec<u8>, usize);

impl Sink for Small {
    fn put(&mut self, bytes: &[u8]) -> Result<(), Capacity> {
        let free = self.1 - self.0.len();
        if bytes.len() > free {
            return Err(Capacity { what: CapacityKind::Result, needed: bytes.len(), free });
        }
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

#[test]
fn escape_and_back() {
    let mut rng = Xorshift(2_463_534_242);
    let all: Vec<char> = (0..0x300)
        .filter_map(char::from_u32)
        .chain("\u{2028}\u{fffd}\u{ffff}東🙂\u{10ffff}".chars())
        .collect();
    let whole: String = all.iter().collect();
    let texts = (0..2_000)
        .map(|_| (0..rng.below(30)).map(|_| all[rng.below(all.len())]).collect::<String>());
    for text in texts.chain([whole, String::new()]) {
        let escaped = escape(&text);
        let mut sink = Small(Vec::new(), escaped.len());
        assert_eq!(escaped.is_empty(), text.is_empty());
        escaped.clone().write_to(&mut sink).unwrap();
        assert_eq!(sink.0.len(), sink.1);
        let raw = String::from_utf8(sink.0).unwrap();
        assert!(Text::from_raw(&raw) == *text);
        let quoted = format!("\"{raw}\"");
        assert_eq!(serde_json::from_str::<String>(&quoted).unwrap(), text);
        assert_eq!(check(quoted.as_bytes()).unwrap().lone_surrogate, None);
        if !text.is_empty() {
            let length = raw.len() - 1;
            assert!(escaped.write_to(&mut Small(Vec::new(), length)).is_err());
        }
    }
}

#[test]
fn decimals() {
    let mut rng = Xorshift(1);
    let some = [0, 1, 9, 10, 99, 100, u64::MAX, u64::MAX - 1, 10_000_000_000_000_000_000];
    let random = (0..2_000).map(|_| {
        rng.below(2);
        rng.0 >> (rng.0 % 64)
    });
    for number in some.into_iter().chain(random) {
        assert_eq!(Decimal::new(number).as_bytes(), number.to_string().as_bytes());
    }
}

#[test]
fn the_texts_of_errors_have_codes() {
    for (phrase, text) in [
        (Phrase::of("valid UTF-8"), "valid UTF-8"),
        (Phrase::of("a digit"), "a digit"),
        (Phrase::of("a delta"), "a delta"),
        (Phrase::of("the index of an open block"), "the index of an open block"),
    ] {
        assert_eq!(phrase.as_str(), text);
        assert_eq!((phrase.to_string(), format!("{phrase:?}")), (text.into(), format!("{text:?}")));
        assert!(phrase == text && phrase == *text && phrase == Phrase::of(text));
        assert_ne!(phrase, "a");
    }
    assert_eq!(size_of::<Option<Phrase>>(), 1);
    assert_eq!(size_of::<Result<usize, JsonError>>(), 2 * size_of::<usize>());
}
