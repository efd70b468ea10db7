//! A name with its address, in place of a DNS server, which the emulated network does not provide.

use core::net::{IpAddr, Ipv4Addr};

use embedded_io_async::ErrorKind;
use embedded_nal_async::{AddrType, Dns};

/// The emulating host's address as seen by its guest.
pub const HOST: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);

/// Resolves `api.test` to the host, and no other name.
pub struct Names;

impl Dns for Names {
    type Error = ErrorKind;

    async fn get_host_by_name(&self, host: &str, _: AddrType) -> Result<IpAddr, ErrorKind> {
        if host == "api.test" { Ok(IpAddr::V4(HOST)) } else { Err(ErrorKind::NotFound) }
    }

    async fn get_host_by_address(&self, _: IpAddr, _: &mut [u8]) -> Result<usize, ErrorKind> {
        Err(ErrorKind::Unsupported)
    }
}
