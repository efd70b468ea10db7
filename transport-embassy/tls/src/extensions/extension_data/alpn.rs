use crate::parse_buffer::{ParseBuffer, ParseError};

/// ALPN protocol name list per RFC 7301, Section 3.1.
///
/// Wire format:
/// ```text
/// opaque ProtocolName<1..2^8-1>;
///
/// struct {
///     ProtocolName protocol_name_list<2..2^16-1>
/// } ProtocolNameList;
/// ```
#[derive(Debug)]
pub struct AlpnProtocolNameList;

impl AlpnProtocolNameList {
    pub fn parse(buf: &mut ParseBuffer) -> Result<Self, ParseError> {
        let list_len = buf.read_u16()? as usize;
        let mut list_buf = buf.slice(list_len)?;

        while !list_buf.is_empty() {
            let name_len = list_buf.read_u8()? as usize;
            if name_len == 0 {
                return Err(ParseError::InvalidData);
            }
            list_buf.slice(name_len)?;
        }

        Ok(Self)
    }
}
