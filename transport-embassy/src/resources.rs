//! The buffer of a transport without TLS. With TLS, see [`crate::tls::Resources`].

/// The buffer of a transport without TLS, to be placed in a `static`.
///
/// All bytes in both directions pass through the `BUFFER` bytes, so this is also the largest piece
/// that is sent or received at once. It must be at least [`MIN_BUFFER`](crate::MIN_BUFFER) bytes:
/// with less, every request fails with `Capacity` (`CapacityKind::Head`) before anything is sent. A
/// line of a reply's head that does not fit is skipped, unless it frames the body
/// (`content-length`, `transfer-encoding`, `connection`): that is a `Capacity` error too. With less
/// than 80 bytes a request id may be lost. A larger buffer only saves a little time.
///
/// The buffers of the network stack are separate: embassy-net keeps them in
/// `TcpClientState<1, TX, RX>` (one socket is enough).
#[derive(Debug)]
pub struct Resources<const BUFFER: usize = 1024> {
    /// The buffer, for [`crate::Plain::new`].
    pub buffer: [u8; BUFFER],
}

impl<const BUFFER: usize> Resources<BUFFER> {
    /// Creates a buffer filled with zeros.
    pub const fn new() -> Self {
        Self { buffer: [0; BUFFER] }
    }
}

impl<const BUFFER: usize> Default for Resources<BUFFER> {
    fn default() -> Self {
        Self::new()
    }
}
