//! A web site on this machine's loopback interface, for the example and its tests.

use core::net::SocketAddr;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// A page, or a redirect.
#[derive(Clone, Debug)]
pub struct Page {
    /// The status line, such as `200 OK`.
    pub status: &'static str,
    /// Headers besides those about the connection, each with its line break.
    pub headers: String,
    /// The HTML text.
    pub body: String,
}

impl Page {
    /// Creates a page with the status 200.
    pub fn html(body: impl Into<String>) -> Self {
        let headers = "Content-Type: text/html; charset=utf-8\r\n".to_owned();
        Self { status: "200 OK", headers, body: body.into() }
    }

    /// Creates a redirect.
    pub fn redirect(to: &str) -> Self {
        Self { status: "302 Found", headers: format!("Location: {to}\r\n"), body: String::new() }
    }
}

/// A site that is being served, until the program ends.
#[derive(Clone, Debug)]
pub struct Site {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Site {
    /// Serves the pages that `page` returns for paths with their queries.
    ///
    /// # Errors
    /// Returns the error of the system if no port can be opened.
    pub fn serve(page: impl Fn(&str) -> Page + Send + Sync + 'static) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let site = Self { address: listener.local_addr()?, requests: Arc::default() };
        let (requests, page) = (Arc::clone(&site.requests), Arc::new(page));
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let (requests, page) = (Arc::clone(&requests), Arc::clone(&page));
                thread::spawn(move || {
                    let _closed = answer(&connection, &requests, &*page);
                });
            }
        });
        Ok(site)
    }

    /// Returns the host and the port.
    pub fn authority(&self) -> String {
        self.address.to_string()
    }

    /// Returns the URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Returns the paths that were asked for, with their queries.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn answer(
    mut connection: &TcpStream,
    requests: &Mutex<Vec<String>>,
    page: &dyn Fn(&str) -> Page,
) -> io::Result<()> {
    let mut lines = BufReader::new(connection).lines();
    let Some(first) = lines.next().transpose()? else { return Ok(()) };
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    if path == "/favicon.ico" {
        return write!(
            connection,
            "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
    }
    requests.lock().unwrap_or_else(PoisonError::into_inner).push(path.clone());
    let Page { status, headers, body } = page(&path);
    let length = body.len();
    write!(
        connection,
        "HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}
