use crate::extensions::messages::EncryptedExtensionsExtension;

use crate::TlsError;
use crate::parse_buffer::ParseBuffer;

#[derive(Debug)]
pub struct EncryptedExtensions;

impl EncryptedExtensions {
    pub fn parse(buf: &mut ParseBuffer) -> Result<EncryptedExtensions, TlsError> {
        EncryptedExtensionsExtension::parse_vector::<16>(buf)?;
        Ok(EncryptedExtensions)
    }
}
