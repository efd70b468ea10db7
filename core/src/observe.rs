//! The events of a run, and the observers that receive them.

use core::time::Duration;

use crate::error::Error;
use crate::json::{Text, Value};
use crate::message::{StopReason, Usage};

/// One event of a run. All parts are borrowed.
///
/// A streamed reply and a reply in one JSON document produce the same events; in the latter case
/// the text of a block is one piece.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A block begins. In a stream its text or input is still empty.
    BlockStart {
        /// The block's index in the message.
        index: usize,
        /// The block as it was received.
        block: Value<'a>,
    },
    /// A block is complete.
    BlockStop {
        /// The block's index in the message.
        index: usize,
        /// The block as it is sent back to the model.
        block: Value<'a>,
    },
    /// A reply broke off after one of its calls had started. Its complete blocks stay in the
    /// conversation, and the run continues with the results after a delay.
    Broken {
        /// The delay before the next request.
        wait: Duration,
        /// The reason why the reply broke off.
        error: Error,
    },
    /// A citation in a text block.
    Citation {
        /// The block's index in the message.
        index: usize,
        /// The citation.
        citation: Value<'a>,
    },
    /// A summary replaced the conversation.
    Compacted {
        /// The length of the transcript before, in bytes.
        before: usize,
        /// The length of the transcript now, in bytes.
        after: usize,
    },
    /// A piece of a summary that the server generates.
    Compaction {
        /// The block's index in the message.
        index: usize,
        /// The piece.
        text: Text<'a>,
    },
    /// A piece of a call's input: JSON text, cut at any position. A call without arguments may have
    /// no piece.
    Input {
        /// The block's index in the message.
        index: usize,
        /// The piece.
        json: &'a str,
    },
    /// A reply begins.
    MessageStart {
        /// The message as it was received, with its id, model and first usage. For a reply in one
        /// JSON document it is the whole message.
        message: Value<'a>,
    },
    /// A reply is complete.
    MessageStop,
    /// A summary was received but does not replace the conversation, which stays as it was: the
    /// summary was cut off, was refused, or contains no text.
    NotCompacted {
        /// The reason, in words.
        why: &'static str,
    },
    /// The server sent a keep-alive event.
    Ping,
    /// A request is about to be sent.
    Request {
        /// The number of the turn in this run, starting at 1.
        turn: u32,
        /// The number of the attempt in this turn, starting at 1.
        attempt: u32,
    },
    /// A request failed and is sent again after a delay.
    Retry {
        /// The number of the attempt that failed, starting at 1.
        attempt: u32,
        /// The delay before the next attempt.
        wait: Duration,
        /// The error of the failed attempt.
        error: Error,
        /// The server's message, or with the server transport the cause of a connection failure:
        /// `could not connect to …: Connection refused`. Empty if there is nothing to add to
        /// `error`. **This text is not trusted**: it may contain line breaks and control
        /// characters.
        message: Text<'a>,
        /// The id to quote when you contact the provider. Empty if there is none.
        request_id: Text<'a>,
    },
    /// The signature of a thinking block.
    Signature {
        /// The block's index in the message.
        index: usize,
        /// The signature.
        signature: Text<'a>,
    },
    /// The stop reason of the reply, and its usage. A stream may contain several of these events.
    /// The last one counts, but a reason that was received stays.
    Stop {
        /// The stop reason, or `None` if the server has not named one.
        reason: Option<StopReason>,
        /// The turn's usage.
        usage: Usage,
        /// The event as it was received, or `None` for a reply in one JSON document.
        raw: Option<Value<'a>>,
    },
    /// A piece of text. It ends at a character boundary: half of a surrogate pair is held back
    /// until the next piece.
    Text {
        /// The block's index in the message.
        index: usize,
        /// The piece.
        text: Text<'a>,
    },
    /// A piece of thinking.
    Thinking {
        /// The block's index in the message.
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
        /// Whether the call failed.
        is_error: bool,
    },
    /// A call starts: its gate decides, if there is one, and then its tool runs. For a call that
    /// the gate denies or answers, [`ToolEnd`](Self::ToolEnd) follows immediately. A call that the
    /// gate suspends has no `ToolEnd`, and produces another `ToolStart` when it is allowed. A call
    /// of a declared tool, which the caller must answer, does not start.
    ToolStart {
        /// The call's id.
        id: Text<'a>,
        /// The tool's name.
        name: Text<'a>,
        /// The input of the call.
        input: Value<'a>,
    },
    /// A delta of an unknown type, or an event of an unknown type in a frame without a name. It has
    /// no effect. Frames with an unknown name are skipped without an event.
    Unknown {
        /// The event as it was received.
        raw: Value<'a>,
    },
}

/// Receives the events of a run. It cannot change the run.
pub trait Observer {
    /// Receives one event.
    fn see(&mut self, event: &Event<'_>);

    /// Returns whether this observer passes pieces of a reply on to someone who cannot be made to
    /// forget them. If so, a reply that breaks off is not requested again automatically. The
    /// default is `true`; `()` returns `false`.
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

/// An observer that calls a closure with each event.
#[derive(Debug)]
pub struct FnObserver<F>(pub F);

impl<F: FnMut(&Event<'_>)> Observer for FnObserver<F> {
    fn see(&mut self, event: &Event<'_>) {
        (self.0)(event);
    }
}
