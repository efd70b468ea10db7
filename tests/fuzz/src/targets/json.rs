//! The tokenizer and serde_json with `arbitrary_precision` agree on validity up to 122 levels, and
//! on the value.

use serde_json::Value as Theirs;
use serde_json::value::RawValue;
use toolrunner_core::__private::check;
use toolrunner_core::json::{Kind, Value};

/// Runs the target, whose properties the module's documentation states.
pub fn run(data: &[u8]) {
    if is_serde_jsons_own(data) {
        return;
    }
    let ours = check(data);
    // For a raw value serde_json checks neither depth nor surrogates; for a value it checks both.
    let grammar = serde_json::from_slice::<&RawValue>(data).is_ok();
    let theirs = serde_json::from_slice::<Theirs>(data);
    match (&ours, &theirs) {
        (Ok(checked), Ok(theirs)) => {
            assert_eq!(
                checked.lone_surrogate, None,
                "a lone surrogate that serde_json does not see"
            );
            let value = Value::first(data).expect("a value in what was checked");
            assert!(same(value, theirs), "another value: {theirs}");
        }
        (Ok(checked), Err(error)) => {
            assert!(grammar, "taken, and serde_json says {error}");
            // Numbers that no program can represent are left for the API to refuse.
            assert!(
                checked.lone_surrogate.is_some(),
                "taken without a lone surrogate, and serde_json says {error}"
            );
        }
        // serde_json accepts five more levels.
        (Err(error), Ok(_)) => assert_eq!(
            error.expected, "at most 122 levels",
            "refused ({error}), and serde_json takes it"
        ),
        (Err(error), Err(_)) => assert!(
            !grammar || error.expected == "at most 122 levels",
            "refused ({error}), and the grammar allows it"
        ),
    }
    // Views of unchecked bytes return something or nothing, and end.
    if let Some(value) = Value::first(data) {
        let _ = (
            value.as_text().map(|text| text.to_string()),
            value.as_u64(),
            value.as_bool(),
            value.member("a"),
        );
        let _ = value.members().count() + value.elements().count();
    }
}

/// Returns whether the JSON has a member with a name that serde_json uses internally to pass
/// numbers and raw values. serde_json reads an object with that name differently from any other
/// reader.
pub(crate) fn is_serde_jsons_own(json: &[u8]) -> bool {
    /// At most 122 levels deep, so recursion is safe.
    fn is_in(value: Value<'_>) -> bool {
        value.members().any(|(name, value)| {
            name.to_string().starts_with("$serde_json::private::") || is_in(value)
        }) || value.elements().any(is_in)
    }
    check(json).is_ok() && Value::first(json).is_some_and(is_in)
}

/// Returns whether both values are equal. At most 122 levels deep, so recursion is safe.
pub(crate) fn same(ours: Value<'_>, theirs: &Theirs) -> bool {
    match (ours.kind(), theirs) {
        (Kind::Null, Theirs::Null) => true,
        (Kind::Bool, Theirs::Bool(theirs)) => ours.as_bool() == Some(*theirs),
        (Kind::Number, Theirs::Number(theirs)) => {
            // serde_json adds the plus sign of an exponent.
            serde_json::from_str::<serde_json::Number>(ours.as_json())
                .is_ok_and(|ours| ours == *theirs)
                && (ours.as_u64().is_none()
                    || ours.as_u64() == theirs.as_u64()
                    || theirs.as_u64().is_none())
        }
        (Kind::String, Theirs::String(theirs)) => {
            let text = ours.as_text().unwrap_or_default();
            text == *theirs.as_str() && text.to_string() == *theirs && text.len() == theirs.len()
        }
        (Kind::Array, Theirs::Array(theirs)) => {
            ours.elements().count() == theirs.len()
                && ours.elements().zip(theirs).all(|(ours, theirs)| same(ours, theirs))
        }
        (Kind::Object, Theirs::Object(theirs)) => {
            // Of members with equal names serde_json keeps the last.
            let members: Vec<(String, Value<'_>)> =
                ours.members().map(|(name, value)| (name.to_string(), value)).collect();
            theirs.iter().all(|(name, theirs)| {
                members
                    .iter()
                    .rfind(|member| member.0 == *name)
                    .is_some_and(|member| same(member.1, theirs))
            }) && members.iter().all(|member| theirs.contains_key(&member.0))
        }
        _ => false,
    }
}
