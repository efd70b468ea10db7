//! One exchange as a cassette keeps it, and its JSON.

use core::fmt::Write;

use bytes::Bytes;
use toolrunner_core::__private::check;
use toolrunner_core::error::TransportKind;
use toolrunner_core::json::{Kind, Value};

use super::hide::Secrets;
use super::json::{compact, comparable};
use super::sse::{self, Event};
use crate::params::quoted;

const KINDS: [TransportKind; 8] = [
    TransportKind::Closed,
    TransportKind::Connect,
    TransportKind::Dns,
    TransportKind::Http,
    TransportKind::Other,
    TransportKind::Setup,
    TransportKind::Timeout,
    TransportKind::Tls,
];

/// The contents of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content {
    Empty,
    /// JSON without white space.
    Json(String),
    /// The events of a stream, and the text after the last one.
    Events(Vec<Event>, String),
    Text(String),
    Bytes(Vec<u8>),
}

/// A request without its secrets.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Content,
}

/// How the recorded part of a reply's body ends.
#[derive(Clone, Debug)]
pub(super) enum End {
    Whole,
    /// The client did not read on.
    Unread,
    Failed(TransportKind),
}

/// A reply without its secrets.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Content,
    /// The lengths of the pieces in which the body arrived, in bytes. The last one takes the rest.
    pub(super) pieces: Vec<usize>,
    /// The times before the pieces, in milliseconds. Empty if they were not recorded.
    pub(super) waits: Vec<u64>,
    pub(super) end: End,
}

/// A request and its reply, or the failure that came instead of one.
#[derive(Clone, Debug)]
pub(super) struct Exchange {
    pub(super) request: Request,
    pub(super) reply: Result<Reply, TransportKind>,
}

impl Content {
    /// Returns the contents without secrets, or `None` if the reply is a stream in an unusual
    /// format that has a secret in several events.
    pub(super) fn of(bytes: &[u8], secrets: &Secrets) -> Option<Self> {
        if bytes.is_empty() {
            return Some(Self::Empty);
        }
        let Ok(text) = core::str::from_utf8(bytes) else {
            return Some(Self::Bytes(secrets.bytes(bytes)));
        };
        if let Some(json) = secrets.json(text) {
            return Some(Self::Json(json));
        }
        if let Some((mut events, rest)) = sse::events(text) {
            sse::hide(&mut events, secrets);
            return Some(Self::Events(events, secrets.text(rest).into_owned()));
        }
        let text = secrets.text(text);
        (!sse::has_split_secret(&text, secrets)).then(|| Self::Text(text.into_owned()))
    }

    /// Returns the bytes of the contents.
    pub(super) fn bytes(&self) -> Bytes {
        match self {
            Self::Empty => Bytes::new(),
            Self::Json(text) | Self::Text(text) => Bytes::copy_from_slice(text.as_bytes()),
            Self::Events(events, rest) => Bytes::from(sse::stream(events, rest)),
            Self::Bytes(bytes) => Bytes::copy_from_slice(bytes),
        }
    }

    /// Appends the members of an object that has this body.
    fn write(&self, out: &mut String) {
        let _ = match self {
            Self::Empty => Ok(()),
            Self::Json(json) => write!(out, ",\"json\":{json}"),
            Self::Text(text) => write!(out, ",\"text\":{}", quoted(text)),
            Self::Bytes(bytes) => write!(out, ",\"hex\":\"{}\"", hex(bytes)),
            Self::Events(events, rest) => {
                let event = |event: &Event| match &event.name {
                    Some(name) => format!("{{\"event\":{},\"data\":{}}}", quoted(name), event.data),
                    None => format!("{{\"data\":{}}}", event.data),
                };
                let events: Vec<String> = events.iter().map(event).collect();
                let _ = write!(out, ",\"events\":[{}]", events.join(","));
                if rest.is_empty() { Ok(()) } else { write!(out, ",\"rest\":{}", quoted(rest)) }
            }
        };
    }

    fn read(value: Value<'_>) -> Option<Self> {
        let text = |name| value.member(name).and_then(Value::as_text).map(|text| text.to_string());
        if let Some(json) = value.member("json") {
            let mut out = String::new();
            compact(json, &|_| None, &mut out);
            return Some(Self::Json(out));
        }
        if let Some(events) = value.member("events") {
            let event = |value: Value<'_>| {
                let mut data = String::new();
                compact(value.member("data")?, &|_| None, &mut data);
                let name = value.member("event").and_then(Value::as_text);
                Some(Event { name: name.map(|name| name.to_string()), data })
            };
            let events = events.elements().map(event).collect::<Option<_>>()?;
            return Some(Self::Events(events, text("rest").unwrap_or_default()));
        }
        if let Some(hex) = text("hex") {
            return unhex(&hex).map(Self::Bytes);
        }
        Some(text("text").map_or(Self::Empty, Self::Text))
    }
}

impl Request {
    /// Returns the request as text, to be compared. `ignored` are JSON pointers into the body.
    pub(super) fn comparable(&self, ignored: &[String]) -> String {
        let mut text = format!("{} {}\n", self.method, self.path);
        let mut headers: Vec<_> =
            self.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
        headers.sort();
        for (name, value) in headers {
            let _ = writeln!(text, "{name}: {value}");
        }
        text.push('\n');
        match &self.body {
            Content::Json(json) => {
                let value = Value::first(json.as_bytes()).unwrap_or(Value::NULL);
                text.push_str(&comparable(value, ignored));
            }
            Content::Bytes(bytes) => text.push_str(&hex(bytes)),
            other => text.push_str(&String::from_utf8_lossy(&other.bytes())),
        }
        if !text.ends_with('\n') {
            text.push('\n');
        }
        text
    }
}

