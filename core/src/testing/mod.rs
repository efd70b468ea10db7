//! Tests without a network: a model that follows a script, links with faults, a clock whose time
//! advances only when it is waited on, inputs that are generated from a tool's schema, requests as
//! text, and a check that a transcript is valid. It serves the tests of this crate and yours. Like
//! the rest of the crate, it does no I/O.

mod clock;
mod demo;
pub mod http1;
mod inputs;
mod link;
mod model;
mod render;
mod request;
mod script;
mod show;
mod text;
mod thread;
mod transport;
pub mod validity;

pub use clock::VirtualClock;
pub use inputs::{GeneratedInput, InputKind, Inputs, NoInputs, inputs};
pub use link::{BadLink, Delivery, Rng};
pub use model::{Response, ScriptedModel};
pub use render::Style;
pub use request::Request;
pub use script::{Answer, Chunk, Script, ScriptedReply};
pub use show::Conversation;
pub use thread::ThreadSupport;
pub use transport::{Fault, ScriptedBody, ScriptedTransport};
