//! Over embassy-net: all addresses of a host, and the time by SNTP.
//!
//! smoltcp keeps one address of each name by default. Enable its feature
//! `dns-max-result-count-4` for more.

use core::net::IpAddr;

use embassy_net::dns::DnsQueryType;
use embassy_net::udp::{BindError, PacketMetadata, RecvError, SendError, UdpSocket};
use embassy_net::{IpEndpoint, Stack};
use embedded_io_async::ErrorKind;
use embedded_nal_async::ConnectedUdp;

use crate::sntp::{self, Patience, Sample, SntpError};
use crate::{Addresses, Entropy, Lookup, LookupError};

/// Looks up all IPv4 addresses of a host.
#[derive(Clone, Copy)]
pub struct Names<'s>(pub Stack<'s>);

impl core::fmt::Debug for Names<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Names")
    }
}

impl Lookup for Names<'_> {
    async fn addresses(&self, host: &str) -> Result<Addresses, LookupError> {
        let found = self.0.dns_query(host, DnsQueryType::A).await.map_err(|_| LookupError)?;
        let addresses: Addresses =
            found.into_iter().map(IpAddr::from).take(crate::MAX_ADDRESSES).collect();
        if addresses.is_empty() { Err(LookupError) } else { Ok(addresses) }
    }
}

/// A UDP socket that talks to one address, and discards packets from others.
pub struct Udp<'s> {
    socket: UdpSocket<'s>,
    remote: IpEndpoint,
}

impl<'s> Udp<'s> {
    /// Binds `socket` to a port of the stack's choice.
    ///
    /// # Errors
    /// Returns an error if the stack has no address.
    pub fn connect(
        mut socket: UdpSocket<'s>,
        remote: impl Into<IpEndpoint>,
    ) -> Result<Self, BindError> {
        socket.bind(0)?;
        Ok(Self { socket, remote: remote.into() })
    }
}

impl core::fmt::Debug for Udp<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Udp").field("remote", &self.remote).finish_non_exhaustive()
    }
}

/// The error of a [`Udp`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UdpError {
    /// A packet was not received, because it is too large.
    Receive(RecvError),
    /// A packet was not sent.
    Send(SendError),
}

impl core::fmt::Display for UdpError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Receive(_) => "a received packet was too large",
            Self::Send(_) => "could not send a packet",
        })
    }
}

impl core::error::Error for UdpError {}

impl embedded_io_async::Error for UdpError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Receive(_) => ErrorKind::OutOfMemory,
            Self::Send(_) => ErrorKind::NotConnected,
        }
    }
}

impl ConnectedUdp for Udp<'_> {
    type Error = UdpError;

    async fn send(&mut self, bytes: &[u8]) -> Result<(), UdpError> {
        self.socket.send_to(bytes, self.remote).await.map_err(UdpError::Send)
    }

    async fn receive_into(&mut self, buffer: &mut [u8]) -> Result<usize, UdpError> {
        loop {
            let (len, from) = self.socket.recv_from(buffer).await.map_err(UdpError::Receive)?;
            if from.endpoint == self.remote {
                return Ok(len);
            }
        }
    }
}

/// Returns the time of an SNTP server, at the first of its addresses that answers validly.
///
/// Needs one socket of the stack for the duration of the call. With `patience`, each address is
/// asked in turn. A server that refuses requests ends the call.
///
/// # Errors
/// Returns the reason of the last address that was asked.
pub async fn time(
    stack: Stack<'_>,
    server: &str,
    entropy: &mut impl Entropy,
    patience: Patience,
) -> Result<Sample, SntpError> {
    let addresses = stack.dns_query(server, DnsQueryType::A).await;
    let addresses = addresses.map_err(|_| SntpError::Lookup)?;
    let mut failure = SntpError::Lookup;
    for address in addresses {
        let (mut incoming, mut outgoing) = ([PacketMetadata::EMPTY; 2], [PacketMetadata::EMPTY; 1]);
        let (mut received, mut sending) = ([0; 256], [0; 64]);
        let socket =
            UdpSocket::new(stack, &mut incoming, &mut received, &mut outgoing, &mut sending);
        failure = match Udp::connect(socket, (address, sntp::PORT)) {
            Err(_) => SntpError::Network,
            Ok(mut udp) => match sntp::request(&mut udp, entropy, patience).await {
                Err(next @ (SntpError::Network | SntpError::NoReply { .. })) => next,
                done => return done,
            },
        };
    }
    Err(failure)
}
