use crate::parse_buffer::{ParseBuffer, ParseError};

#[derive(Debug)]
pub struct SupportedVersionsServerHello;

impl SupportedVersionsServerHello {
    pub fn parse(buf: &mut ParseBuffer) -> Result<Self, ParseError> {
        let _selected_version = buf.read_u16()?;

        Ok(Self)
    }
}
