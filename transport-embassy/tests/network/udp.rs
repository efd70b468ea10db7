//! A UDP server on a stack of the lab.

use embassy_net::udp::{PacketMetadata, UdpMetadata, UdpSocket};
use embassy_net::{IpEndpoint, Stack};

use crate::lab::kept;

/// Answers each packet that arrives on `port` with the packets that `answer` returns, each sent to
/// its address.
pub(crate) async fn serve(
    stack: Stack<'static>,
    port: u16,
    mut answer: impl FnMut(&[u8], IpEndpoint) -> Vec<(Vec<u8>, IpEndpoint)>,
) {
    let mut socket = UdpSocket::new(
        stack,
        kept([PacketMetadata::EMPTY; 8]),
        kept([0; 4096]),
        kept([PacketMetadata::EMPTY; 8]),
        kept([0; 4096]),
    );
    socket.bind(port).expect("a free port");
    let mut buffer = [0; 1024];
    loop {
        let (len, UdpMetadata { endpoint, .. }) =
            socket.recv_from(&mut buffer).await.expect("a packet that fits");
        for (bytes, to) in answer(&buffer[..len], endpoint) {
            socket.send_to(&bytes, to).await.expect("a route");
        }
    }
}

/// A DNS server that knows one name: `api.example.com` has these addresses.
pub(crate) async fn names(stack: Stack<'static>, addresses: Vec<[u8; 4]>) {
    serve(stack, 53, move |query, from| {
        let known = query.windows(17).any(|bytes| bytes == b"\x03api\x07example\x03com\0");
        let count = if known { addresses.len() } else { 0 };
        // RFC 1035, section 4: the header, the question as it was asked, and the answers.
        let mut reply = query[..2].to_vec();
        reply.extend([0x81, if known { 0x80 } else { 0x83 }, 0, 1, 0, count as u8, 0, 0, 0, 0]);
        reply.extend(&query[12..]);
        for address in &addresses[..count] {
            reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
            reply.extend(address);
        }
        vec![(reply, from)]
    })
    .await;
}
