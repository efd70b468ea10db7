//! A server on the other stack, that does what its script says.

use core::cell::RefCell;
use std::io::{Read as _, Write as _};
use std::rc::Rc;
use std::sync::Arc;

use embassy_net::tcp::TcpSocket;
use embassy_net::{IpAddress, Stack};
use embassy_time::{Duration, Timer};

use crate::lab::{Spawner, kept};
use crate::rogue::Rogue;

pub(crate) const PORT: u16 = 8080;

/// One thing that the server does.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// Reads one request, head and body.
    Request,
    /// Sends these bytes.
    Say(Vec<u8>),
    Wait(Duration),
    /// Ends the connection in good order; with TLS, not before it said so.
    Close,
    /// Ends the connection without a word: no close_notify.
    Cut,
    /// Breaks the rules of TLS. The session is of no use afterwards.
    Rogue(Rogue),
}

/// Bytes to send.
pub(crate) fn say(bytes: impl AsRef<[u8]>) -> Act {
    Act::Say(bytes.as_ref().to_vec())
}

/// What the server saw.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) connections: usize,
    pub(crate) requests: Vec<String>,
    /// The client's address on each connection.
    pub(crate) peers: Vec<IpAddress>,
    /// Why the last session of TLS ended early.
    pub(crate) tls_error: Option<rustls::Error>,
}

/// Serves each connection by its list of acts. A connection is held open after them until the
/// client lets go.
pub(crate) async fn serve(
    spawner: Spawner,
    stack: Stack<'static>,
    tls: Option<Arc<rustls::ServerConfig>>,
    script: Vec<Vec<Act>>,
    seen: Rc<RefCell<Seen>>,
) {
    for acts in script {
        let mut socket = TcpSocket::new(stack, kept([0; 4096]), kept([0; 4096]));
        socket.accept(PORT).await.expect("a connection");
        seen.borrow_mut().connections += 1;
        let peer = socket.remote_endpoint().expect("a connected socket").addr;
        seen.borrow_mut().peers.push(peer);
        let tls =
            tls.clone().map(|config| rustls::ServerConnection::new(config).expect("a session"));
        let mut stream = Stream { socket, tls, seen: Rc::clone(&seen) };
        spawner.spawn(async move {
            for act in acts {
                if stream.act(act).await.is_none() {
                    break;
                }
            }
            while stream.read_some().await.is_some_and(|bytes| !bytes.is_empty()) {}
        });
    }
}

struct Stream {
    socket: TcpSocket<'static>,
    tls: Option<rustls::ServerConnection>,
    seen: Rc<RefCell<Seen>>,
}

impl Stream {
    /// `None` when the connection is gone.
    async fn act(&mut self, act: Act) -> Option<()> {
        match act {
            Act::Request => {
                let request = self.read_request().await?;
                self.seen.borrow_mut().requests.push(request);
            }
            Act::Say(bytes) => self.write(&bytes).await?,
            Act::Wait(time) => Timer::after(time).await,
            Act::Close => {
                if let Some(tls) = &mut self.tls {
                    tls.send_close_notify();
                }
                self.send_tls().await?;
                self.socket.close();
            }
            Act::Cut => self.socket.close(),
            Act::Rogue(rogue) => {
                let record = rogue.record(self.tls.take()?);
                write_all(&mut self.socket, &record).await?;
            }
        }
        Some(())
    }

    async fn read_request(&mut self) -> Option<String> {
        let mut bytes = Vec::new();
        loop {
            let more = self.read_some().await.filter(|more| !more.is_empty())?;
            bytes.extend_from_slice(&more);
            let text = String::from_utf8_lossy(&bytes).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                if body.len() >= length.map_or(0, |length| length.parse().expect("a number")) {
                    return Some(text);
                }
            }
        }
    }

    /// Some plain text; empty at the end.
    async fn read_some(&mut self) -> Option<Vec<u8>> {
        let mut buffer = [0; 2048];
        let Some(tls) = &mut self.tls else {
            let len = self.socket.read(&mut buffer).await.ok()?;
            return Some(buffer[..len].to_vec());
        };
        loop {
            match tls.reader().read(&mut buffer) {
                Ok(len) => return Some(buffer[..len].to_vec()),
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => return None,
            }
            let mut wire = [0; 1024];
            let len = self.socket.read(&mut wire).await.ok()?;
            tls.read_tls(&mut &wire[..len]).ok()?;
            let processed = tls.process_new_packets();
            let mut out = Vec::new();
            while tls.wants_write() {
                tls.write_tls(&mut out).ok()?;
            }
            write_all(&mut self.socket, &out).await?;
            if let Err(error) = processed {
                self.seen.borrow_mut().tls_error = Some(error);
                return None;
            }
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> Option<()> {
        if self.tls.is_none() {
            return write_all(&mut self.socket, bytes).await;
        }
        for piece in bytes.chunks(16_000) {
            self.tls.as_mut()?.writer().write_all(piece).ok()?;
            self.send_tls().await?;
        }
        Some(())
    }

    async fn send_tls(&mut self) -> Option<()> {
        let mut out = Vec::new();
        if let Some(tls) = &mut self.tls {
            while tls.wants_write() {
                tls.write_tls(&mut out).ok()?;
            }
        }
        write_all(&mut self.socket, &out).await
    }
}

async fn write_all(socket: &mut TcpSocket<'_>, mut bytes: &[u8]) -> Option<()> {
    while !bytes.is_empty() {
        let len = socket.write(bytes).await.ok()?;
        bytes = &bytes[len..];
    }
    Some(())
}
