use crate::TlsError;
use crate::extensions::messages::CertificateExtension;
use crate::parse_buffer::ParseBuffer;
use heapless::Vec;

#[derive(Debug)]
pub struct CertificateRef<'a> {
    /// The certificates in DER, the server's first.
    pub entries: Vec<&'a [u8], 16>,
}

impl<'a> CertificateRef<'a> {
    pub fn parse(buf: &mut ParseBuffer<'a>) -> Result<Self, TlsError> {
        let request_context_len = buf.read_u8().map_err(|_| TlsError::InvalidCertificate)?;
        buf.slice(request_context_len as usize)
            .map_err(|_| TlsError::InvalidCertificate)?;
        let entries_len = buf.read_u24().map_err(|_| TlsError::InvalidCertificate)?;
        let mut raw_entries = buf
            .slice(entries_len as usize)
            .map_err(|_| TlsError::InvalidCertificate)?;

        let mut entries = Vec::new();
        while !raw_entries.is_empty() {
            entries
                .push(parse_entry(&mut raw_entries)?)
                .map_err(|_| TlsError::DecodeError)?;
        }

        Ok(Self { entries })
    }
}

fn parse_entry<'a>(buf: &mut ParseBuffer<'a>) -> Result<&'a [u8], TlsError> {
    let entry_len = buf
        .read_u24()
        .map_err(|_| TlsError::InvalidCertificateEntry)?;
    let cert = buf
        .slice(entry_len as usize)
        .map_err(|_| TlsError::InvalidCertificateEntry)?;

    // Validate extensions
    CertificateExtension::parse_vector::<2>(buf)?;

    Ok(cert.as_slice())
}
