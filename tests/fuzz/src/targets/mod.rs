//! The targets.

pub mod c;
pub mod certificate;
pub mod events;
pub mod json;
pub mod machine;
pub mod schema;
pub mod snapshot;
pub mod sse;
pub mod transcript;
