//! Sends webhooks when turns end.
//!
//! A webhook is stored together with its turn's end, in [`Document::deliveries`], until an attempt
//! succeeds or the last one fails. The session's holder makes the attempts and keeps the session
//! meanwhile, so another server continues if the holder dies. If a server dies between an attempt
//! and its record, the webhook is sent again: delivery is at least once, always with the same id.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;
use url::{Host, Url};
use uuid::Uuid;

use super::Server;
use super::hold::{FIRST_WAIT, LONGEST_WAIT};
use crate::chat::ChatMessage;
use crate::engine::{Change, Delivery, Document, Webhook, delivered};
use crate::store::{CommitResult, Record, Status, StoreError, Timestamp};

/// The time limit of one attempt.
const ATTEMPT: Duration = Duration::from_secs(10);
/// The waits before further attempts.
const WAITS: [Duration; 5] = [
    Duration::from_secs(1),
    Duration::from_secs(4),
    Duration::from_secs(15),
    Duration::from_secs(60),
    Duration::from_secs(300),
];

/// Sends webhooks.
pub(crate) struct Sender {
    allow_private: bool,
    /// The ids of the webhooks that are being delivered.
    now: Mutex<HashSet<String>>,
    /// Created at its first use, because the platform's root certificates take memory.
    tls: OnceCell<TlsConnector>,
}

/// The body of a webhook.
#[derive(Serialize)]
struct Payload<'a> {
    session_id: Uuid,
    status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<&'a ChatMessage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    messages: Option<Box<RawValue>>,
    trace_metrics: TraceMetrics<'a>,
}

#[derive(Serialize)]
struct TraceMetrics<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<&'a str>,
    total_duration: f64,
    total_tokens: u64,
    has_error: bool,
}

impl Server {
    /// Delivers the waiting webhooks of this session, each in its own task. The session's holder
    /// delivers them, so this is called whenever this server becomes the holder.
    pub(super) fn deliver_all(self: &Arc<Self>, record: &Record, document: &Document) {
        for delivery in &document.deliveries {
            let Some(guard) = DeliveryGuard::begin(self, &delivery.id) else { continue };
            let (server, record, delivery) = (Arc::clone(self), record.clone(), delivery.clone());
            self.tasks.spawn(async move {
                server.deliver(record, &delivery).await;
                drop(guard);
            });
        }
    }

    /// Delivers a webhook, and repeats attempts that may succeed later.
    async fn deliver(self: &Arc<Self>, record: Record, delivery: &Delivery) {
        let id = record.id;
        let body = self.payload(record, delivery).await;
        let mut waits = WAITS.into_iter();
        loop {
            let attempt = tokio::time::timeout(
                ATTEMPT,
                self.webhooks.send(&delivery.webhook, &delivery.id, body.clone()),
            );
            let problem = match attempt.await {
                Ok(Ok(status)) if status.is_success() => break,
                Ok(Ok(status))
                    if !(status.is_server_error() || matches!(status.as_u16(), 408 | 429)) =>
                {
                    tracing::warn!(session = %id, %status, "the webhook was refused");
                    self.metrics.webhook_failed();
                    break;
                }
                Ok(Ok(status)) => format!("status {status}"),
                Ok(Err(Problem::Forbidden(text))) => {
                    tracing::warn!(session = %id, "not sending the webhook: {text}");
                    self.metrics.webhook_failed();
                    break;
                }
                Ok(Err(Problem::Failed(text))) => text,
                Err(_) => "no answer in time".to_owned(),
            };
            let Some(wait) = waits.next() else {
                tracing::warn!(session = %id, "giving up on the webhook: {problem}");
                self.metrics.webhook_failed();
                break;
            };
            tracing::debug!(session = %id, ?wait, "retrying the webhook: {problem}");
            // The webhook is stored: the server that takes over the session continues.
            if self.is_released_within(wait).await || !self.still_delivers(id, delivery).await {
                return;
            }
        }
        self.forget_delivery(id, delivery).await;
    }

    /// Builds the body from the end of the turn, whatever happened after it.
    async fn payload(&self, record: Record, delivery: &Delivery) -> Bytes {
        let messages = if delivery.webhook.include_messages {
            let then = Record { head: delivery.head.min(record.head), ..record.clone() };
            let mut wait = FIRST_WAIT;
            loop {
                match self.messages(&then).await {
                    Ok(json) => break RawValue::from_string(json).ok(),
                    Err(error) => tracing::warn!(session = %record.id, "{error}"),
                }
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(LONGEST_WAIT);
            }
        } else {
            None
        };
        let payload = Payload {
            session_id: record.id,
            status: delivery.status,
            response: delivery.response.as_ref(),
            error: delivery.error.as_deref(),
            messages,
            trace_metrics: TraceMetrics {
                trace_id: delivery.trace_id.as_deref(),
                total_duration: Duration::from_millis(delivery.duration).as_secs_f64(),
                total_tokens: delivery.tokens,
                has_error: delivery.status == Status::Error,
            },
        };
        serde_json::to_vec(&payload).unwrap_or_default().into()
    }

