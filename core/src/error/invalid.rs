//! What is wrong with messages that the API would refuse, and where.

use core::fmt;

/// A message that the API would refuse, and why.
///
/// `Display` writes the place as the API's own errors do: `messages.1.content.0: this call has no
/// result in the next message`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Invalid {
    /// The message, counted from 0 among those that were checked.
    pub message: usize,
    /// The block of its content, counted from 0. `None` if the rule is about the message as a
    /// whole.
    pub block: Option<usize>,
    /// The rule that it breaks.
    pub rule: Rule,
}

macro_rules! rules {
    ($($(#[$doc:meta])* $variant:ident $text:literal,)*) => {
        /// A rule of the Messages API for a conversation. A request that breaks one is refused,
        /// however often it is sent.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[cfg_attr(feature = "defmt", derive(defmt::Format))]
        #[non_exhaustive]
        pub enum Rule { $($(#[$doc])* $variant,)* }

        impl Rule {
            /// What is wrong, in words.
            pub const fn text(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}

rules! {
    /// A call has one result.
    AnsweredTwice "this call has a result already",
    /// A message is not only white space.
    Blank "the text must not be only white space",
    /// A block is an object with a `type`.
    Block "expected an object with a type",
    /// The input of a call is an object.
    CallInput "the input of a call must be an object",
    /// A content is a string, or an array of blocks.
    Content "expected a content that is a string or an array",
    /// The calls of a message have different ids, and a caller does not append a call with an id
    /// that is in use.
    DuplicateId "another call has this id",
    /// A content is not empty.
    EmptyContent "the content must not be empty",
    /// A result is not empty, and neither is a text block in it. Only a tool that succeeded may
    /// return the empty string.
    EmptyResult "the result must not be empty",
    /// A text block is not empty.
    EmptyText "a text block must not be empty",
    /// The result of a failed call is text.
    ErrorNotText "the result of a failed call must be text only",
    /// A message is JSON, with a comma between it and the next, and not nested deeper than 130
    /// levels.
    Json "expected a JSON object, with commas between objects",
    /// No string has half of a surrogate pair.
    LoneSurrogate "half of a surrogate pair is not text",
    /// A message is an object.
    Message "expected an object",
    /// Calls and thinking are the assistant's, results the user's, changes of tools the system's.
    Misplaced "a message of this role must not have such a block",
    /// A call has an id and a name.
    NamelessCall "a call must have an id and a name",
    /// A result answers a call of the assistant message before it.
    Orphan "this result has no call in the message before",
    /// Results come before any other block.
    ResultsFirst "results must come before other blocks",
    /// The role is `user`, `assistant` or `system`.
    Role "the role must be user, assistant or system",
    /// A system message follows another message.
    SystemFirst "the first message must not be a system message: give the system prompt as a parameter",
    /// An assistant message does not end in thinking.
    ThinkingLast "an assistant message must not end in thinking",
    /// Text that the model is to continue does not end in white space.
    TrailingSpace "the model cannot continue a text that ends in white space",
    /// Every call is answered in the user message that follows.
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
