//! Numbers of any size stay exact through serde, without any feature of serde_json for that: such a
//! feature would apply to the user's whole program, and change how its own types are read.
#![cfg(feature = "serde-json")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use serde::ser::SerializeStruct;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;
use toolrunner_core::json::Value;
use toolrunner_core::tool::Output;

fn written(value: impl Serialize) -> String {
    let mut memory = [0; 256];
    let mut out = Output::new(&mut memory);
    out.json(&value).unwrap();
    String::from_utf8(out.finish().unwrap().to_vec()).unwrap()
}

/// serde_json's own number in a program that enables `arbitrary_precision`.
struct Exact(&'static str);

impl Serialize for Exact {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut number = serializer.serialize_struct("$serde_json::private::Number", 1)?;
        number.serialize_field("$serde_json::private::Number", self.0)?;
        number.end()
    }
}

#[test]
fn results_keep_every_digit() {
    assert_eq!(written(u128::MAX), r#""340282366920938463463374607431768211455""#);
    assert_eq!(written(i128::MIN), r#""-170141183460469231731687303715884105728""#);
    assert_eq!(
        written(Exact("123456789012345678901234567890.5e999")),
        r#""123456789012345678901234567890.5e999""#
    );
    let raw: Box<RawValue> = serde_json::from_str("123456789012345678901234567890").unwrap();
    assert_eq!(written(raw), r#""123456789012345678901234567890""#);
}

#[test]
fn inputs_keep_every_digit() {
    let read = |json: &'static str| Value::first(json.as_bytes()).unwrap();
    assert_eq!(
        read("340282366920938463463374607431768211455").deserialize::<u128>().unwrap(),
        u128::MAX
    );
    let raw: &RawValue = read(" 123456789012345678901234567890.5 ").deserialize().unwrap();
    assert_eq!(raw.get(), "123456789012345678901234567890.5");
}

/// These forms use serde's own buffer, which `arbitrary_precision` breaks.
#[test]
fn a_programs_own_types_read_as_without_this_crate() {
    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(tag = "type")]
    enum Order {
        Limit { price: f64 },
    }
    #[derive(Debug, PartialEq, Deserialize)]
    struct Inner {
        x: f64,
    }
    #[derive(Debug, PartialEq, Deserialize)]
    struct Outer {
        #[serde(flatten)]
        inner: Inner,
    }
    assert_eq!(
        serde_json::from_str::<Order>(r#"{"type":"Limit","price":1.5}"#).unwrap(),
        Order::Limit { price: 1.5 }
    );
    assert_eq!(
        serde_json::from_str::<Outer>(r#"{"x":1.5}"#).unwrap(),
        Outer { inner: Inner { x: 1.5 } }
    );
    assert_eq!(serde_json::from_str::<serde_json::Value>("1e2").unwrap(), serde_json::json!(100.0));
}