    /// Returns whether the webhook still waits, and this server delivers it. Returns `true` while
    /// the store does not answer: a webhook that arrives twice is better than one that never
    /// arrives.
    async fn still_delivers(&self, id: Uuid, delivery: &Delivery) -> bool {
        match self.store.load(id).await {
            Ok(Some(record)) => {
                record.holder == Some(self.id)
                    && Document::of(&record).is_ok_and(|document| {
                        document.deliveries.iter().any(|known| known.id == delivery.id)
                    })
            }
            Ok(None) => false,
            Err(_) => true,
        }
    }

    /// Records that the webhook needs no more attempts. Repeats until the store answers.
    async fn forget_delivery(&self, id: Uuid, delivery: &Delivery) {
        let mut wait = FIRST_WAIT;
        loop {
            match self.try_forget_delivery(id, delivery).await {
                Ok(true) => return,
                Ok(false) => continue,
                Err(error) => tracing::warn!(session = %id, "{error}"),
            }
            if self.is_released_within(wait).await {
                return;
            }
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    /// Waits this long. Returns `true` at once when the server ends.
    async fn is_released_within(&self, wait: Duration) -> bool {
        tokio::time::timeout(wait, self.release.cancelled()).await.is_ok()
    }

    async fn try_forget_delivery(&self, id: Uuid, delivery: &Delivery) -> Result<bool, StoreError> {
        let Some(record) = self.store.load(id).await? else { return Ok(true) };
        let document = Document::of(&record)?;
        let change =
            self.with_context(|context| delivered(&record, document, &delivery.id, context));
        let Change::Commit(commit) = change else { return Ok(true) };
        match self.store.commit(*commit).await? {
            CommitResult::Done => {
                self.hub.changed(id, Some(record.version + 1));
                Ok(true)
            }
            CommitResult::Conflict(None) => Ok(true),
            CommitResult::Conflict(Some(_)) | CommitResult::Replay(_) => Ok(false),
        }
    }
}

/// Marks a webhook as being delivered while the guard lives.
struct DeliveryGuard {
    server: Arc<Server>,
    id: String,
}

impl DeliveryGuard {
    /// Returns `None` if a task of this server already delivers the webhook.
    fn begin(server: &Arc<Server>, id: &str) -> Option<Self> {
        let mut now = server.webhooks.now.lock().unwrap_or_else(PoisonError::into_inner);
        now.insert(id.to_owned()).then(|| Self { server: Arc::clone(server), id: id.to_owned() })
    }
}

impl Drop for DeliveryGuard {
    fn drop(&mut self) {
        self.server.webhooks.now.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

/// Why an attempt failed.
enum Problem {
    /// The address is not allowed.
    Forbidden(String),
    Failed(String),
}

impl Problem {
    fn failed(error: impl core::fmt::Display) -> Self {
        Self::Failed(error.to_string())
    }
}

impl Sender {
    pub(super) fn new(allow_private: bool) -> Self {
        Self { allow_private, now: Mutex::default(), tls: OnceCell::new() }
    }

    async fn send(&self, webhook: &Webhook, id: &str, body: Bytes) -> Result<StatusCode, Problem> {
        let url =
            Url::parse(&webhook.url).map_err(|error| Problem::Forbidden(error.to_string()))?;
        check(&url, self.allow_private).map_err(|text| Problem::Forbidden(text.to_owned()))?;
        let (host, port) = (
            url.host().ok_or(Problem::Forbidden(String::new()))?,
            url.port_or_known_default().unwrap_or(80),
        );
        let name = host.to_string();
        let stream = self.connect(&host, port).await?;
        let now = Timestamp::now().0 / 1000;
        let mut request = Request::post(&url[url::Position::BeforePath..url::Position::AfterQuery])
            .header(
                "host",
                url.port().map_or_else(|| name.clone(), |port| format!("{name}:{port}")),
            )
            .header("content-type", "application/json")
            .header("user-agent", concat!("toolrunner-serve/", env!("CARGO_PKG_VERSION")))
            .header("webhook-id", id)
            .header("webhook-timestamp", now.to_string());
        if let Some(token) = &webhook.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if let Some(key) = webhook.secret.as_deref().and_then(key_of) {
            let signed = [format!("{id}.{now}.").as_bytes(), &body].concat();
            let signature =
                ring::hmac::sign(&ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &key), &signed);
            request =
                request.header("webhook-signature", format!("v1,{}", BASE64.encode(signature)));
        }
        let request = request.body(Full::new(body)).map_err(Problem::failed)?;
        if url.scheme() == "https" {
            let tls = self
                .tls
                .get_or_try_init(async || crate::tls::connector().map_err(Problem::failed))
                .await?;
            let name = ServerName::try_from(name.trim_matches(['[', ']']).to_owned())
                .map_err(Problem::failed)?;
            exchange(tls.connect(name, stream).await.map_err(Problem::failed)?, request).await
        } else {
            exchange(stream, request).await
        }
    }

    /// Connects to an allowed address. Resolves the name only once, so that it cannot change
    /// between the check and the connection.
    async fn connect(&self, host: &Host<&str>, port: u16) -> Result<TcpStream, Problem> {
        let addresses: Vec<SocketAddr> = match host {
            Host::Domain(name) => {
                tokio::net::lookup_host((*name, port)).await.map_err(Problem::failed)?.collect()
            }
            Host::Ipv4(address) => vec![(*address, port).into()],
            Host::Ipv6(address) => vec![(*address, port).into()],
        };
        let mut last = Problem::Forbidden("the host name resolves to a private address".to_owned());
        for address in
            addresses.into_iter().filter(|address| self.allow_private || !is_private(address.ip()))
        {
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = Problem::failed(error),
            }
        }
        Err(last)
    }
}

async fn exchange<S>(stream: S, request: Request<Full<Bytes>>) -> Result<StatusCode, Problem>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (mut send, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(Problem::failed)?;
    let asked = send.send_request(request);
    tokio::pin!(connection, asked);
    tokio::select! {
        biased;
        reply = &mut asked => reply.map(|reply| reply.status()).map_err(Problem::failed),
        ended = &mut connection => match ended {
            Ok(()) => asked.await.map(|reply| reply.status()).map_err(Problem::failed),
            Err(error) => Err(Problem::failed(error)),
        }
    }
}

/// Returns the key in a secret of the form `whsec_` and base64.
pub(crate) fn key_of(secret: &str) -> Option<Vec<u8>> {
    BASE64.decode(secret.strip_prefix("whsec_")?).ok().filter(|key| !key.is_empty())
}

/// Checks the URL of a webhook, as far as that is possible without resolving its name.
pub(crate) fn check_url(url: &str, allow_private: bool) -> Result<(), &'static str> {
    check(&Url::parse(url).map_err(|_| "Input should be a valid URL")?, allow_private)
}

fn check(url: &Url, allow_private: bool) -> Result<(), &'static str> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err("URL scheme should be 'http' or 'https'");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("Credentials in a URL are not sent: use `token`");
    }
    let is_private = match url.host() {
        None => return Err("URL has no host"),
        Some(Host::Domain(name)) => {
            let name = name.trim_end_matches('.');
            name == "localhost" || name.ends_with(".localhost")
        }
        Some(Host::Ipv4(address)) => is_private(address.into()),
        Some(Host::Ipv6(address)) => is_private(address.into()),
    };
    if is_private && !allow_private {
        Err("Webhooks to private addresses are not allowed")
    } else {
        Ok(())
    }
}

