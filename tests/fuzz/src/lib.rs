//! The fuzz targets, for libFuzzer and for the stable harness. A target panics when its property is
//! violated.

pub mod choices;
pub mod mutate;
pub mod replies;
pub mod targets;

/// A target: its name, and its function of an input.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 9] = [
    ("json", targets::json::run),
    ("sse", targets::sse::run),
    ("events", targets::events::run),
    ("transcript", targets::transcript::run),
    ("schema", targets::schema::run),
    ("snapshot", targets::snapshot::run),
    ("machine", targets::machine::run),
    ("c", targets::c::run),
    ("certificate", targets::certificate::run),
];
