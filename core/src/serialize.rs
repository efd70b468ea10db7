//! `Serialize` for what a run reports. JSON text is written verbatim where it was received as JSON.

use serde::ser::{Serialize, SerializeStruct, Serializer};

use crate::json::Text;
use crate::message::{Role, StopReason, Usage};
use crate::policy::Limit;
use crate::run::Outcome;

/// The unescaped text.
impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.as_plain() {
            Some(plain) => serializer.serialize_str(plain),
            None => serializer.collect_str(self),
        }
    }
}

/// The name that the API uses, such as `user`.
impl Serialize for Role {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// The name that the API uses, such as `end_turn`. A reason that is not listed becomes `unknown`.
impl Serialize for StopReason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// The members of the API's `usage` object that a [`Usage`] counts.
impl Serialize for Usage {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut usage = serializer.serialize_struct("Usage", 4)?;
        usage.serialize_field("input_tokens", &self.input_tokens)?;
        usage.serialize_field("output_tokens", &self.output_tokens)?;
        usage.serialize_field("cache_creation_input_tokens", &self.cache_creation_input_tokens)?;
        usage.serialize_field("cache_read_input_tokens", &self.cache_read_input_tokens)?;
        usage.end()
    }
}

/// The name of the field of [`Limits`](crate::policy::Limits), or `transcript`.
impl Serialize for Limit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(match self {
            Self::Calls => "calls",
            Self::InputTokens => "input_tokens",
            Self::OutputTokens => "output_tokens",
            Self::Repeats => "repeats",
            Self::Time => "time",
            Self::Transcript => "transcript",
            Self::Turns => "turns",
        })
    }
}

/// An object with a `type`: `{"type":"ended","stop_reason":"end_turn"}`,
/// `{"type":"limit","limit":"turns"}`, or only the type: `broken`, `needs_answer`, `stopped`,
/// `thread_lost`.
impl Serialize for Outcome {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (kind, members) = match self {
            Self::Broken => ("broken", 1),
            Self::Ended(_) => ("ended", 2),
            Self::Limit(_) => ("limit", 2),
            Self::NeedsAnswer => ("needs_answer", 1),
            Self::Stopped => ("stopped", 1),
            Self::ThreadLost => ("thread_lost", 1),
        };
        let mut outcome = serializer.serialize_struct("Outcome", members)?;
        outcome.serialize_field("type", kind)?;
        match self {
            Self::Ended(reason) => outcome.serialize_field("stop_reason", reason)?,
            Self::Limit(limit) => outcome.serialize_field("limit", limit)?,
            Self::Broken | Self::NeedsAnswer | Self::Stopped | Self::ThreadLost => {}
        }
        outcome.end()
    }
}

/// The views of JSON text, verbatim through `serde_json::value::RawValue`, as
/// [`OwnedMessage`](crate::message::OwnedMessage) is. Only serde_json's own serializers support
/// such values.
#[cfg(feature = "serde-json")]
mod verbatim {
    use serde::ser::{Error, Serialize, Serializer};
    use serde_json::value::RawValue;

    use crate::json::Value;
    use crate::message::{Block, Message};

    /// The JSON text, verbatim.
    impl Serialize for Value<'_> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let raw: &RawValue = serde_json::from_str(self.as_json()).map_err(S::Error::custom)?;
            raw.serialize(serializer)
        }
    }

    /// The JSON text, verbatim.
    impl Serialize for Message<'_> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            self.value().serialize(serializer)
        }
    }

    /// The JSON text, verbatim.
    impl Serialize for Block<'_> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            self.value().serialize(serializer)
        }
    }
}
