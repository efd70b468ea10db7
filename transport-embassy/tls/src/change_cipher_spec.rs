use crate::TlsError;

/// A record that middleboxes expect in the handshake, without a meaning in TLS 1.3.
#[derive(Debug, Copy, Clone)]
pub struct ChangeCipherSpec {}

impl ChangeCipherSpec {
    /// Reads the content, which must be the single byte 1 (RFC 8446, section 5).
    pub fn read(rx_buf: &[u8]) -> Result<Self, TlsError> {
        match rx_buf {
            [1] => Ok(Self {}),
            _ => Err(TlsError::InvalidRecord),
        }
    }
}
