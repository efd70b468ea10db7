//! The far end behind real sockets on loopback, where a fault is a network's.

use core::net::SocketAddr;
use std::io;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use toolrunner_core::testing::Request;

use crate::far::{Claim, Far, Then, Wire};
use crate::talks::place;

/// A server that stops to listen when the fault is that nobody does.
pub(crate) struct Listening {
    pub(crate) address: SocketAddr,
    far: Arc<Mutex<Far>>,
    /// The task that accepts, while there is one.
    accepting: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl Listening {
    pub(crate) async fn start(far: Arc<Mutex<Far>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut listening = Self { address, far, accepting: Arc::default() };
        if listening.far.lock().unwrap().refuses(0) {
            listening.far.lock().unwrap().hits += 1;
            drop(listener);
        } else {
            listening.accept(listener);
        }
        listening
    }

    /// Listens again, if nobody did.
    pub(crate) async fn listen(&mut self) {
        if self.accepting.lock().unwrap().as_ref().is_none_or(JoinHandle::is_finished) {
            let listener = TcpListener::bind(self.address).await.unwrap();
            self.accept(listener);
        }
    }

    fn accept(&mut self, listener: TcpListener) {
        let (far, accepting) = (Arc::clone(&self.far), Arc::clone(&self.accepting));
        let task = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (far, accepting) = (Arc::clone(&far), Arc::clone(&accepting));
                tokio::spawn(async move {
                    // The client's end sees what became of it.
                    let _ = serve(socket, &far, &accepting).await;
                });
            }
        });
        *self.accepting.lock().unwrap() = Some(task);
    }
}

async fn serve(mut socket: TcpStream, far: &Mutex<Far>, accepting: &Mutex<Option<JoinHandle<()>>>) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let mut have = Vec::new();
    while let Some(request) = read(&mut socket, &mut have).await? {
        let (streams, place) = (request.stream(), place(&request));
        let wire = far.lock().unwrap().answer(request);
        // Nobody will listen when the next request comes: the listener goes before this reply does.
        let last = far.lock().unwrap().refuses(place + 1);
        if last {
            far.lock().unwrap().hits += 1;
            let task = accepting.lock().unwrap().take();
            if let Some(task) = task {
                task.abort();
                let _ = task.await;
            }
        }
        let then = match wire {
            Wire::Refused => Then::Reset,
            Wire::NoHead(bytes, then) => {
                socket.write_all(bytes.as_bytes()).await?;
                then
            }
            Wire::Reply { status, fields, body, then, claim } => {
                socket.write_all(&written(status, &fields, &body, then, claim, streams, last)).await?;
                if last { Then::Close } else { then }
            }
        };
        match then {
            Then::Good => {}
            Then::Close => return socket.shutdown().await,
            Then::Reset => {
                // What was written is on its way before the reset overtakes it.
                tokio::task::yield_now().await;
                return socket.set_zero_linger();
            }
            Then::Stall => while socket.read_buf(&mut have).await? > 0 {},
        }
    }
    Ok(())
}

/// A reply as HTTP/1.1: a stream in chunks, all else by its length.
fn written(status: u16, fields: &[(String, String)], body: &[u8], then: Then, claim: Claim, streams: bool, last: bool) -> Vec<u8> {
    let mut out = format!("HTTP/1.1 {status} Status\r\n").into_bytes();
    for (name, value) in fields {
        out.extend(format!("{name}: {value}\r\n").bytes());
    }
    if last {
        out.extend(b"connection: close\r\n");
    }
    if let (Claim::Length(off), _) = (claim, streams) {
        let length = body.len().saturating_add_signed(off);
        out.extend(format!("content-length: {length}\r\n\r\n").bytes());
        out.extend(body);
        return out;
    }
    if claim == Claim::Both {
        out.extend(format!("content-length: {}\r\n", body.len() / 2).bytes());
    }
    // A body that breaks off was longer by what is said of it.
    let missing = usize::from(then != Then::Good) * 10;
    if streams || claim != Claim::Right {
        out.extend(b"transfer-encoding: chunked\r\n\r\n");
        for piece in body.chunks(150) {
            let size = if claim == Claim::NoSize { "zz".to_owned() } else { format!("{:x}", piece.len()) };
            out.extend(format!("{size}\r\n").bytes());
            out.extend(piece);
            out.extend(b"\r\n");
        }
        if missing == 0 || claim == Claim::Both {
            out.extend(b"0\r\n\r\n");
        }
    } else {
        out.extend(format!("content-length: {}\r\n\r\n", body.len() + missing).bytes());
        out.extend(body);
    }
    out
}

/// The next request; none at the end of the connection.
async fn read(socket: &mut TcpStream, have: &mut Vec<u8>) -> io::Result<Option<Request>> {
    loop {
        if let Some(end) = have.windows(4).position(|part| part == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&have[..end]).into_owned();
            let mut lines = head.split("\r\n");
            let path = lines.next().and_then(|line| line.split(' ').nth(1)).unwrap_or_default().to_owned();
            let headers: Vec<(String, String)> =
                lines.filter_map(|line| line.split_once(": ")).map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
            let length = headers.iter().find(|(name, _)| name == "content-length").map_or(0, |(_, value)| value.parse().unwrap());
            if have.len() >= end + 4 + length {
                let body = have[end + 4..end + 4 + length].to_vec();
                have.drain(..end + 4 + length);
                return Ok(Some(Request { path, headers, body }));
            }
        }
        if socket.read_buf(have).await? == 0 {
            return Ok(None);
        }
    }
}
