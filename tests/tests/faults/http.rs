//! The far end behind real sockets on loopback, where a fault occurs in the network.

use core::net::SocketAddr;
use std::io;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use toolrunner_core::testing::Request;

use crate::bytes::{requested, written};
use crate::far::{Far, Then, Wire};
use crate::talks::place;

/// A server that stops listening if the fault is a refused connection.
pub(crate) struct Listening {
    pub(crate) address: SocketAddr,
    far: Arc<Mutex<Far>>,
    /// The task that accepts connections, while there is one.
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

    /// Listens again, if it had stopped.
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
                    // The client's end observes the result.
                    let _ = serve(socket, &far, &accepting).await;
                });
            }
        });
        *self.accepting.lock().unwrap() = Some(task);
    }
}

async fn serve(
    mut socket: TcpStream,
    far: &Mutex<Far>,
    accepting: &Mutex<Option<JoinHandle<()>>>,
) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let mut have = Vec::new();
    while let Some(request) = read(&mut socket, &mut have).await? {
        let (streams, place) = (request.stream(), place(&request));
        let wire = far.lock().unwrap().answer(request);
        // The next connection will be refused: the listener is closed before this reply is sent.
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
                socket
                    .write_all(&written(status, &fields, &body, then, claim, streams, last))
                    .await?;
                if last { Then::Close } else { then }
            }
        };
        match then {
            Then::Good => {}
            Then::Close => return socket.shutdown().await,
            Then::Reset => {
                // Lets the written bytes leave before the reset.
                tokio::task::yield_now().await;
                return socket.set_zero_linger();
            }
            Then::Stall => while socket.read_buf(&mut have).await? > 0 {},
        }
    }
    Ok(())
}

/// Returns the next request, or `None` at the end of the connection.
async fn read(socket: &mut TcpStream, have: &mut Vec<u8>) -> io::Result<Option<Request>> {
    loop {
        if let Some(request) = requested(have) {
            return Ok(Some(request));
        }
        if socket.read_buf(have).await? == 0 {
            return Ok(None);
        }
    }
}
