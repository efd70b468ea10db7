//! The core's transport over the client of reqwless.
//!
//! Use it if your firmware contains reqwless anyway. [`crate::Transport`] is the default because it
//! is smaller and accepts more replies; the README has a table of both.
//!
//! | | connection | over | TLS |
//! |---|---|---|---|
//! | [`KeepAlive`] | kept from turn to turn | a [`Link`](crate::Link) | [`tls::Secure`](crate::tls::Secure), with the checks of this crate |
//! | [`PerRequest`] | a new one for each request | [`HttpClient`] | that of reqwless, if its client was created with it |
//!
//! reqwless writes the request, and parses the head and the chunks of the reply. This module adds
//! what a [`Transport`](toolrunner_core::transport::Transport) needs besides: timeouts, the
//! detection of a connection that the server has closed, and `1xx` responses. A request is
//! collected in the link's buffer, so that it is sent in few packets.
//!
//! # Limits of reqwless
//! These replies are errors, which [`crate::Transport`] accepts:
//!
//! | Reply | Error |
//! |---|---|
//! | its head is larger than the buffer for heads | `Capacity(Head)` |
//! | its head has more than 64 fields | [`Error::Http`](crate::Error::Http) |
//! | a chunk has an extension, or there are fields after the last chunk | [`Error::Http`](crate::Error::Http) |
//! | `transfer-encoding` is not spelled in lower case, or is repeated more than four times | [`Error::Http`](crate::Error::Http) |
//!
//! reqwless 0.14.0 does not build with its feature `embedded-tls` (a default) and the newest
//! version of `der`. This crate disables its default features.

mod body;
mod exchange;
mod keep_alive;
mod per_request;
mod stream;

/// Re-export of reqwless' client, for [`PerRequest`].
pub use ::reqwless::client::HttpClient;
pub use body::ReplyBody;
pub use keep_alive::KeepAlive;
pub use per_request::{Connection, PerRequest};

/// The buffers of a transport over reqwless without TLS, to be placed in a `static`.
///
/// The head of a reply must fit in `HEAD` bytes. All bytes in both directions pass through the
/// `BUFFER` bytes, which must be at least [`MIN_BUFFER`](crate::MIN_BUFFER).
#[derive(Debug)]
pub struct Resources<const HEAD: usize = 2048, const BUFFER: usize = 1024> {
    /// The buffer for the head of a reply.
    pub head: [u8; HEAD],
    /// The buffer of the link.
    pub buffer: [u8; BUFFER],
}

impl<const HEAD: usize, const BUFFER: usize> Resources<HEAD, BUFFER> {
    /// Creates buffers filled with zeros.
    pub const fn new() -> Self {
        Self { head: [0; HEAD], buffer: [0; BUFFER] }
    }
}

impl<const HEAD: usize, const BUFFER: usize> Default for Resources<HEAD, BUFFER> {
    fn default() -> Self {
        Self::new()
    }
}
