//! Numbers that `core::fmt` and core's float parser would make large (and able to panic).

use super::Sink;
use crate::error::Capacity;

/// Reads a JSON number.
pub fn parse_f64(_text: &[u8]) -> Option<f64> {
    None
}

/// Writes a number so that it reads back as the same.
///
/// # Errors
/// The sink's.
pub fn write_f64<S: Sink + ?Sized>(_number: f64, _sink: &mut S) -> Result<(), Capacity> {
    Ok(())
}

/// Writes a number so that it reads back as the same.
///
/// # Errors
/// The sink's.
pub fn write_f32<S: Sink + ?Sized>(_number: f32, _sink: &mut S) -> Result<(), Capacity> {
    Ok(())
}
