use crate::parse_buffer::{ParseBuffer, ParseError};

/// An extension whose content is not read.
#[derive(Debug)]
pub struct Unimplemented;

impl Unimplemented {
    #[allow(clippy::unnecessary_wraps)]
    pub fn parse(_buf: &mut ParseBuffer) -> Result<Self, ParseError> {
        Ok(Self)
    }
}
