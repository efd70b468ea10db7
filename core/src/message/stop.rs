//! Why a turn ended.

use crate::json::Text;

macro_rules! stop_reasons {
    ($($(#[$doc:meta])* $variant:ident $text:literal,)*) => {
        /// Why a turn ended.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[cfg_attr(feature = "defmt", derive(defmt::Format))]
        #[non_exhaustive]
        pub enum StopReason { $($(#[$doc])* $variant,)* /// One that is not listed: the run ends and no tool runs.
            Unknown }

        impl StopReason {
            /// The stop reason that a JSON string names.
            pub fn from_text(text: Text<'_>) -> Self {
                $(if text == *$text { return Self::$variant; })*
                Self::Unknown
            }

            /// The name on the wire; `unknown` for one that is not listed.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)* Self::Unknown => "unknown" }
            }
        }
    };
}

stop_reasons! {
    /// The turn was ended by a compaction of the conversation; the reply is sent back unchanged.
    Compaction "compaction",
    /// The model has said all.
    EndTurn "end_turn",
    /// The reply reached `max_tokens`.
    MaxTokens "max_tokens",
    /// The context window is full.
    ModelContextWindowExceeded "model_context_window_exceeded",
    /// A server tool runs long; the reply is sent back unchanged and the model goes on.
    PauseTurn "pause_turn",
    /// The model declined.
    Refusal "refusal",
    /// One of the caller's stop sequences came.
    StopSequence "stop_sequence",
    /// The model waits for the results of its calls.
    ToolUse "tool_use",
}

impl core::fmt::Display for StopReason {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name())
    }
}
