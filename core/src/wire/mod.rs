//! What goes over the wire, both ways: a request's pieces, a stream's frames, an event's parts.
//!
//! Everything here is a view or a range; nothing is kept but a frame that came in pieces, and that lies in the transcript's tail.

mod base_url;
mod compaction;
mod event;
mod fast;
mod request;
mod sse;
mod words;

pub use base_url::{BaseUrl, base_of};
pub(crate) use compaction::push_for_compaction;
pub(crate) use event::{EventKind, Field, WireKind, json_error, parse, says_error};
pub use request::{API_VERSION, Auth, BASE_URL, Config, MAX_HEADERS, MAX_TOOLS, Pieces};
pub(crate) use request::{PushParams, members, pins_container};
pub(crate) use sse::{Arrived, Source, Sse};
pub(crate) use words::{ErrorWords, error_words};
