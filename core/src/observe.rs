//! What a run tells while it goes on.

use core::time::Duration;

use crate::error::Error;
use crate::json::{Text, Value};
use crate::message::{StopReason, Usage};

/// One thing that happened. All parts are lent.
///
/// A streamed reply and a whole-JSON one give the same events; in the latter a block's text is one
/// piece.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A block begins. In a stream its text or input is still empty.
    BlockStart {
        /// Its place in the message.
        index: usize,
        /// The block as it came.
        block: Value<'a>,
    },
    /// A block is whole.
    BlockStop {
        /// Its place in the message.
        index: usize,
        /// The block as it goes back to the model.
        block: Value<'a>,
    },
    /// A reply ended early after a call of it had started: its complete blocks stay, and the run
    /// goes on with the results after a wait.
    Broken {
        /// How long the run waits before its next request.
        wait: Duration,
        /// Why it ended.
        error: Error,
    },
    /// A citation of a text block.
    Citation {
        /// The block's place in the message.
        index: usize,
        /// The citation.
        citation: Value<'a>,
    },
    /// The conversation was replaced by a summary.
    Compacted {
        /// Bytes of the transcript before.
        before: usize,
        /// Bytes of the transcript now.
        after: usize,
    },
    /// A piece of a summary that the server made.
    Compaction {
        /// The block's place in the message.
        index: usize,
        /// The piece.
        text: Text<'a>,
    },
    /// A piece of a call's input: JSON text, cut anywhere. Of a call without arguments there may be
    /// none.
    Input {
        /// The block's place in the message.
        index: usize,
        /// The piece.
        json: &'a str,
    },
    /// A reply begins.
    MessageStart {
        /// The message as it came: id, model, first usage. In a whole-JSON reply all of it.
        message: Value<'a>,
    },
    /// A reply is whole.
    MessageStop,
    /// A summary came that cannot replace the conversation, which stays as it is: it was cut off,
    /// refused, or has no text.
    NotCompacted {
        /// Why, in words.
        why: &'static str,
    },
    /// The server shows that it is there.
    Ping,
    /// A request goes out.
    Request {
        /// Which turn of the run, from 1.
        turn: u32,
        /// Which try of it, from 1.
        attempt: u32,
    },
    /// A request failed and is sent again after a wait.
    Retry {
        /// Which try failed, from 1.
        attempt: u32,
        /// How long the run waits.
        wait: Duration,
        /// Why.
        error: Error,
        /// The server's message, or on a server the cause of the connection's failure: `could not
        /// connect to …: Connection refused`. Empty if there is nothing to add to `error`. **Text
        /// of others**: it may hold line ends and control characters.
        message: Text<'a>,
        /// The id to name when asking the provider. Empty if there is none.
        request_id: Text<'a>,
    },
    /// A thinking block's signature.
    Signature {
        /// The block's place in the message.
        index: usize,
        /// The signature.
        signature: Text<'a>,
    },
    /// Why the reply ends, and what it cost. It may come more than once in a stream; the last one
    /// counts, and a reason that came stays.
    Stop {
        /// The reason; nothing if the server named none.
        reason: Option<StopReason>,
        /// The turn's usage.
        usage: Usage,
        /// The event as it came; none in a whole-JSON reply.
        raw: Option<Value<'a>>,
    },
    /// A piece of text. It ends between two characters: half of a surrogate pair is held back until
    /// the next piece.
    Text {
        /// The block's place in the message.
        index: usize,
        /// The piece.
        text: Text<'a>,
    },
    /// A piece of thinking.
    Thinking {
        /// The block's place in the message.
        index: usize,
        /// The piece.
        text: Text<'a>,
    },
    /// A call was answered.
    ToolEnd {
        /// The call's id.
        id: Text<'a>,
        /// The tool's name.
        name: Text<'a>,
        /// The result's content: a string or blocks.
        content: Value<'a>,
        /// Whether the tool failed.
        is_error: bool,
    },
    /// A call starts: its gate is asked, if there is one, and then its tool runs. A call that the
    /// gate denies or answers has its [`ToolEnd`](Self::ToolEnd) at once; one that it suspends has
    /// none, and is told again when it is allowed. A call of a declared tool, which is the caller's
    /// to answer, does not start.
    ToolStart {
        /// The call's id.
        id: Text<'a>,
        /// The tool's name.
        name: Text<'a>,
        /// Its input.
        input: Value<'a>,
    },
    /// A delta of an unknown type, or an event of an unknown type in a frame without a name. It
    /// changed nothing. Frames with an unknown name are skipped without being told.
    Unknown {
        /// The event as it came.
        raw: Value<'a>,
    },
}

/// Is told what happens, and cannot change it.
pub trait Observer {
    /// Something happened.
    fn see(&mut self, event: &Event<'_>);

    /// Whether pieces of a reply reach somebody who cannot be made to forget them: then a reply
    /// that breaks off is not asked for again by itself. `()` says no.
    fn hands_on(&self) -> bool {
        true
    }
}

impl Observer for () {
    fn see(&mut self, _: &Event<'_>) {}

    fn hands_on(&self) -> bool {
        false
    }
}

impl<O: Observer + ?Sized> Observer for &mut O {
    fn see(&mut self, event: &Event<'_>) {
        (**self).see(event);
    }

    fn hands_on(&self) -> bool {
        (**self).hands_on()
    }
}

/// Makes an observer of a closure.
#[derive(Debug)]
pub struct Each<F>(pub F);

impl<F: FnMut(&Event<'_>)> Observer for Each<F> {
    fn see(&mut self, event: &Event<'_>) {
        (self.0)(event);
    }
}
