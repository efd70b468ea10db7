//! What a request says besides the conversation: configuration as slices that are already there.
pub struct Auth;
pub struct Config;
pub const MAX_HEADERS: usize = 0;
pub const MAX_TOOLS: usize = 0;
pub struct Pieces;
pub fn check_transportable() {}
