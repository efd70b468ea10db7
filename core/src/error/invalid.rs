//! Messages that the API would refuse: the rule that is broken, and the position.

use core::fmt;

use super::{line, lines};

/// A message that the API would refuse, and the rule that it breaks.
///
/// `Display` writes the position in the same form as the API's own errors: `messages.1.content.0:
/// this call has no result in the next message`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Invalid {
    /// The index of the message among the messages that were checked, counted from 0.
    pub message: usize,
    /// The index of the block in the message's content, counted from 0. `None` if the rule concerns
    /// the whole message.
    pub block: Option<usize>,
    /// The rule that the message breaks.
    pub rule: Rule,
}

macro_rules! rules {
    ($($(#[$doc:meta])* $variant:ident $text:literal,)*) => {
        /// A rule of the Messages API for conversations. The API refuses a request that breaks a
        /// rule, no matter how often the request is sent.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[cfg_attr(feature = "defmt", derive(defmt::Format))]
        #[non_exhaustive]
        pub enum Rule { $($(#[$doc])* $variant,)* }

        impl Rule {
            /// Returns the text that describes the violation.
            pub const fn text(self) -> &'static str {
                line(lines!($($text)*), self as u8)
            }
        }
    };
}

rules! {
    /// A call must have exactly one result.
    AnsweredTwice "this call already has a result",
    /// A message must not consist of white space only.
    Blank "the text must not be only white space",
    /// A block must be an object with a `type`.
    Block "expected an object with a type",
    /// The input of a call must be an object.
    CallInput "the input of a call must be an object",
    /// The content must be a string or an array of blocks.
    Content "the content must be a string or an array",
    /// The calls of a message must have different ids. A call that the caller appends must not
    /// reuse an id that is already in use.
    DuplicateId "another call has this id",
    /// The content must not be empty.
    EmptyContent "the content must not be empty",
    /// A result must not be empty, and neither must a text block in it. Only a tool that succeeded
    /// may return the empty string.
    EmptyResult "the result must not be empty",
    /// A text block must not be empty.
    EmptyText "a text block must not be empty",
    /// The result of a failed call must consist of text.
    ErrorNotText "the result of a failed call must be text only",
    /// The messages must be JSON, separated by commas, and nested at most 125 levels deep.
    Json "expected a JSON object, with commas between objects",
    /// A string must not contain an unpaired surrogate.
    LoneSurrogate "unpaired surrogate in a string",
    /// A message must be an object.
    Message "expected an object",
    /// Only the assistant may have calls and thinking, only the user results, and only the system
    /// tool changes.
    Misplaced "a message of this role must not contain this block",
    /// A call must have an id and a name.
    NamelessCall "a call must have an id and a name",
    /// A result must answer a call of the preceding assistant message.
    Orphan "this result has no call in the previous message",
    /// Results must come before all other blocks.
    ResultsFirst "results must come before other blocks",
    /// The role must be `user`, `assistant` or `system`.
    Role "the role must be user, assistant or system",
    /// A system message must follow another message.
    SystemFirst "the first message must not be a system message: pass the system prompt as a parameter",
    /// An assistant message must not end with thinking.
    ThinkingLast "an assistant message must not end in thinking",
    /// Text that the model is to continue must not end with white space.
    TrailingSpace "the model cannot continue a text that ends in white space",
    /// Every call must have a result in the next user message.
    Unanswered "this call has no result in the next message",
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "messages.{}", self.message)?;
        if let Some(block) = self.block {
            write!(f, ".content.{block}")?;
        }
        write!(f, ": {}", self.rule.text())
    }
}

impl core::error::Error for Invalid {}
