//! JSON text in memory: checked once, then read lazily and in place.
//!
//! Nothing in this module allocates, recurses or panics. [`Value::parse`] checks the grammar (RFC
//! 8259, nested at most 122 levels). [`Value`] and [`Text`] are views of checked bytes that find a
//! member or unescape a string on demand. For bytes that were not checked, the views return `None`
//! or a wrong value, but never panic.

mod big;
mod bits;
pub(crate) mod check;
pub(crate) mod number;
mod scan;
pub(crate) mod text;
mod value;
pub(crate) mod write;

pub(crate) use bits::Bits;
pub use check::JsonError;
pub(crate) use check::{
    MESSAGE_DEPTH, SNAPSHOT_DEPTH, Step, Walk, check, check_members, check_string, check_to, hex4,
};
pub(crate) use number::{
    compare, is_integer, is_multiple, parse_f64, parse_integer, parse_small_integer, write_f32,
    write_f64,
};
pub(crate) use scan::{
    IS_CHIP, copy, copy_down, is_ascii, line_end, may_mention, plain_run, plain_run_seen,
    skip_space,
};
pub use text::Text;
pub(crate) use text::{
    PartFn, Piece, chars, count_parts, join, number_parts, same, text_parts, unescape, write_parts,
};
pub use value::{Array, Kind, Object, Value};
pub(crate) use value::{TYPE_NAMES, means, meant};
#[cfg(feature = "alloc")]
pub(crate) use write::quoted;
pub(crate) use write::{Decimal, Sink, escape};