impl Exchange {
    /// Appends the exchange as compact JSON.
    pub(super) fn write(&self, out: &mut String) {
        let Request { method, path, headers, body } = &self.request;
        let _ = write!(
            out,
            "{{\"request\":{{\"method\":{},\"path\":{},\"headers\":{}",
            quoted(method),
            quoted(path),
            fields(headers)
        );
        body.write(out);
        out.push_str("},\"reply\":{");
        match &self.reply {
            Err(kind) => write_failure(*kind, out),
            Ok(reply) => {
                let Reply { status, headers, body, pieces, waits, end } = reply;
                let _ = write!(out, "\"status\":{status},\"headers\":{}", fields(headers));
                body.write(out);
                if pieces.len() > 1 {
                    let _ = write!(out, ",\"pieces\":{pieces:?}");
                }
                if !waits.is_empty() {
                    let _ = write!(out, ",\"waits_ms\":{waits:?}");
                }
                match end {
                    End::Whole => {}
                    End::Unread => out.push_str(",\"unread\":true"),
                    End::Failed(kind) => {
                        out.push(',');
                        write_failure(*kind, out);
                    }
                }
            }
        }
        out.push_str("}}");
    }

    /// Reads an exchange. Returns `None` if `value` is not one.
    fn read(value: Value<'_>) -> Option<Self> {
        let (request, reply) = (value.member("request")?, value.member("reply")?);
        let text = |name| request.member(name)?.as_text().map(|text| text.to_string());
        let request = Request {
            method: text("method")?,
            path: text("path")?,
            headers: read_fields(request),
            body: Content::read(request)?,
        };
        let failure = reply.member("failure").map(read_failure);
        let Some(status) = reply.member("status") else {
            return Some(Self { request, reply: Err(failure??) });
        };
        let numbers = |name| {
            let list = reply.member(name).unwrap_or(Value::NULL);
            list.elements().map(Value::as_u64).collect::<Option<Vec<u64>>>()
        };
        let pieces = numbers("pieces")?.into_iter().map(usize::try_from);
        let end = match failure {
            Some(failure) => End::Failed(failure?),
            None if reply.member("unread").and_then(Value::as_bool) == Some(true) => End::Unread,
            None => End::Whole,
        };
        let reply = Reply {
            status: u16::try_from(status.as_u64()?).ok()?,
            headers: read_fields(reply),
            body: Content::read(reply)?,
            pieces: pieces.collect::<Result<_, _>>().ok()?,
            waits: numbers("waits_ms")?,
            end,
        };
        Some(Self { request, reply: Ok(reply) })
    }
}

/// Appends a failure. Its text is not kept, because it names the server.
fn write_failure(kind: TransportKind, out: &mut String) {
    let _ = write!(out, "\"failure\":\"{kind:?}\"");
}

fn read_failure(value: Value<'_>) -> Option<TransportKind> {
    let name = value.as_text()?;
    KINDS.into_iter().find(|kind| name == *format!("{kind:?}"))
}

/// Returns the exchanges of a cassette, or what is wrong with its text.
pub(super) fn read(text: &str) -> Result<Vec<Exchange>, String> {
    check(text.as_bytes()).map_err(|error| error.to_string())?;
    let root = Value::first(text.as_bytes()).unwrap_or(Value::NULL);
    if root.kind() != Kind::Object || root.member("cassette").and_then(Value::as_u64) != Some(1) {
        return Err("its member \"cassette\" must be 1, the version of the format".to_owned());
    }
    let exchanges = root.member("exchanges").unwrap_or(Value::NULL);
    let numbered = exchanges.elements().enumerate();
    numbered
        .map(|(i, value)| {
            Exchange::read(value).ok_or_else(|| format!("exchange {} is incomplete", i + 1))
        })
        .collect()
}

/// Returns the text of a cassette.
pub(super) fn write(exchanges: &[Exchange]) -> String {
    let mut json = String::from("{\"cassette\":1,\"exchanges\":[");
    for (i, exchange) in exchanges.iter().enumerate() {
        if i > 0 {
            json.push(',');
        }
        exchange.write(&mut json);
    }
    json.push_str("]}");
    let mut text = String::new();
    if let Some(value) = Value::first(json.as_bytes()) {
        super::json::pretty(value, 0, &mut text);
    }
    text.push('\n');
    text
}

fn fields(fields: &[(String, String)]) -> String {
    let field = |(name, value): &(String, String)| format!("{}:{}", quoted(name), quoted(value));
    format!("{{{}}}", fields.iter().map(field).collect::<Vec<_>>().join(","))
}

fn read_fields(value: Value<'_>) -> Vec<(String, String)> {
    let fields = value.member("headers").unwrap_or(Value::NULL);
    let field = |(name, value): (toolrunner_core::json::Text<'_>, Value<'_>)| {
        Some((name.to_string(), value.as_text()?.to_string()))
    };
    fields.members().filter_map(field).collect()
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(core::str::from_utf8(pair).ok()?, 16).ok()).collect()
}
