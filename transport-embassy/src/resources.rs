//! The buffers of a transport without TLS. With TLS: [`crate::tls::Resources`].

/// The one buffer of a transport without TLS, for a `static`.
///
/// `BUFFER`: all bytes go through it, so it is also the most that goes out or comes in at once. At
/// least [`MIN_BUFFER`](crate::MIN_BUFFER) bytes: with less, every request ends with `Capacity`
/// (`What::Head`) before anything is sent. A line of a reply's head that does not fit is passed
/// over, unless it frames the body (`content-length`, `transfer-encoding`, `connection`): that is
/// `Capacity` too. With less than 80 bytes a request id may be left out. Larger only saves a little
/// time.
///
/// The stack's own buffers are not here: embassy-net keeps them in `TcpClientState<1, TX, RX>` (one
/// socket is enough).
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
