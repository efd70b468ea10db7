//! The wire format in both directions: the pieces of a request, the frames of a stream and the
//! parts of an event.
//!
//! Everything in this module is a view or a range. The only data that it stores is a frame that
//! arrived in pieces, in the transcript's tail.
//!
//! # Gateways
//! Many servers emulate the Messages API, and few send exactly what it sends. The tables describe
//! how different replies are read. A scenario in `tests/scenarios/gateway-*` tests each row. The
//! rows about events concern streams; all other rows concern both forms of reply.
//!
//! | Input | Interpretation |
//! |---|---|
//! | A frame with a name | If the API has no event with this name, the frame is skipped and its data is not parsed. Otherwise the `type` in the JSON determines the event, or else the frame's name. `ping`, `error` and `message_stop` need no valid data. |
//! | A frame without a name, or with the standard's default name `message` | The `type` in the JSON determines the event. Once a stream has named an event of a message (`message_*`, `content_block_*`), frames without a name are skipped, unless they report an error. |
//! | A repeated `message_start` or `content_block_stop`, or `content_block_start` before a delta | Ignored. |
//! | A repeated `message_delta` | Its values replace the earlier ones. A value that is missing, `null` or `""` stays unchanged. |
//! | An error: `event: error` with any data, or an object with an `error` that is not empty or with a `type` that ends in `_error` | [`Error::Api`](crate::error::Error::Api) with status 200 and the server's text. The request is sent again only if the type is `overloaded_error`, `api_error`, `rate_limit_error` or `timeout_error`. |
//! | The stream ends, or sends `[DONE]`, without `message_stop` | The reply is complete if it has a stop reason and no open block. Otherwise `[DONE]` is ignored, and the end is [`Protocol::EndedEarly`](crate::error::Protocol::EndedEarly). |
//! | An event without an `index` | It concerns the only open block. A block that starts gets the next index. |
//! | A repeated `index` after its block has ended | A new block. [`Event`](crate::observe::Event)s contain the block's position in the message, not the stream's index. |
//! | A text delta while no block is open | It opens a text block. |
//! | Half of a surrogate pair at the end of a delta | Events hold it back until the other half arrives. An unpaired half reads as U+FFFD. |
//! | A message without `role` | A message of the assistant. |
//! | A whole reply whose `content` is `null` or a string | No content for `null`, one text block for a string. |
//! | A call whose `input` is missing, `null` or `""`, without deltas | `{}`. |
//! | A call whose `input` is a string that contains the JSON of an object | That object, which is also sent back. |
//! | A block with two different `type`s | [`Protocol::Event`](crate::error::Protocol::Event), because readers would disagree on the block's kind. |
//! | JSON with status 200 and without `content` | The server's error if it has a `message` or a `detail`; otherwise [`Protocol::NotAMessage`](crate::error::Protocol::NotAMessage), and [`error_body`](crate::run::Run::error_body) returns the text. The request is not sent again in either case. |
//! | A byte order mark, or fields that no event stream has | Ignored. |
//! | A call with the id of a call in an earlier turn | It is sent back unchanged, because a server that repeats ids accepts them. [`Run::set_unique_ids`](crate::run::Run::set_unique_ids) renames such calls for a conversation that is sent to another server. |
//! | A base URL that ends with `/v1` or `/v1/messages` | The ending is removed, because every request appends it. |
//!
//! Without the feature `gateways`, these rows change: blocks that overlap are
//! [`CapacityKind::OpenBlocks`](crate::error::CapacityKind::OpenBlocks), a block that starts twice
//! or not at all is `Protocol::Event`, `[DONE]` is ignored, an error event that the stream cuts off
//! is `Protocol::EndedEarly`, and a string as the input of a call is answered with an error result.
//!
//! In other cases the rules are as strict as those of the API and the official clients:
//!
//! | Input | Interpretation |
//! |---|---|
//! | A delta of a kind that its block does not support: `thinking_delta` in a text block, `text_delta` in a call | `Protocol::Event`, and the request is sent again. No tool runs. |
//! | Two calls with the same id in one reply | `Protocol::Event`, and the request is sent again. No tool runs. |
//! | `end_turn` with a call | The run ends and the call does not run. When the conversation continues, its result is that it did not run. |
//! | `tool_use` without a call | The run ends with that reply. |
//! | `"5"` for a number, `null` for an optional argument | An error result, so that the model corrects its input. Tools may be lenient: `#[tool(lenient)]`, `RawTool::lenient`. |
//! | A `tool_choice` that forces a call | It is sent with every request, so the run ends only at a limit. Set one. |

pub(crate) mod base_url;
pub(crate) mod compaction;
mod config;
mod event;
mod fast;
pub(crate) mod kinds;
pub(crate) mod request;
mod sse;
pub(crate) mod thread;
mod words;

pub(crate) use base_url::base_of;
pub(crate) use compaction::ServerCompaction;
pub use config::{Auth, Config};
pub(crate) use event::{
    CONTENT, COUNTS, DELTA_ENDING, ENCRYPTED, EventKind, MESSAGE_ENDING, Parts, WHOLE, WHOLE_ERROR,
    Wire, json_error, parse, says_error,
};
pub(crate) use kinds::{FIELDS, Field, Growth, MEMBERS, MOST_FIELDS, deltas};
pub(crate) use request::{Front, Pieces};
pub(crate) use sse::{Source, Sse, SseItem};
pub use thread::MessageThread;
pub(crate) use thread::ThreadContinuation;
pub(crate) use words::{ErrorWords, error_words};
