//! The server: the scripted model behind std's sockets, in threads, so that it serves a client on
//! any executor. It breaks and delays replies as a conversation's table says.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::task::{Poll, Waker};
use std::time::Duration;

use toolrunner_core::testing::http1::Connection;
use toolrunner_core::testing::{Chunk, Request, Script, ScriptedModel, Style};

use crate::PATIENCE;

/// What the server does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// Replies as the script says.
    Reply,
    /// Reads it, and closes the connection.
    NoReply,
    /// Sends half of the reply, and closes the connection.
    Half,
    /// Sends half of the reply, and then nothing more until the client closes the connection or
    /// [`Far::speak`] is called, after which the other half follows.
    Stall,
    /// Sends each piece of text when the client has seen the last one.
    Lockstep,
}

/// A server of one conversation.
pub(crate) struct Far {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    acts: &'static [Act],
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    model: ScriptedModel,
    requests: usize,
    /// Pieces of text that were sent in lockstep, and how many of them the client saw.
    sent: usize,
    seen: usize,
    /// How often the server went silent, and how often that ended.
    silent: usize,
    ended: usize,
    speaks: bool,
    waiting: Option<Waker>,
    over: bool,
}

impl Far {
    pub(crate) fn start(script: Script, acts: &'static [Act]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = State {
            model: ScriptedModel::new(script).style(Style { delta: 6, ..Style::default() }),
            requests: 0,
            sent: 0,
            seen: 0,
            silent: 0,
            ended: 0,
            speaks: false,
            waiting: None,
            over: false,
        };
        let shared =
            Arc::new(Shared { acts, state: Mutex::new(state), changed: Condvar::default() });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                if accepting.state.lock().unwrap().over {
                    return;
                }
                let shared = Arc::clone(&accepting);
                // A client that closes in the middle of a reply is part of the test.
                std::thread::spawn(move || drop(shared.serve(socket)));
            }
        });
        Self { address, shared }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn requests(&self) -> usize {
        self.shared.state.lock().unwrap().requests
    }

    pub(crate) fn complaints(&self) -> Vec<String> {
        self.shared.state.lock().unwrap().model.complaints().to_vec()
    }

    /// Returns how many pieces of text were sent in lockstep.
    pub(crate) fn pieces(&self) -> usize {
        self.shared.state.lock().unwrap().sent
    }

    /// Notes that the client saw a piece of text.
    pub(crate) fn saw_text(&self) {
        self.shared.change(|state| state.seen += 1);
    }

    /// Ends silences: the server sends what is left of its reply.
    pub(crate) fn speak(&self) {
        self.shared.change(|state| state.speaks = true);
    }

    /// Returns how often the server went silent, and how often that ended. Waits for the last
    /// silence to end.
    pub(crate) fn silences(&self) -> (usize, usize) {
        let state = self.shared.wait_while(|state| state.ended < state.silent);
        (state.silent, state.ended)
    }

    /// Blocks until the server has gone silent.
    pub(crate) fn wait_for_silence(&self) {
        drop(self.shared.wait_while(|state| state.silent == 0));
    }

    /// Waits until the server has gone silent.
    pub(crate) async fn silence(&self) {
        std::future::poll_fn(|cx| {
            let mut state = self.shared.state.lock().unwrap();
            state.waiting = Some(cx.waker().clone());
            if state.silent > 0 { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

impl Drop for Far {
    fn drop(&mut self) {
        self.shared.change(|state| state.over = true);
        // The thread that accepts sees it at its next connection.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn change(&self, change: impl FnOnce(&mut State)) {
        let waiting = {
            let mut state = self.state.lock().unwrap();
            change(&mut state);
            state.waiting.take()
        };
        self.changed.notify_all();
        if let Some(waker) = waiting {
            waker.wake();
        }
    }

    /// Blocks while `condition` is true, at most for [`PATIENCE`].
    fn wait_while(&self, condition: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let state = self.state.lock().unwrap();
        self.changed.wait_timeout_while(state, PATIENCE, |state| condition(state)).unwrap().0
    }

    /// Waits until the client closes the connection, or until the server speaks again. Returns
    /// whether the connection is open.
    fn wait_silently(&self, socket: &mut TcpStream) -> io::Result<bool> {
        socket.set_read_timeout(Some(Duration::from_millis(10)))?;
        let is_open = loop {
            match socket.read(&mut [0; 64]) {
                Ok(0) => break false,
                Ok(_) => {}
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    if self.state.lock().unwrap().speaks {
                        break true;
                    }
                }
                Err(_) => break false,
            }
        };
        socket.set_read_timeout(None)?;
        Ok(is_open)
    }

    fn serve(&self, mut socket: TcpStream) -> io::Result<()> {
        socket.set_nodelay(true)?;
        let (mut connection, mut buffer) = (Connection::new(), [0; 4096]);
        while !connection.is_closed() {
            let length = socket.read(&mut buffer)?;
            if length == 0 {
                break;
            }
            let (chunks, act) = {
                let mut state = self.state.lock().unwrap();
                let chunks = connection.respond(&mut state.model, &buffer[..length]);
                if chunks.is_empty() {
                    continue;
                }
                let mut act = self.acts.get(state.requests).copied().unwrap_or(Act::Reply);
                if act == Act::Stall && state.model.requests().last().is_some_and(goes_on) {
                    act = Act::Reply;
                }
                state.requests += 1;
                if matches!(act, Act::NoReply | Act::Half | Act::Stall) {
                    // The next request is this one again.
                    state.model.broken();
                }
                (chunks, act)
            };
            let pieces = chunks.into_iter().filter_map(|chunk| match chunk {
                Chunk::Data(bytes) => Some(bytes),
                _ => None,
            });
            match act {
                Act::Reply => socket.write_all(&pieces.collect::<Vec<_>>().concat())?,
                Act::NoReply => break,
                Act::Half => {
                    socket.write_all(&halves(pieces).0)?;
                    break;
                }
                Act::Stall => {
                    let (first, second) = halves(pieces);
                    socket.write_all(&first)?;
                    self.change(|state| state.silent += 1);
                    let is_open = self.wait_silently(&mut socket);
                    self.change(|state| state.ended += 1);
                    if !is_open? {
                        break;
                    }
                    socket.write_all(&second)?;
                }
                Act::Lockstep => {
                    for piece in pieces {
                        drop(self.wait_while(|state| state.seen < state.sent));
                        if piece.windows(10).any(|part| part == b"text_delta") {
                            self.change(|state| state.sent += 1);
                        }
                        socket.write_all(&piece)?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Returns whether a request is of the second attempt at its conversation.
pub(crate) fn goes_on(request: &Request) -> bool {
    request.body.windows(6).any(|part| part == b"Go on.")
}

/// Returns the head of a reply with half of its body, and the other half.
fn halves(pieces: impl Iterator<Item = Vec<u8>>) -> (Vec<u8>, Vec<u8>) {
    let mut all = pieces.collect::<Vec<_>>().concat();
    let head = all.windows(4).position(|part| part == b"\r\n\r\n").unwrap() + 4;
    let second = all.split_off(head + (all.len() - head) / 2);
    (all, second)
}
