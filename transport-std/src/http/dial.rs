//! How a connection comes about: proxy, name, TCP, TLS, handshake.

use core::error::Error;
use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;
use std::sync::Arc;

use http::{HeaderValue, Uri};
use hyper::client::conn::{http1, http2};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::{GaiAddrs, GaiResolver, Name};
use hyper_util::client::legacy::connect::proxy::{SocksV4, SocksV5, Tunnel};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio_rustls::TlsConnector;
use tower_service::Service;

use super::error::{BoxError, DnsError};
use super::sent::SentBody;

/// Which proxies stand between.
#[derive(Clone)]
pub struct Proxies(Which);

#[derive(Clone)]
enum Which {
    Environment,
    None,
    Url(String),
}

/// What was given as a proxy's URL is none that can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadProxy;

impl Proxies {
    /// What `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` say, in capitals or not, as curl reads them.
    pub const fn from_env() -> Self {
        Self(Which::Environment)
    }

    /// None, whatever the environment says.
    pub const fn none() -> Self {
        Self(Which::None)
    }

    /// This one for every server: `http://`, `socks5://`, `socks5h://`, `socks4://` or `socks4a://`, with `user:password@` if it
    /// asks for them. SOCKS proxies look names up themselves.
    ///
    /// # Errors
    /// If it is no such URL.
    pub fn url(url: &str) -> Result<Self, BadProxy> {
        let matcher = Matcher::builder().all(url.to_owned()).build();
        let usable = matcher.intercept(&Uri::from_static("http://server/")).map(|found| Via::new(&found, false));
        match usable {
            None | Some(Via::Unusable) => Err(BadProxy),
            Some(_) => Ok(Self(Which::Url(url.to_owned()))),
        }
    }

    pub(super) fn matcher(&self) -> Option<Matcher> {
        match &self.0 {
            Which::Environment => Some(Matcher::from_env()),
            Which::None => None,
            Which::Url(url) => Some(Matcher::builder().all(url.clone()).build()),
        }
    }
}

impl fmt::Debug for Proxies {
    /// Without the URL, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Which::Environment => "Proxies(from the environment)",
            Which::None => "Proxies(none)",
            Which::Url(_) => "Proxies(…)",
        })
    }
}

impl fmt::Display for BadProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a proxy's URL: expected http://, socks5://, socks5h://, socks4:// or socks4a:// and a host")
    }
}

impl Error for BadProxy {}

/// The way to a server.
pub(super) enum Via {
    Direct,
    /// An HTTP proxy that is told the whole URL and passes the request on.
    Forward {
        proxy: Uri,
        auth: Option<HeaderValue>,
    },
    /// An HTTP proxy that is asked for a tunnel.
    Tunnel {
        proxy: Uri,
        auth: Option<HeaderValue>,
    },
    Socks5 {
        proxy: Uri,
        auth: Option<(String, String)>,
    },
    Socks4 {
        proxy: Uri,
    },
    /// A proxy that is itself reached by TLS.
    Unusable,
}

impl Via {
    pub(super) fn to(target: &Uri, proxies: Option<&Matcher>) -> Self {
        let secure = target.scheme() == Some(&http::uri::Scheme::HTTPS);
        proxies.and_then(|proxies| proxies.intercept(target)).map_or(Self::Direct, |found| Self::new(&found, secure))
    }

    fn new(found: &Intercept, secure: bool) -> Self {
        let proxy = found.uri().clone();
        match proxy.scheme_str() {
            Some("http") if secure => Self::Tunnel { proxy, auth: found.basic_auth().cloned() },
            Some("http") => Self::Forward { proxy, auth: found.basic_auth().cloned() },
            Some("socks5" | "socks5h") => {
                let auth = found.raw_auth().map(|(user, password)| (user.to_owned(), password.to_owned()));
                Self::Socks5 { proxy: with_port(proxy), auth }
            }
            Some("socks4" | "socks4a") => Self::Socks4 { proxy: with_port(proxy) },
            _ => Self::Unusable,
        }
    }

