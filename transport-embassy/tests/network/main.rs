//! The transport over a real TCP/IP stack to a scripted server on another, in virtual time and
//! without a network.

mod addresses;

mod dhcp;
mod lab;
mod plain;
mod rogue;
mod secure;
mod server;
mod time;
mod udp;

use core::cell::RefCell;
use std::rc::Rc;

use embedded_io_async::BufRead as _;
use embedded_nal_async::{AddrType, Dns};
use server::Seen;
use toolrunner_core::transport::{Body, Head, Reply, ReplyHead, Transport as _};
use toolrunner_embassy::{Error, Link, ReplyBody, Transport};

/// Names that a test knows.
struct Names;

impl Dns for Names {
    type Error = embedded_io_async::ErrorKind;

    async fn get_host_by_name(
        &self,
        host: &str,
        _: AddrType,
    ) -> Result<core::net::IpAddr, Self::Error> {
        if host == "api.example.com" {
            Ok(lab::SERVER.into())
        } else {
            Err(embedded_io_async::ErrorKind::NotFound)
        }
    }

    async fn get_host_by_address(
        &self,
        _: core::net::IpAddr,
        _: &mut [u8],
    ) -> Result<usize, Self::Error> {
        Err(embedded_io_async::ErrorKind::Unsupported)
    }
}

const HEADERS: &[(&str, &str)] = &[("x-api-key", "secret"), ("anthropic-version", "2023-06-01")];

async fn post<'t, L: Link>(
    transport: &'t mut Transport<L>,
    base_url: &str,
    body: &str,
) -> Result<Reply<ReplyBody<'t, L>>, Error> {
    let (first, rest) = body.as_bytes().split_at(body.len() / 2);
    let head = Head { base_url, path: "/v1/messages", headers: HEADERS };
    transport.send(&head, &Body::new(&[b"{\"messages\":", first], rest, b"}")).await
}

/// The whole exchange: the head, and the body as text.
async fn exchange<L: Link>(
    transport: &mut Transport<L>,
    base_url: &str,
    body: &str,
) -> Result<(ReplyHead, String), Error> {
    let mut reply = post(transport, base_url, body).await?;
    let mut text = Vec::new();
    loop {
        let piece = reply.body.fill_buf().await?;
        if piece.is_empty() {
            return Ok((reply.head, String::from_utf8(text).expect("text")));
        }
        // Not all at once, to see that what is left stays.
        let len = piece.len().div_ceil(2);
        text.extend_from_slice(&piece[..len]);
        reply.body.consume(len);
    }
}

type Log = Rc<RefCell<Seen>>;
