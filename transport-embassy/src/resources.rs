//! The buffers of a transport without TLS. With TLS: [`crate::tls::Resources`].

/// The one buffer of a transport without TLS, for a `static`.
///
/// `BUFFER`: all bytes go through it, so it is also the most that goes out or comes in at once. It must hold the longest line of a
/// reply's head: with less, a reply ends with `Capacity` (`What::Head`). The default of 1 KiB is three times the longest line that
/// is known of the Messages API behind its content network (a cookie, some 300 bytes). Larger only saves a little time.
///
/// The stack's own buffers are not here: embassy-net keeps them in `TcpClientState<1, TX, RX>` (one socket is enough).
#[derive(Debug)]
pub struct Resources<const BUFFER: usize = 1024> {
    /// The buffer, for [`crate::Plain::new`].
    pub buffer: [u8; BUFFER],
}

impl<const BUFFER: usize> Resources<BUFFER> {
    /// Buffers, all zero.
    pub const fn new() -> Self {
        Self { buffer: [0; BUFFER] }
    }
}

impl<const BUFFER: usize> Default for Resources<BUFFER> {
    fn default() -> Self {
        Self::new()
    }
}
