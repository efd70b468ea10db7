//! The addresses of a host name.

use core::net::IpAddr;

use embedded_nal_async::{AddrType, Dns};

/// The maximum number of addresses of a host that are tried.
pub const MAX_ADDRESSES: usize = 4;

/// The addresses of a host, in the order in which they are tried.
pub type Addresses = heapless::Vec<IpAddr, MAX_ADDRESSES>;

/// Looks up host names.
///
/// Implemented for every [`embedded_nal_async::Dns`], which returns one address for each name. A
/// `net::Names` (feature `embassy-net`) returns all of them, and the transport tries them in turn.
#[allow(
    async_fn_in_trait,
    reason = "a lookup is used on one task; whether its futures are Send follows from the stack's"
)]
pub trait Lookup {
    /// Returns the addresses of `host`. Addresses beyond [`MAX_ADDRESSES`] are left out.
    ///
    /// # Errors
    /// Returns [`LookupError`] if the name has no address or could not be looked up.
    async fn addresses(&self, host: &str) -> Result<Addresses, LookupError>;
}

impl<D: Dns> Lookup for D {
    async fn addresses(&self, host: &str) -> Result<Addresses, LookupError> {
        let address = self.get_host_by_name(host, AddrType::Either).await;
        address.map(|address| Addresses::from_iter([address])).map_err(|_| LookupError)
    }
}

/// The error of a [`Lookup`] for a name without an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LookupError;

impl core::fmt::Display for LookupError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("could not resolve the host name")
    }
}

impl core::error::Error for LookupError {}
