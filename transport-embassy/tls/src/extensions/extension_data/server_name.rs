use crate::parse_buffer::{ParseBuffer, ParseError};

// RFC 6066, Section 3.  Server Name Indication
// A server that receives a client hello containing the "server_name"
// extension [..].  In this event, the server
// SHALL include an extension of type "server_name" in the (extended)
// server hello.  The "extension_data" field of this extension SHALL be
// empty.
#[derive(Debug)]
pub struct ServerNameResponse;

impl ServerNameResponse {
    pub fn parse(buf: &mut ParseBuffer) -> Result<Self, ParseError> {
        if buf.is_empty() {
            Ok(Self)
        } else {
            Err(ParseError::InvalidData)
        }
    }
}
