use crate::TlsError;
use crate::extensions::messages::NewSessionTicketExtension;
use crate::parse_buffer::ParseBuffer;

#[derive(Debug)]
pub struct NewSessionTicket;

impl NewSessionTicket {
    pub fn parse(buf: &mut ParseBuffer) -> Result<NewSessionTicket, TlsError> {
        let _lifetime = buf.read_u32()?;
        let _age_add = buf.read_u32()?;

        let nonce_length = buf.read_u8()?;
        buf.slice(nonce_length as usize)
            .map_err(|_| TlsError::InvalidNonceLength)?;

        let ticket_length = buf.read_u16()?;
        buf.slice(ticket_length as usize)
            .map_err(|_| TlsError::InvalidTicketLength)?;

        NewSessionTicketExtension::parse_vector::<1>(buf)?;

        Ok(Self)
    }
}
