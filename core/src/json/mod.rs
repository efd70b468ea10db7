//! JSON over bytes that are already there: checked once, then read lazily, in place.
//!
//! Nothing here allocates, recurses or panics. [`check`] is the grammar (RFC 8259, nesting at most
//! [`MAX_DEPTH`]); [`Value`] and [`Text`] are views over checked bytes that find a member, or
//! unescape a string, when asked. On bytes that were not checked the views give `None` or nonsense,
//! never a panic.

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