    /// `host:port` of the proxy, if there is one.
    pub(super) fn proxy(&self) -> Option<&str> {
        match self {
            Self::Forward { proxy, .. } | Self::Tunnel { proxy, .. } | Self::Socks5 { proxy, .. } | Self::Socks4 { proxy } => {
                proxy.authority().map(http::uri::Authority::as_str)
            }
            Self::Direct | Self::Unusable => None,
        }
    }
}

/// SOCKS has a port of its own, that the connector does not know.
fn with_port(proxy: Uri) -> Uri {
    if proxy.port().is_some() {
        return proxy;
    }
    let Some(host) = proxy.host() else {
        return proxy;
    };
    let with_port = Uri::builder().scheme("socks5").authority(format!("{host}:1080")).path_and_query("/").build();
    with_port.unwrap_or(proxy)
}

/// A connection that can carry a request.
pub(super) enum Dialed {
    Http1(http1::SendRequest<SentBody>, AbortHandle),
    Http2(http2::SendRequest<SentBody>),
}

/// Makes connections. Holds none.
pub(super) struct Dialer {
    tcp: HttpConnector<Resolver>,
}

impl Dialer {
    pub(super) fn new() -> Self {
        let mut tcp = HttpConnector::new_with_resolver(Resolver(GaiResolver::new()));
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(Duration::from_secs(60)));
        Self { tcp }
    }

    /// Connects to `target`, with TLS if there is a configuration for it.
    pub(super) async fn dial(&self, target: &Uri, via: &Via, tls: Option<Arc<ClientConfig>>) -> Result<Dialed, BoxError> {
        let stream = self.tcp(target, via).await?.into_inner();
        let Some(tls) = tls else {
            return http1(stream).await;
        };
        let name = target.host().unwrap_or_default().trim_matches(['[', ']']);
        let name = ServerName::try_from(name.to_owned())?;
        let stream = TlsConnector::from(tls).connect(name, stream).await?;
        if stream.get_ref().1.alpn_protocol() == Some(b"h2") { http2(stream).await } else { http1(stream).await }
    }

    async fn tcp(&self, target: &Uri, via: &Via) -> Result<TokioIo<TcpStream>, BoxError> {
        let mut tcp = self.tcp.clone();
        Ok(match via {
            Via::Direct => tcp.call(target.clone()).await?,
            Via::Forward { proxy, .. } => tcp.call(proxy.clone()).await?,
            Via::Tunnel { proxy, auth } => {
                let mut tunnel = Tunnel::new(proxy.clone(), tcp);
                if let Some(auth) = auth {
                    tunnel = tunnel.with_auth(auth.clone());
                }
                tunnel.call(target.clone()).await?
            }
            Via::Socks5 { proxy, auth } => {
                let mut socks = SocksV5::new(proxy.clone(), tcp);
                if let Some((user, password)) = auth {
                    socks = socks.with_auth(user.clone(), password.clone());
                }
                socks.call(target.clone()).await?
            }
            Via::Socks4 { proxy } => SocksV4::new(proxy.clone(), tcp).call(target.clone()).await?,
            Via::Unusable => return Err("a proxy that is reached by https:// cannot be used".into()),
        })
    }
}

async fn http1<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S) -> Result<Dialed, BoxError> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let task = tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "connection ended");
        }
    });
    sender.ready().await?;
    Ok(Dialed::Http1(sender, task.abort_handle()))
}

async fn http2<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S) -> Result<Dialed, BoxError> {
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "connection ended");
        }
    });
    sender.ready().await?;
    Ok(Dialed::Http2(sender))
}

/// The system's resolver, whose errors can be told from others.
#[derive(Clone)]
struct Resolver(GaiResolver);

impl Service<Name> for Resolver {
    type Response = GaiAddrs;
    type Error = DnsError;
    type Future = Pin<Box<dyn Future<Output = Result<GaiAddrs, DnsError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), DnsError>> {
        self.0.poll_ready(cx).map_err(DnsError)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let found = self.0.call(name);
        Box::pin(async { found.await.map_err(DnsError) })
    }
}