/// Returns whether an address leads to this machine, to its network, or to no single machine of the
/// Internet.
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            v4.is_loopback()
                || v4.is_private()
                || v4.is_link_local()
                || v4.is_multicast()
                || v4.is_broadcast()
                || v4.is_documentation()
                || a == 0
                || a >= 240
                // Carrier-grade NAT, protocol assignments, benchmarks.
                || (a == 100 && (64..128).contains(&b))
                || (a == 192 && b == 0 && c == 0)
                || (a == 198 && (18..20).contains(&b))
        }
        IpAddr::V6(v6) => {
            let parts = v6.segments();
            // IPv6 addresses that contain an IPv4 address: mapped, compatible, NAT64, 6to4.
            let inner = match parts {
                [0, 0, 0, 0, 0, 0xffff | 0, high, low]
                | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
                | [0x2002, high, low, ..] => {
                    Some(IpAddr::V4((u32::from(high) << 16 | u32::from(low)).into()))
                }
                _ => None,
            };
            v6.is_loopback()
                || v6.is_unspecified()
                || v6.is_multicast()
                || v6.is_unique_local()
                || v6.is_unicast_link_local()
                || (parts[0] == 0x2001 && parts[1] == 0xdb8)
                || inner.is_some_and(is_private)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_addresses_are_refused_in_every_spelling() {
        let private = [
            "http://127.0.0.1/",
            "http://127.1/",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://0/",
            "http://[::1]/",
            "http://[::ffff:10.0.0.1]/",
            "http://[64:ff9b::a9fe:a9fe]/",
            "http://[2002:7f00:1::]/",
            "http://[fd00::1]/",
            "http://[fe80::1]/",
            "http://169.254.169.254/latest/meta-data",
            "http://100.64.0.1/",
            "http://192.168.1.1:8080/",
            "http://localhost/",
            "http://LOCALHOST./",
            "http://a.localhost/",
        ];
        for url in private {
            assert!(check_url(url, false).is_err(), "{url}");
            assert!(check_url(url, true).is_ok(), "{url}");
        }
        for url in
            ["https://example.org/hook", "http://93.184.216.34/", "https://[2606:4700::1111]/"]
        {
            assert!(check_url(url, false).is_ok(), "{url}");
        }
        for url in
            ["ftp://example.org/", "file:///etc/passwd", "nonsense", "http://", "http://a:b@c/"]
        {
            assert!(check_url(url, true).is_err(), "{url}");
        }
    }

    #[test]
    fn secrets_are_of_the_standard_form() {
        assert_eq!(key_of("whsec_aGVsbG8=").unwrap(), b"hello");
        for bad in ["aGVsbG8=", "whsec_", "whsec_!"] {
            assert!(key_of(bad).is_none(), "{bad}");
        }
    }
}
