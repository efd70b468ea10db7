//! The buffers of a link with TLS.

/// Every buffer of a transport with TLS, for a `static`.
///
/// * `BUFFER`: as in [`crate::Resources`].
/// * `RECORD_IN`: a TLS record is decrypted in place and must fit whole. A server may send up to
///   16,640 bytes, and the large ones do. With less, the client asks for records of 4 KiB at most
///   (`max_fragment_length`); 4,352 bytes then do with a server that heeds it (OpenSSL does, others
///   do not), and with one that does not a reply ends with `Capacity` (`What::Record`), which says
///   how large the record is.
/// * `RECORD_OUT`: what is sent is encrypted in pieces of this size less 128 bytes. Must hold the
///   first message of the handshake, 174 bytes and the host's name; with less, no connection is
///   made and the error is `Capacity` (`What::Record`). Larger saves 22 bytes on the wire for each
///   piece.
#[derive(Debug)]
pub struct Resources<
    const BUFFER: usize = 1024,
    const RECORD_IN: usize = 16_640,
    const RECORD_OUT: usize = 1024,
> {
    /// The buffer of the link, for [`super::Secure::new`].
    pub buffer: [u8; BUFFER],
    record_in: [u8; RECORD_IN],
    record_out: [u8; RECORD_OUT],
}

/// The record buffers, for [`session`](super::session).
#[derive(Debug)]
pub struct Records<'a> {
    pub(crate) read: &'a mut [u8],
    pub(crate) write: &'a mut [u8],
}

impl<const BUFFER: usize, const RECORD_IN: usize, const RECORD_OUT: usize>
    Resources<BUFFER, RECORD_IN, RECORD_OUT>
{
    /// Buffers, all zero.
    pub const fn new() -> Self {
        Self { buffer: [0; BUFFER], record_in: [0; RECORD_IN], record_out: [0; RECORD_OUT] }
    }

    /// The link's buffer and the session's.
    pub const fn split(&mut self) -> (&mut [u8], Records<'_>) {
        (&mut self.buffer, Records { read: &mut self.record_in, write: &mut self.record_out })
    }
}

impl<const BUFFER: usize, const RECORD_IN: usize, const RECORD_OUT: usize> Default
    for Resources<BUFFER, RECORD_IN, RECORD_OUT>
{
    fn default() -> Self {
        Self::new()
    }
}
