//! A scripted model behind HTTP on loopback.
#![allow(dead_code, unreachable_pub, reason = "each suite uses a part of it")]

use core::net::SocketAddr;
use core::sync::atomic::{AtomicUsize, Ordering};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use toolrunner_blocking::{Client, ClientBuilder, Run};
use toolrunner_core::testing::http1::Connection;
use toolrunner_core::testing::validity::{Tail, check};
use toolrunner_core::testing::{Chunk, Script, ScriptedModel};

#[derive(Clone)]
pub struct Server {
    model: Arc<Mutex<ScriptedModel>>,
    connections: Arc<AtomicUsize>,
    /// Connections that the client closed.
    closed: Arc<AtomicUsize>,
    address: SocketAddr,
}

/// Starts a server that follows the script.
pub fn serve(script: Script) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = Server {
        model: Arc::new(Mutex::new(ScriptedModel::new(script))),
        connections: Arc::default(),
        closed: Arc::default(),
        address: listener.local_addr().unwrap(),
    };
    let own = server.clone();
    thread::spawn(move || {
        for socket in listener.incoming() {
            own.connections.fetch_add(1, Ordering::SeqCst);
            let own = own.clone();
            thread::spawn(move || own.answer(socket.unwrap()));
        }
    });
    server
}

impl Server {
    fn answer(&self, mut socket: TcpStream) {
        let (mut connection, mut buffer) = (Connection::new(), [0; 4096]);
        while !connection.is_closed() {
            let length = match socket.read(&mut buffer) {
                Ok(0) | Err(_) => break,
                Ok(length) => length,
            };
            let chunks = connection.respond(&mut self.model(), &buffer[..length]);
            for chunk in chunks {
                match chunk {
                    Chunk::Data(bytes) => {
                        if socket.write_all(&bytes).is_err() {
                            break;
                        }
                    }
                    Chunk::Wait(pause) => {
                        // A client that closes the connection ends the pause.
                        socket.set_read_timeout(Some(pause)).unwrap();
                        let ended = socket.read(&mut buffer);
                        socket.set_read_timeout(None).unwrap();
                        if matches!(ended, Ok(0)) {
                            self.closed.fetch_add(1, Ordering::SeqCst);
                            return;
                        }
                    }
                    Chunk::Reset => return,
                }
            }
        }
    }

    pub fn model(&self) -> MutexGuard<'_, ScriptedModel> {
        self.model.lock().unwrap()
    }

    pub fn builder(&self) -> ClientBuilder {
        Client::builder().base_url(format!("http://{}", self.address)).api_key("test-key")
    }

    pub fn client(&self) -> Client {
        self.builder().build().unwrap()
    }

    /// Returns the number of connections that were opened.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Returns the number of connections that the client closed during a pause.
    pub fn closed(&self) -> usize {
        self.closed.load(Ordering::SeqCst)
    }

    /// Returns the complete body of each request.
    pub fn bodies(&self) -> Vec<String> {
        let text = |request: &toolrunner_core::testing::Request| {
            String::from_utf8(request.body.clone()).unwrap()
        };
        self.model().requests().iter().map(text).collect()
    }

    /// Asserts that the API would accept every request, and that the run's conversation is valid.
    #[track_caller]
    pub fn assert_valid(&self, run: &Run) {
        assert_eq!(self.model().complaints(), [] as [String; 0]);
        if let Err(invalid) = check(run.machine().messages(), Tail::Open) {
            panic!("{invalid}: {}", run.messages());
        }
    }
}
