//! The arguments of a call, after they were checked against a schema.

use toolrunner_core::__private::check_input;
use toolrunner_core::json::Value;
use toolrunner_core::schema::RawSchema;
use toolrunner_core::tool::{Output, ToolError};

/// The members of an input that fits its schema.
#[derive(Clone, Copy)]
pub(super) struct Arguments<'a>(Value<'a>);

impl<'a> Arguments<'a> {
    /// Checks `input` against the JSON Schema text `schema`. If it does not fit, writes the reason
    /// to `out`.
    pub(super) fn check(
        tool: &str,
        schema: &str,
        input: Value<'a>,
        out: &mut Output<'_>,
    ) -> Result<Self, ToolError> {
        check_input(tool, Some(RawSchema::new(schema)?), input, out)?;
        Ok(Self(input))
    }

    /// Returns a string, or the empty string if there is none.
    pub(super) fn text(self, name: &str) -> String {
        self.optional_text(name).unwrap_or_default()
    }

    pub(super) fn optional_text(self, name: &str) -> Option<String> {
        Some(self.0.member(name)?.as_text()?.to_string())
    }

    #[cfg(all(unix, feature = "bash"))]
    pub(super) fn flag(self, name: &str) -> bool {
        self.0.member(name).and_then(Value::as_bool).unwrap_or(false)
    }

    /// Returns an integer. One that does not fit is the nearest one that does.
    #[cfg(any(feature = "memory", feature = "text-editor", feature = "agent-toolset"))]
    pub(super) fn integer(self, name: &str) -> Option<i64> {
        self.0.member(name).and_then(integer)
    }

    /// Returns the number of elements of an array.
    #[cfg(all(unix, feature = "agent-toolset"))]
    pub(super) fn list_length(self, name: &str) -> Option<usize> {
        let list =
            self.0.member(name).filter(|list| list.kind() == toolrunner_core::json::Kind::Array)?;
        Some(list.elements().count())
    }

    /// Returns an array of two integers.
    #[cfg(any(feature = "memory", feature = "text-editor", feature = "agent-toolset"))]
    pub(super) fn pair(self, name: &str) -> Option<[i64; 2]> {
        let list =
            self.0.member(name).filter(|list| list.kind() == toolrunner_core::json::Kind::Array)?;
        let mut numbers = list.elements().map(integer);
        Some([numbers.next()??, numbers.next()??])
    }
}

#[cfg(any(feature = "memory", feature = "text-editor", feature = "agent-toolset"))]
fn integer(value: Value<'_>) -> Option<i64> {
    let text = value.as_json();
    match text.parse() {
        Ok(number) => Some(number),
        // `1e2`, `3.0` or a number beyond 64 bits. The conversion saturates.
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a saturated line number is out of range, as it should be"
        )]
        Err(_) => text.parse::<f64>().ok().map(|number| number as i64),
    }
}
