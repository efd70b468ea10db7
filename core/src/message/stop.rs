//! The reasons why a turn ends.

use crate::json::Text;

macro_rules! stop_reasons {
    ($($(#[$doc:meta])* $variant:ident $text:literal,)*) => {
        /// The reason why a turn ended.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[cfg_attr(feature = "defmt", derive(defmt::Format))]
        #[non_exhaustive]
        pub enum StopReason { $($(#[$doc])* $variant,)* /// A stop reason that is not listed. The run ends, and no tool runs.
            Unknown }

        impl StopReason {
            /// Returns the stop reason that `text` names, or `Unknown` if it is not listed.
            pub fn from_text(text: Text<'_>) -> Self {
                // A table, because it needs less code than a comparison for each reason.
                let mut known = [$(Self::$variant),*].into_iter();
                known.find(|reason| text == *reason.name()).unwrap_or(Self::Unknown)
            }

            /// Returns the stop reason as the API writes it, or `unknown` if it is not listed.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)* Self::Unknown => "unknown" }
            }
        }
    };
}

stop_reasons! {
    /// The server ended the turn to compact the conversation. The run sends the reply back
    /// unchanged.
    Compaction "compaction",
    /// The model finished its reply.
    EndTurn "end_turn",
    /// The reply reached `max_tokens`.
    MaxTokens "max_tokens",
    /// The context window is full.
    ModelContextWindowExceeded "model_context_window_exceeded",
    /// A server tool is running for a long time. The run sends the reply back unchanged, and the
    /// model continues.
    PauseTurn "pause_turn",
    /// The model refused to answer.
    Refusal "refusal",
    /// The model produced one of the caller's stop sequences.
    StopSequence "stop_sequence",
    /// The model waits for the results of its calls.
    ToolUse "tool_use",
}

impl core::fmt::Display for StopReason {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name())
    }
}
