//! What goes over the wire, both ways: a request's pieces, a stream's frames, an event's parts.
//!
//! Everything here is a view or a range; nothing is kept but a frame that came in pieces, and that
//! lies in the transcript's tail.
//!
//! # Gateways
//! Many servers emulate the Messages API, and few send exactly what it sends. This is how a reply
//! is read where they differ. Each row is pinned by a scenario in `tests/scenarios/gateway-*`. The
//! rows on events are about streams; all others hold for both forms.
//!
//! | What comes | What is made of it |
//! |---|---|
//! | A frame with a name | The name of an event that the API does not have: the frame is skipped, and its data is not parsed. Otherwise the JSON's `type` says which event it is, and otherwise the frame's name. `ping`, `error` and `message_stop` need no valid data. |
//! | A frame without a name, or with the standard's name `message` | The JSON's `type` says which event it is. Once a stream has named an event of a message (`message_*`, `content_block_*`), frames without a name are skipped, unless they report an error. |
//! | `message_start`, `content_block_stop` again | Ignored. |
//! | `message_delta` again | What it has replaces what came before; what it lacks, or has as `null`, stays. |
//! | An error: `event: error` with any data, or an object with an `error`, or with a `type` that ends in `_error` | [`Error::Api`](crate::error::Error::Api) of status 200, with the server's words. The request is sent again only if the type is `overloaded_error`, `api_error`, `rate_limit_error` or `timeout_error`. |
//! | The stream ends, or says `[DONE]`, without `message_stop` | The reply is complete if it has a stop reason and no open block. Otherwise `[DONE]` is ignored, and the end is [`Protocol::EndedEarly`](crate::error::Protocol::EndedEarly). |
//! | An event without an `index` | It is about the only open block. A block that starts gets the next index. |
//! | An `index` again, after its block has ended | A new block. [`Event`](crate::observe::Event)s give the block's place in the message, whatever the stream's index. |
//! | A text delta while no block is open | It opens a text block. |
//! | Half of a surrogate pair at the end of a delta | Events hold it back until the other half comes. A half without another reads as U+FFFD. |
//! | A message without `role` | It is the assistant's. |
//! | A whole reply whose `content` is `null` or a string | No content; one text block. |
//! | A call's `input` that is missing, `null` or `""`, without deltas | `{}`. |
//! | A call's `input` that is a string with the JSON of an object | That object, which is also what goes back. |
//! | A block with two `type`s that differ | [`Protocol::Event`](crate::error::Protocol::Event): readers would disagree on what it is. |
//! | JSON of status 200 without `content` | The server's error if it has a `message` or a `detail`; otherwise [`Protocol::NotAMessage`](crate::error::Protocol::NotAMessage), and [`error_body`](crate::run::Run::error_body) shows what came. Neither is sent again. |
//! | A byte order mark; fields that no event stream has | Ignored. |
//! | A call's id that an earlier turn used | It goes back unchanged: a server that repeats ids accepts them. [`Run::unique_ids`](crate::run::Run::unique_ids) renames such calls, for a conversation that is sent elsewhere. |
//! | A base URL that ends in `/v1` or `/v1/messages` | See [`base_of`]. |
//!
//! Some things stay as strict as the API and the official clients are:
//!
//! | What comes | What is made of it |
//! |---|---|
//! | A delta of a kind that its block does not have: `thinking_delta` in a text block, `text_delta` in a call | `Protocol::Event`, and the request is sent again. No tool runs. |
//! | One call's id twice in one reply | The same. |
//! | `end_turn` with a call | The run ends and the call does not run. It is answered as not run when the conversation goes on. |
//! | `tool_use` without a call | The run ends with that reply. |
//! | `"5"` for a number, `null` for an argument that may be missing | An error result, from which the model corrects itself. Tools may be lenient: `#[tool(lenient)]`, `RawTool::lenient`. |
//! | A `tool_choice` that forces a call | It is sent with every request, so the run ends only at a limit: set one. |

mod base_url;
mod compaction;
mod config;
mod event;
mod fast;
mod request;
mod sse;
mod words;

pub use base_url::{BaseUrl, base_of};
pub use compaction::ServerCompaction;
pub(crate) use config::members;
pub use config::{API_VERSION, Auth, BASE_URL, Config, MAX_HEADERS};
pub(crate) use event::{EventKind, Field, WireKind, json_error, parse, says_error};
pub use request::{Front, MAX_TOOLS, OWN_MEMBERS, Pieces};
pub(crate) use sse::{Arrived, Source, Sse};
pub(crate) use words::{ErrorWords, error_words};
