//! A board's configuration of the loop: the core's driver and one of the transports of
//! `toolrunner_embassy`, in memory of fixed size, over a simulated network: a server behind
//! `TcpConnect` that speaks HTTP/1.1.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::collections::VecDeque;
use std::sync::Arc;

use embedded_io_async::{ErrorKind, ErrorType, Read, Write};
use embedded_nal_async::{AddrType, Dns, TcpConnect};
use toolrunner_embassy::reqwless::{HttpClient, KeepAlive, PerRequest, Resources};
use toolrunner_embassy::{Plain, Timeouts, Transport};

use super::embedded::run_over;
use super::{Ending, Engine};
use crate::replay::{Answer, Replay};
use crate::scenario::Scenario;

/// A transport of `toolrunner_embassy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// Its own HTTP/1.1.
    Own,
    /// reqwless, with a connection that is kept.
    KeepAlive,
    /// reqwless, with a connection for each request.
    PerRequest,
}

/// The engine with the core's `Driver` over a transport of `toolrunner_embassy`, and a transcript
/// of fixed size. Nothing here waits, so the clock does not advance.
#[derive(Clone, Copy, Debug)]
pub struct Embassy {
    /// The transport.
    pub client: Client,
    /// The size of the transcript in bytes.
    pub capacity: usize,
}

impl Engine for Embassy {
    fn name(&self) -> &'static str {
        match self.client {
            Client::Own => "embassy",
            Client::KeepAlive => "reqwless",
            Client::PerRequest => "reqwless-per-request",
        }
    }

    fn capacity(&self) -> Option<usize> {
        Some(self.capacity)
    }

    fn run(&self, scenario: &Scenario, replay: &Arc<Replay>) -> Ending {
        let network = Network(replay);
        // The default size on a board. Longer requests and events pass through it in pieces.
        let mut resources: Resources = Resources::new();
        let Resources { head, buffer } = &mut resources;
        let timeouts = Timeouts::DEFAULT;
        if self.client == Client::PerRequest {
            let client = HttpClient::new(&network, &network);
            let transport = PerRequest::new(client, head, buffer, timeouts);
            return run_over(transport, self.capacity, scenario);
        }
        let link = Plain::new(&network, &network, buffer);
        if self.client == Client::KeepAlive {
            return run_over(KeepAlive::new(link, head, timeouts), self.capacity, scenario);
        }
        run_over(Transport::new(link, timeouts), self.capacity, scenario)
    }
}

/// A network with one server, which answers from the replay.
struct Network<'r>(&'r Replay);

impl TcpConnect for Network<'_> {
    type Error = ErrorKind;
    type Connection<'a>
        = Connection<'a>
    where
        Self: 'a;

    async fn connect<'a>(&'a self, _: SocketAddr) -> Result<Connection<'a>, ErrorKind> {
        Ok(Connection::new(self.0))
    }
}

impl Dns for Network<'_> {
    type Error = ErrorKind;

    async fn get_host_by_name(&self, _: &str, _: AddrType) -> Result<IpAddr, ErrorKind> {
        Ok(Ipv4Addr::LOCALHOST.into())
    }

    async fn get_host_by_address(&self, _: IpAddr, _: &mut [u8]) -> Result<usize, ErrorKind> {
        Err(ErrorKind::Unsupported)
    }
}

/// One connection, with the state of both ends.
pub(super) struct Connection<'r> {
    replay: &'r Replay,
    pub(super) received: Vec<u8>,
    /// The number of requests so far. The framing of the reply's body alternates with it.
    answered: usize,
    /// The bytes that the client has not read yet, in the pieces in which they arrive.
    pub(super) to_send: VecDeque<Vec<u8>>,
    pub(super) is_closed: bool,
}

impl<'r> Connection<'r> {
    pub(super) const fn new(replay: &'r Replay) -> Self {
        Self {
            replay,
            received: Vec::new(),
            answered: 0,
            to_send: VecDeque::new(),
            is_closed: false,
        }
    }

    /// Answers the request if it has arrived completely.
    pub(super) fn respond(&mut self) {
        let Some(end) =
            self.received.windows(4).position(|part| part == b"\r\n\r\n").map(|at| at + 4)
        else {
            return;
        };
        let head = String::from_utf8_lossy(&self.received[..end]).into_owned();
        let length = head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            .and_then(|(_, length)| length.parse::<usize>().ok());
        let Some(body) = length.and_then(|length| self.received.get(end..end + length)) else {
            return;
        };
        let Answer { head, headers, pieces } = self.replay.answer(body);
        self.received.clear();
        let mut text = format!("HTTP/1.1 {} Said\r\n", head.status);
        for (name, value) in headers.iter().filter(|(name, _)| !is_of_the_connection(name)) {
            text += &format!("{name}: {value}\r\n");
        }
        let framing = self.answered % 3;
        self.answered += 1;
        text += &match framing {
            0 => "transfer-encoding: chunked\r\n\r\n".to_owned(),
            1 => format!("content-length: {}\r\n\r\n", pieces.iter().map(Vec::len).sum::<usize>()),
            _ => "\r\n".to_owned(),
        };
        self.to_send.push_back(text.into_bytes());
        for piece in pieces {
            self.to_send.push_back(match framing {
                0 => [format!("{:x}\r\n", piece.len()).as_bytes(), &piece, b"\r\n"].concat(),
                _ => piece,
            });
        }
        match framing {
            0 => self.to_send.push_back(b"0\r\n\r\n".to_vec()),
            1 => {}
            _ => self.is_closed = true,
        }
    }
}

/// Returns whether a field describes the connection that a scenario was recorded from, and not the
/// reply.
fn is_of_the_connection(name: &str) -> bool {
    ["connection", "content-encoding", "content-length", "transfer-encoding"]
        .iter()
        .any(|other| name.eq_ignore_ascii_case(other))
}

impl ErrorType for Connection<'_> {
    type Error = ErrorKind;
}

impl Write for Connection<'_> {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, ErrorKind> {
        if self.is_closed {
            return Err(ErrorKind::ConnectionReset);
        }
        self.received.extend_from_slice(bytes);
        self.respond();
        Ok(bytes.len())
    }

    async fn flush(&mut self) -> Result<(), ErrorKind> {
        Ok(())
    }
}

impl Read for Connection<'_> {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ErrorKind> {
        match read_piece(&mut self.to_send, buffer) {
            Some(len) => Ok(len),
            None if self.is_closed => Ok(0),
            None => {
                // The check of a kept connection polls only once. A client that reads more than was
                // sent would wait for ever.
                tokio::task::yield_now().await;
                Err(ErrorKind::TimedOut)
            }
        }
    }
}

/// Reads from the first piece, as a socket does: as much as fits, and never from two pieces at
/// once. Returns `None` if there are no pieces.
pub fn read_piece(pieces: &mut VecDeque<Vec<u8>>, buffer: &mut [u8]) -> Option<usize> {
    let piece = pieces.front_mut()?;
    let len = piece.len().min(buffer.len());
    buffer[..len].copy_from_slice(&piece[..len]);
    piece.drain(..len);
    if piece.is_empty() {
        pieces.pop_front();
    }
    Some(len)
}
