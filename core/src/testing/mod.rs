//! Testing without a network: a model that follows a script, links that break, a clock that only moves when it is waited on, and the
//! check that a transcript is valid. For the tests of this crate and for yours; sans-I/O like the rest.

pub mod validity;
