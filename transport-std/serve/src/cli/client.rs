//! A client of a server.

use core::fmt;
use std::process::ExitCode;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::net::TcpStream;
use url::Url;

/// Why a command failed.
#[derive(Debug)]
pub(super) enum Problem {
    /// The server refused the request.
    Status(u16, String),
    /// The turn failed.
    Turn(String),
    Other(String),
}

impl Problem {
    pub(super) fn code(&self) -> ExitCode {
        match self {
            Self::Turn(_) => ExitCode::from(3),
            _ => ExitCode::from(1),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status, body) => write!(f, "{status} - {body}"),
            Self::Turn(text) | Self::Other(text) => f.write_str(text),
        }
    }
}

fn other(error: impl fmt::Display) -> Problem {
    Problem::Other(error.to_string())
}

/// A connection to one server.
pub(super) struct Client {
    url: Url,
    token: Option<String>,
}

impl Client {
    pub(super) fn new(url: &str, token: Option<String>) -> Result<Self, Problem> {
        let text = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
        let url = Url::parse(&text).map_err(|error| Problem::Other(format!("{url}: {error}")))?;
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            return Err(Problem::Other(format!("{url} is not the URL of a server")));
        }
        Ok(Self { url, token })
    }

    pub(super) async fn get(&self, path: &str) -> Result<Value, Problem> {
        self.json(self.request("GET", path).body(Full::default()).map_err(other)?).await
    }

    pub(super) async fn post(
        &self,
        path: &str,
        body: &Value,
        key: Option<&str>,
    ) -> Result<Value, Problem> {
        let mut request = self.request("POST", path).header("content-type", "application/json");
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let body =
            if body.is_null() { Full::default() } else { Full::new(Bytes::from(body.to_string())) };
        self.json(request.body(body).map_err(other)?).await
    }

    pub(super) async fn delete(&self, path: &str) -> Result<(), Problem> {
        self.send(self.request("DELETE", path).body(Full::default()).map_err(other)?)
            .await
            .map(|_| ())
    }

    /// Waits until the session runs no turn, or the time is up, and returns the session.
    pub(super) async fn settled(&self, id: &str, timeout: Option<f64>) -> Result<Value, Problem> {
        let end = timeout.map(|seconds| {
            tokio::time::Instant::now()
                + core::time::Duration::from_secs_f64(seconds.clamp(0.0, 1e9))
        });
        loop {
            // Proxies close connections that are silent for long.
            let left = end.map_or(25.0, |end| {
                end.saturating_duration_since(tokio::time::Instant::now()).as_secs_f64().min(25.0)
            });
            let session = self.get(&format!("/sessions/{id}?wait=true&timeout={left:.3}")).await?;
            if session["status"] != "running"
                || end.is_some_and(|end| tokio::time::Instant::now() >= end)
            {
                return Ok(session);
            }
        }
    }

    /// Returns all rows of a paginated list.
    pub(super) async fn pages(&self, path: String) -> Result<Vec<Value>, Problem> {
        let (mut rows, mut next) = (Vec::new(), Some(path));
        while let Some(path) = next {
            let response =
                self.send(self.request("GET", &path).body(Full::default()).map_err(other)?).await?;
            let link = response.headers().get("link").and_then(|link| link.to_str().ok());
            next = link.and_then(|link| {
                Some(link.strip_prefix('<')?.split_once(">; rel=\"next\"")?.0.to_owned())
            });
            match body_of(response).await? {
                Value::Array(page) => rows.extend(page),
                other => {
                    return Err(Problem::Other(format!(
                        "the server's answer is not a list: {other}"
                    )));
                }
            }
        }
        Ok(rows)
    }

    /// Passes each event of a stream to `see`, until the stream ends. Resumes an interrupted
    /// stream.
    pub(super) async fn follow(
        &self,
        path: &str,
        mut see: impl FnMut(&str, &str) + Send,
    ) -> Result<(), Problem> {
        let mut last = None::<String>;
        let mut failures = 0;
        loop {
            match self
                .stream(path, &mut last, &mut |event, data| {
                    failures = 0;
                    see(event, data);
                    true
                })
                .await
            {
                Ok(()) => {}
                Err(problem @ Problem::Status(..)) => return Err(problem),
                Err(problem) if failures >= 5 => return Err(problem),
                Err(_) => failures += 1,
            }
            tokio::time::sleep(core::time::Duration::from_secs(1)).await;
        }
    }

    /// Passes each event of one stream to `see`, until `see` returns `false`. `last` is the id of
    /// the last event.
    pub(super) async fn stream(
        &self,
        path: &str,
        last: &mut Option<String>,
        see: &mut (dyn FnMut(&str, &str) -> bool + Send),
    ) -> Result<(), Problem> {
        let mut request = self.request("GET", path).header("accept", "text/event-stream");
        if let Some(id) = last {
            request = request.header("last-event-id", id.as_str());
        }
        let mut body = self.send(request.body(Full::default()).map_err(other)?).await?.into_body();
        let (mut text, mut event, mut data) = (Vec::new(), String::new(), String::new());
        while let Some(frame) = body.frame().await {
            let Ok(bytes) = frame.map_err(other)?.into_data() else { continue };
            text.extend_from_slice(&bytes);
            while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = text.drain(..=end).collect();
                let line = String::from_utf8_lossy(&line);
                match line.trim_end().split_once(": ") {
                    Some(("event", name)) => name.clone_into(&mut event),
                    Some(("id", id)) => *last = Some(id.to_owned()),
                    Some(("data", json)) => json.clone_into(&mut data),
                    _ if line.trim_end().is_empty() && !event.is_empty() => {
                        if !see(&event, &data) {
                            return Ok(());
                        }
                        event.clear();
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn request(&self, method: &str, path: &str) -> hyper::http::request::Builder {
        let prefix = self.url.path().trim_end_matches('/');
        let host = &self.url[url::Position::BeforeHost..url::Position::AfterPort];
        let mut request =
            Request::builder().method(method).uri(format!("{prefix}{path}")).header("host", host);
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        request
    }

    async fn json(&self, request: Request<Full<Bytes>>) -> Result<Value, Problem> {
        body_of(self.send(request).await?).await
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Problem> {
        let refused = |_| Problem::Other(format!("Could not connect to {}", self.url));
        let host = self.url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let port = self.url.port_or_known_default().unwrap_or(80);
        let stream = TcpStream::connect((host.as_str(), port)).await.map_err(refused)?;
        let response = if self.url.scheme() == "https" {
            let name = ServerName::try_from(host).map_err(other)?;
            exchange(
                crate::tls::connector()
                    .map_err(other)?
                    .connect(name, stream)
                    .await
                    .map_err(other)?,
                request,
            )
            .await?
        } else {
            exchange(stream, request).await?
        };
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.map_err(other)?.to_bytes();
        Err(Problem::Status(status, String::from_utf8_lossy(&body).into_owned()))
    }
}

async fn body_of(response: Response<Incoming>) -> Result<Value, Problem> {
    let bytes = response.into_body().collect().await.map_err(other)?.to_bytes();
    if bytes.is_empty() { Ok(Value::Null) } else { serde_json::from_slice(&bytes).map_err(other) }
}

async fn exchange<S>(
    stream: S,
    request: Request<Full<Bytes>>,
) -> Result<Response<Incoming>, Problem>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (mut send, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(other)?;
    tokio::spawn(connection);
    send.send_request(request).await.map_err(other)
}
