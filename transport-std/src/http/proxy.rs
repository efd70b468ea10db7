//! Proxies: which one to use for a server, and how to connect through it.

use core::error::Error;
use core::fmt;

use http::{HeaderValue, Uri};
use hyper_util::client::legacy::connect::proxy::{SocksV4, SocksV5, Tunnel};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service;

use super::dial::Tcp;
use super::error::BoxError;

/// Which proxies to use.
#[derive(Clone)]
pub struct Proxies(ProxySource);

#[derive(Clone)]
enum ProxySource {
    Environment,
    None,
    Url(String),
}

/// The error for a proxy URL that cannot be used.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct BadProxy;

impl Proxies {
    /// Uses the proxies of `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`, in upper or
    /// lower case, as curl does.
    pub const fn from_env() -> Self {
        Self(ProxySource::Environment)
    }

    /// Uses no proxy, regardless of the environment.
    pub const fn none() -> Self {
        Self(ProxySource::None)
    }

    /// Uses this proxy for every server: `http://`, `socks5://`, `socks5h://`, `socks4://` or
    /// `socks4a://`, with `user:password@` if the proxy requires it. A SOCKS proxy resolves host
    /// names itself.
    ///
    /// # Errors
    /// Returns an error if `url` is not such a URL.
    pub fn url(url: &str) -> Result<Self, BadProxy> {
        let matcher = Matcher::builder().all(url.to_owned()).build();
        let usable = matcher
            .intercept(&Uri::from_static("http://server/"))
            .map(|found| ProxyRoute::new(&found, false));
        match usable {
            None | Some(ProxyRoute::Unusable) => Err(BadProxy),
            Some(_) => Ok(Self(ProxySource::Url(url.to_owned()))),
        }
    }

    pub(super) fn routes(&self) -> Routes {
        Routes(match &self.0 {
            ProxySource::Environment => Some(Matcher::from_env()),
            ProxySource::None => None,
            ProxySource::Url(url) => Some(Matcher::builder().all(url.clone()).build()),
        })
    }
}

impl fmt::Debug for Proxies {
    /// Omits the URL, which may contain a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            ProxySource::Environment => "Proxies(from the environment)",
            ProxySource::None => "Proxies(none)",
            ProxySource::Url(_) => "Proxies(…)",
        })
    }
}

impl fmt::Display for BadProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a proxy's URL: expected http://, socks5://, socks5h://, socks4:// or socks4a:// and a host")
    }
}

/// Writes the message, because `main` prints an error that it returns with `Debug`.
impl fmt::Debug for BadProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Error for BadProxy {}

/// Finds the proxy for a server.
pub(super) struct Routes(Option<Matcher>);

impl Routes {
    /// Uses no proxy for any server.
    #[cfg(test)]
    pub(super) const fn direct() -> Self {
        Self(None)
    }

    /// Returns the proxy for `target`, if there is one.
    pub(super) fn to(&self, target: &Uri) -> Option<ProxyRoute> {
        let secure = target.scheme() == Some(&http::uri::Scheme::HTTPS);
        self.0.as_ref()?.intercept(target).map(|found| ProxyRoute::new(&found, secure))
    }
}

/// The proxy for a server.
pub(super) enum ProxyRoute {
    /// An HTTP proxy that receives the whole URL and forwards the request.
    Forward {
        proxy: Uri,
        auth: Option<HeaderValue>,
    },
    /// An HTTP proxy that opens a tunnel.
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
    /// A proxy that must itself be reached over TLS, which is not supported.
    Unusable,
}

impl ProxyRoute {
    fn new(found: &Intercept, secure: bool) -> Self {
        let proxy = found.uri().clone();
        match proxy.scheme_str() {
            Some("http") if secure => Self::Tunnel { proxy, auth: found.basic_auth().cloned() },
            Some("http") => Self::Forward { proxy, auth: found.basic_auth().cloned() },
            Some("socks5" | "socks5h") => {
                let auth =
                    found.raw_auth().map(|(user, password)| (user.to_owned(), password.to_owned()));
                Self::Socks5 { proxy: with_port(proxy), auth }
            }
            Some("socks4" | "socks4a") => Self::Socks4 { proxy: with_port(proxy) },
            _ => Self::Unusable,
        }
    }

    /// Returns `host:port` of the proxy, or `None` if it cannot be used.
    pub(super) fn name(&self) -> Option<&str> {
        match self {
            Self::Forward { proxy, .. }
            | Self::Tunnel { proxy, .. }
            | Self::Socks5 { proxy, .. }
            | Self::Socks4 { proxy } => proxy.authority().map(http::uri::Authority::as_str),
            Self::Unusable => None,
        }
    }

    /// Returns `Some` if requests must carry the whole URL, with the credentials to send in each of
    /// them.
    pub(super) const fn forwards(&self) -> Option<Option<&HeaderValue>> {
        match self {
            Self::Forward { auth, .. } => Some(auth.as_ref()),
            _ => None,
        }
    }

    /// Connects to `target` through this proxy.
    pub(super) async fn connect(
        &self,
        mut tcp: Tcp,
        target: Uri,
    ) -> Result<TokioIo<TcpStream>, BoxError> {
        Ok(match self {
            Self::Forward { proxy, .. } => tcp.call(proxy.clone()).await?,
            Self::Tunnel { proxy, auth } => {
                let mut tunnel = Tunnel::new(proxy.clone(), tcp);
                if let Some(auth) = auth {
                    tunnel = tunnel.with_auth(auth.clone());
                }
                tunnel.call(target).await?
            }
            Self::Socks5 { proxy, auth } => {
                let mut socks = SocksV5::new(proxy.clone(), tcp);
                if let Some((user, password)) = auth {
                    socks = socks.with_auth(user.clone(), password.clone());
                }
                socks.call(target).await?
            }
            Self::Socks4 { proxy } => SocksV4::new(proxy.clone(), tcp).call(target).await?,
            Self::Unusable => {
                return Err("proxies with https:// URLs are not supported".into());
            }
        })
    }
}

/// Adds the default port of SOCKS, which the connector does not know.
fn with_port(proxy: Uri) -> Uri {
    if proxy.port().is_some() {
        return proxy;
    }
    let Some(host) = proxy.host() else {
        return proxy;
    };
    let with_port = Uri::builder()
        .scheme("socks5")
        .authority(format!("{host}:1080"))
        .path_and_query("/")
        .build();
    with_port.unwrap_or(proxy)
}
