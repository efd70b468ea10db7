//! JSON text in memory: checked once, then read lazily and in place.
//!
//! Nothing in this module allocates, recurses or panics. [`check`] checks the grammar (RFC 8259,
//! nested at most [`MAX_DEPTH`] levels). [`Value`] and [`Text`] are views of checked bytes that
//! find a member or unescape a string on demand. For bytes that were not checked, the views return
//! `None` or a wrong value, but never panic.

mod big;
mod check;
mod number;
mod scan;
mod text;
mod value;
mod write;

pub use check::{Checked, JsonError, MAX_DEPTH, check};
pub(crate) use check::{MESSAGE_DEPTH, SNAPSHOT_DEPTH, Walk, check_to, hex4};
pub(crate) use number::{compare, is_integer, is_multiple, parse_integer, parse_small_integer};
pub use number::{parse_f64, write_f32, write_f64};
pub(crate) use scan::{copy, copy_down, is_ascii, line_end, plain_run, plain_run_seen, skip_space};
pub(crate) use text::{Each, chars, number_parts, same, text_parts};
pub use text::{Piece, Pieces, Text};
pub(crate) use value::means;
pub use value::{Array, Kind, Object, Value};
pub use write::{Decimal, Escaped, Sink, escape};
