//! Tests without a network: a model that follows a script, links with faults, a clock whose time
//! advances only when it is waited on, and a check that a transcript is valid. It serves the tests
//! of this crate and yours, and does no I/O like the rest of the crate.

mod clock;
mod demo;
pub mod http1;
mod link;
mod model;
mod render;
mod request;
mod script;
mod text;
mod transport;
pub mod validity;

pub use clock::VirtualClock;
pub use link::{BadLink, Carried, Rng};
pub use model::{Response, ScriptedModel};
pub use render::Style;
pub use request::Request;
pub use script::{Answer, Chunk, Reply, Script};
pub use transport::{Fault, ScriptedBody, ScriptedError, ScriptedTransport};
