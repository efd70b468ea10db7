//! A server on loopback that handles each request as a row of the table says.

use core::net::SocketAddr;
use core::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// How the server handles a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// Sends the text, and waits for the next request.
    Answer(String),
    /// Sends the text, which may be empty, and closes the connection.
    Close(String),
    /// Sends both texts, with a pause between them.
    InTwo(String, String),
    /// Sends the text, which may be empty, and resets the connection.
    Reset(String),
    /// Sends the text, which may be empty, and then sends nothing more.
    Stall(String),
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    connections: Arc<AtomicUsize>,
    requests: Arc<Mutex<Vec<String>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    /// Starts a server that handles each request as `acts[connection][request]` says. The last
    /// element of each list also applies to all later ones.
    pub(crate) async fn start(acts: Vec<Vec<Act>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (connections, requests) = (Arc::new(AtomicUsize::new(0)), Arc::default());
        let task = tokio::spawn({
            let (connections, requests) = (Arc::clone(&connections), Arc::clone(&requests));
            async move {
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    let number = connections.fetch_add(1, Ordering::SeqCst);
                    let acts = acts[number.min(acts.len() - 1)].clone();
                    tokio::spawn(converse(stream, Arc::clone(&requests), acts));
                }
            }
        });
        Self { address, connections, requests, task }
    }

    /// Returns the number of connections so far.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Returns the requests in order, with their heads in lower case.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn converse(mut stream: TcpStream, requests: Arc<Mutex<Vec<String>>>, acts: Vec<Act>) {
    stream.set_nodelay(true).unwrap();
    let mut have = Vec::new();
    for number in 0.. {
        let Some(request) = receive(&mut stream, &mut have).await else { return };
        requests.lock().unwrap().push(request);
        let act = acts[number.min(acts.len() - 1)].clone();
        // Write errors are ignored, because the client may have closed the connection.
        match act {
            Act::Answer(text) => drop(stream.write_all(text.as_bytes()).await),
            Act::InTwo(first, second) => {
                let _ = stream.write_all(first.as_bytes()).await;
                tokio::time::sleep(core::time::Duration::from_millis(2)).await;
                let _ = stream.write_all(second.as_bytes()).await;
            }
            Act::Close(text) => {
                let _ = stream.write_all(text.as_bytes()).await;
                return drop(stream.shutdown().await);
            }
            Act::Reset(text) => {
                let _ = stream.write_all(text.as_bytes()).await;
                return drop(stream.set_zero_linger());
            }
            Act::Stall(text) => {
                let _ = stream.write_all(text.as_bytes()).await;
                while stream.read_buf(&mut have).await.unwrap_or(0) > 0 {}
                return;
            }
        }
    }
}

/// Returns the next request, or `None` when the client has closed the connection.
async fn receive(stream: &mut TcpStream, have: &mut Vec<u8>) -> Option<String> {
    loop {
        if let Some(end) = have.windows(4).position(|part| part == b"\r\n\r\n") {
            let head = String::from_utf8(have[..end + 4].to_vec()).unwrap().to_ascii_lowercase();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .unwrap()
                .parse::<usize>()
                .unwrap();
            if let Some(body) = have.get(end + 4..end + 4 + length) {
                let request = head + core::str::from_utf8(body).unwrap();
                have.drain(..end + 4 + length);
                return Some(request);
            }
        }
        if stream.read_buf(have).await.unwrap_or(0) == 0 {
            return None;
        }
    }
}
