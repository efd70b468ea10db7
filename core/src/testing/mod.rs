//! Testing without a network: a model that follows a script, links that break, a clock that only
//! moves when it is waited on, and the check that a transcript is valid. For the tests of this
//! crate and for yours; sans-I/O like the rest.

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
