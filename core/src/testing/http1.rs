//! The scripted model behind HTTP/1.1: bytes in, bytes out. A server on a socket is a loop that
//! calls [`Connection::respond`].
//!
//! ```no_run
//! use std::io::{Read, Write};
//! use toolrunner_core::testing::{Chunk, ScriptedModel, http1::Connection};
//!
//! fn serve(
//!     mut socket: std::net::TcpStream,
//!     model: &std::sync::Mutex<ScriptedModel>,
//! ) -> std::io::Result<()> {
//!     let (mut connection, mut buffer) = (Connection::new(), [0; 4096]);
//!     while !connection.is_closed() {
//!         let length = socket.read(&mut buffer)?;
//!         if length == 0 {
//!             break;
//!         }
//!         let chunks = connection.respond(&mut model.lock().unwrap(), &buffer[..length]);
//!         for chunk in chunks {
//!             match chunk {
//!                 Chunk::Data(bytes) => socket.write_all(&bytes)?,
//!                 Chunk::Wait(pause) => std::thread::sleep(pause),
//!                 Chunk::Reset => return Ok(()),
//!             }
//!         }
//!     }
//!     Ok(())
//! }
//! ```

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::link::BadLink;
use super::model::{Response, ScriptedModel, bytes};
use super::render::error_json;
use super::request::Request;
use super::script::Chunk;

/// The maximum size of a request's head, in bytes.
const HEAD_LIMIT: usize = 64 * 1024;
/// The maximum size of a request's body, in bytes. This is the API's limit.
const BODY_LIMIT: usize = 32 * 1024 * 1024;

/// How the end of a body is marked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// Like the API: chunked for streams, by length for everything else.
    #[default]
    AsTheApi,
    /// By a `content-length` header.
    Length,
    /// By chunked encoding.
    Chunked,
    /// By closing the connection.
    Close,
}

/// The server side of one connection to the scripted model.
#[derive(Debug, Default)]
pub struct Connection {
    input: Vec<u8>,
    framing: Framing,
    link: Option<BadLink>,
    continued: bool,
    closed: bool,
}

/// A parsed request head.
struct RequestHead {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    /// The size of the head in bytes.
    len: usize,
}

impl RequestHead {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

impl Connection {
    /// Creates a connection.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets how the end of a body is marked.
    pub const fn framing(mut self, framing: Framing) -> Self {
        self.framing = framing;
        self
    }

    /// Sends all output, including heads, over `link`.
    pub fn link(mut self, link: BadLink) -> Self {
        self.link = Some(link);
        self
    }

    /// Returns whether the server closes the connection after the output of
    /// [`respond`](Self::respond) was sent.
    pub const fn is_closed(&self) -> bool {
        self.closed
    }

    /// Processes received bytes, in pieces of any size, and returns the output. The output is empty
    /// while a request is incomplete. The caller must drop the connection at [`Chunk::Reset`].
    pub fn respond(&mut self, model: &mut ScriptedModel, bytes: &[u8]) -> Vec<Chunk> {
        let mut out = Vec::new();
        if self.closed {
            return out;
        }
        self.input.extend_from_slice(bytes);
        while !self.closed {
            match self.next_request(&mut out) {
                Ok(Some((request, close))) => self.answer(model, request, close, &mut out),
                Ok(None) => break,
                Err((status, message)) => {
                    self.closed = true;
                    let body = error_json("invalid_request_error", message, "req_scripted_http")
                        .into_bytes();
                    let headers =
                        Vec::from([("content-type".to_string(), "application/json".to_string())]);
                    let response =
                        Response { status, headers, body: Vec::from([Chunk::Data(body)]) };
                    write(&response, Framing::Length, true, &mut out);
                }
            }
        }
        out
    }

