//! The buffers of a link with TLS.

/// The buffers of a transport with TLS, to be placed in a `static`.
///
/// * `BUFFER`: the size of the link's buffer; see [`crate::Resources`].
/// * `RECORD_IN`: the size of the buffer for received records. A record is decrypted in place and
///   must fit as a whole. A server may send records of up to 16,640 bytes, and large servers do.
///   With a smaller buffer, the client asks for records of at most 4 KiB (`max_fragment_length`).
///   4,352 bytes are then enough for a server that honours the request (OpenSSL does, others do
///   not); with any other server a reply fails with `Capacity` (`CapacityKind::Record`), which
///   holds the size of the record.
/// * `RECORD_OUT`: the size of the buffer for sent records. Data is encrypted in pieces of this
///   size less 128 bytes. It must hold the first message of the handshake: 174 bytes and the host
///   name. With less, no connection is made and the error is `Capacity` (`CapacityKind::Record`). A
///   larger buffer saves 22 bytes on the wire for each piece.
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

/// The record buffers of a [`session`](super::session).
#[derive(Debug)]
pub struct Records<'a> {
    pub(crate) read: &'a mut [u8],
    pub(crate) write: &'a mut [u8],
}

impl<const BUFFER: usize, const RECORD_IN: usize, const RECORD_OUT: usize>
    Resources<BUFFER, RECORD_IN, RECORD_OUT>
{
    /// Creates buffers filled with zeros.
    pub const fn new() -> Self {
        Self { buffer: [0; BUFFER], record_in: [0; RECORD_IN], record_out: [0; RECORD_OUT] }
    }

    /// Splits the resources into the buffer of the link and the buffers of the session.
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
