//! The board's adapters: `toolrunner_embassy`'s own HTTP/1.1 and reqwless under the core's driver,
//! over a simulated network.

use core::cell::Cell;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use embassy_time::{Duration, MockDriver};
use embedded_io_async::{ErrorKind, ErrorType, Read, Write};
use embedded_nal_async::{AddrType, Dns, TcpConnect};
use toolrunner_embassy::reqwless::{HttpClient, KeepAlive, PerRequest, Resources};
use toolrunner_embassy::{Plain, Timeouts, Transport};
use toolrunner_tests::engine::read_piece;

use crate::bytes::{requested, written};
use crate::far::{Far, Then, Wire};
use crate::talks::{place, yields};
use crate::{Report, Trouble, fixed};

/// An HTTP/1.1 client of the board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Client {
    Own,
    KeepAlive,
    PerRequest,
}

/// Runs one case. Only one runs at a time, because embassy-time has one clock for the whole
/// program, which is advanced when a future waits for nothing else.
pub(crate) fn run(far: &Arc<Mutex<Far>>, trouble: &Trouble, client: Client) -> Report {
    static TIME: Mutex<()> = Mutex::new(());
    // A failed case does not affect the next one, so the poisoned lock is taken anyway.
    let _mine = TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    MockDriver::get().reset();
    let network = Network { far, next: Cell::new(0) };
    let mut resources: Resources = Resources::new();
    let Resources { head, buffer } = &mut resources;
    let waits = || MockDriver::get().advance(Duration::from_secs(60));
    let timeouts = Timeouts::DEFAULT;
    if client == Client::PerRequest {
        let client = HttpClient::new(&network, &network);
        let transport = PerRequest::new(client, head, buffer, timeouts);
        return fixed::run_over(transport, far, trouble, waits);
    }
    let link = Plain::new(&network, &network, buffer);
    if client == Client::KeepAlive {
        return fixed::run_over(KeepAlive::new(link, head, timeouts), far, trouble, waits);
    }
    fixed::run_over(Transport::new(link, timeouts), far, trouble, waits)
}

/// A network with the far end on it.
struct Network<'f> {
    far: &'f Mutex<Far>,
    /// The next exchange: whoever connects is about to send its request.
    next: Cell<usize>,
}

impl TcpConnect for Network<'_> {
    type Error = ErrorKind;
    type Connection<'a>
        = Connection<'a>
    where
        Self: 'a;

    async fn connect<'a>(&'a self, _: SocketAddr) -> Result<Connection<'a>, ErrorKind> {
        yields(1).await;
        let mut far = self.far.lock().unwrap();
        if far.refuses(self.next.get()) {
            far.hits += 1;
            return Err(ErrorKind::ConnectionRefused);
        }
        Ok(Connection {
            network: self,
            received: Vec::new(),
            to_send: VecDeque::new(),
            then: Then::Good,
        })
    }
}

impl Dns for Network<'_> {
    type Error = ErrorKind;

    async fn get_host_by_name(&self, _: &str, _: AddrType) -> Result<IpAddr, ErrorKind> {
        yields(1).await;
        Ok(Ipv4Addr::LOCALHOST.into())
    }

    async fn get_host_by_address(&self, _: IpAddr, _: &mut [u8]) -> Result<usize, ErrorKind> {
        Err(ErrorKind::Unsupported)
    }
}

/// One connection, with the state of both ends.
struct Connection<'n> {
    network: &'n Network<'n>,
    received: Vec<u8>,
    /// The bytes that the board has not read yet, in the pieces in which they arrive.
    to_send: VecDeque<Vec<u8>>,
    /// What happens after them.
    then: Then,
}

impl Connection<'_> {
    /// Answers the request if it has arrived completely.
    fn respond(&mut self) {
        let Some(request) = requested(&mut self.received) else { return };
        let (streams, place) = (request.stream(), place(&request));
        let mut far = self.network.far.lock().unwrap();
        let wire = far.answer(request);
        self.network.next.set(place + 1);
        let bytes = match wire {
            Wire::Refused => return self.then = Then::Reset,
            Wire::NoHead(bytes, then) => {
                self.then = then;
                bytes.as_bytes().to_vec()
            }
            Wire::Reply { status, fields, body, then, claim } => {
                // The connection for the next exchange will be refused, so this one must not be
                // kept.
                let last = far.refuses(place + 1);
                self.then = if last { Then::Close } else { then };
                written(status, &fields, &body, then, claim, streams, last)
            }
        };
        self.to_send.extend(bytes.chunks(100).map(<[u8]>::to_vec));
    }
}

impl ErrorType for Connection<'_> {
    type Error = ErrorKind;
}

impl Write for Connection<'_> {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, ErrorKind> {
        yields(1).await;
        if matches!(self.then, Then::Close | Then::Reset) {
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
        yields(1).await;
        match (read_piece(&mut self.to_send, buffer), self.then) {
            (Some(len), _) => Ok(len),
            (None, Then::Close) => Ok(0),
            (None, Then::Reset) => Err(ErrorKind::ConnectionReset),
            (None, Then::Good | Then::Stall) => std::future::pending().await,
        }
    }
}