    /// Returns the next request if it is complete, and whether the client wants to close the
    /// connection after it.
    fn next_request(
        &mut self,
        out: &mut Vec<Chunk>,
    ) -> Result<Option<(Request, bool)>, (u16, &'static str)> {
        let Some(head) = read_head(&self.input)? else {
            return Ok(None);
        };
        if head.method != "POST" {
            return Err((405, "only POST is supported"));
        }
        let Some(length) = head.header("content-length") else {
            return Err((411, "a request needs a content-length"));
        };
        let length =
            length.parse::<usize>().map_err(|_| (400, "content-length is not a number"))?;
        if length > BODY_LIMIT {
            return Err((413, "the body is larger than 32 MiB"));
        }
        let Some(body) = self.input.get(head.len..head.len + length) else {
            if head.header("expect").is_some_and(|value| value.eq_ignore_ascii_case("100-continue"))
                && !self.continued
            {
                self.continued = true;
                out.push(Chunk::Data(b"HTTP/1.1 100 Continue\r\n\r\n".to_vec()));
            }
            return Ok(None);
        };
        let body = body.to_vec();
        self.input.drain(..head.len + length);
        self.continued = false;
        let close =
            head.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        Ok(Some((Request { path: head.path, headers: head.headers, body }, close)))
    }

    fn answer(
        &mut self,
        model: &mut ScriptedModel,
        request: Request,
        close: bool,
        out: &mut Vec<Chunk>,
    ) {
        let streams = request.stream();
        let response = model.respond(request);
        let framing = match self.framing {
            Framing::AsTheApi if streams && response.status == 200 => Framing::Chunked,
            Framing::AsTheApi => Framing::Length,
            other => other,
        };
        self.closed = close || framing == Framing::Close;
        let mut chunks = Vec::new();
        write(&response, framing, self.closed, &mut chunks);
        let mut whole = true;
        if let Some(link) = &mut self.link {
            let carried = link.carry(&chunks);
            (chunks, whole) = (carried.chunks, carried.whole);
        }
        if !whole || chunks.contains(&Chunk::Reset) {
            self.closed = true;
            model.broken();
        }
        out.extend(chunks);
    }
}

fn read_head(input: &[u8]) -> Result<Option<RequestHead>, (u16, &'static str)> {
    let Some(end) = input.windows(4).position(|part| part == b"\r\n\r\n") else {
        return if input.len() > HEAD_LIMIT {
            Err((431, "the head is larger than 64 KiB"))
        } else {
            Ok(None)
        };
    };
    let bad = (400, "not an HTTP/1.1 request");
    let head = input.get(..end).and_then(|head| core::str::from_utf8(head).ok()).ok_or(bad)?;
    let mut lines = head.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (Some(method), Some(path), Some("HTTP/1.1"), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(bad);
    };
    let mut headers = Vec::new();
    for line in lines {
        let (name, value) = line.split_once(':').ok_or(bad)?;
        headers.push((name.to_string(), value.trim().to_string()));
    }
    Ok(Some(RequestHead {
        method: method.to_string(),
        path: path.to_string(),
        headers,
        len: end + 4,
    }))
}

/// Writes the head and the body.
fn write(response: &Response, framing: Framing, close: bool, out: &mut Vec<Chunk>) {
    let mut head = format!("HTTP/1.1 {} {}\r\n", response.status, reason(response.status));
    for (name, value) in &response.headers {
        head += &format!("{name}: {value}\r\n");
    }
    match framing {
        Framing::Chunked => head += "transfer-encoding: chunked\r\n",
        Framing::Close => {}
        Framing::Length | Framing::AsTheApi => {
            head += &format!("content-length: {}\r\n", bytes(&response.body).len())
        }
    }
    head += if close { "connection: close\r\n\r\n" } else { "\r\n" };
    out.push(Chunk::Data(head.into_bytes()));
    for chunk in &response.body {
        match chunk {
            Chunk::Data(data) if data.is_empty() => {}
            Chunk::Data(data) if framing == Framing::Chunked => {
                out.push(Chunk::Data(
                    [format!("{:x}\r\n", data.len()).as_bytes(), data, b"\r\n"].concat(),
                ));
            }
            Chunk::Reset => {
                out.push(Chunk::Reset);
                return;
            }
            other => out.push(other.clone()),
        }
    }
    if framing == Framing::Chunked {
        out.push(Chunk::Data(b"0\r\n\r\n".to_vec()));
    }
}

const fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        404 => "Not Found",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        529 => "Overloaded",
        _ => "Other",
    }
}
