//! Making a connection: proxy, name resolution, TCP, TLS, handshake.

use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;
use std::sync::Arc;

use http::Uri;
use hyper::client::conn::http1;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::{GaiAddrs, GaiResolver, Name};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio_rustls::TlsConnector;
use tower_service::Service;

use super::error::{BoxError, DnsError};
use super::http2;
use super::proxy::ProxyRoute;
use super::sent::SentBody;
use crate::EscapedText;

/// A new connection that can carry a request.
pub(super) enum NewConnection {
    Http1(http1::SendRequest<SentBody>, AbortHandle),
    #[cfg_attr(
        not(feature = "http2"),
        expect(dead_code, reason = "made by HTTP/2's handshake alone")
    )]
    Http2(http2::Sender),
}

/// The connector for TCP.
pub(super) type Tcp = HttpConnector<Resolver>;

/// Makes connections, but keeps none.
pub(super) struct Dialer {
    tcp: Tcp,
}

impl Dialer {
    pub(super) fn new() -> Self {
        let mut tcp = HttpConnector::new_with_resolver(Resolver(GaiResolver::new()));
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(Duration::from_secs(60)));
        Self { tcp }
    }

    /// Connects to `target`, with TLS if `tls` is set.
    pub(super) async fn dial(
        &self,
        target: &Uri,
        via: Option<&ProxyRoute>,
        tls: Option<Arc<ClientConfig>>,
    ) -> Result<NewConnection, BoxError> {
        let stream = self.tcp(target, via).await?.into_inner();
        let Some(tls) = tls else {
            return http1(stream).await;
        };
        let name = target.host().unwrap_or_default().trim_matches(['[', ']']);
        let name = ServerName::try_from(name.to_owned())?;
        let stream = TlsConnector::from(tls).connect(name, stream).await?;
        if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
            http2::handshake(stream).await
        } else {
            http1(stream).await
        }
    }

    async fn tcp(
        &self,
        target: &Uri,
        via: Option<&ProxyRoute>,
    ) -> Result<TokioIo<TcpStream>, BoxError> {
        let (mut tcp, target) = (self.tcp.clone(), target.clone());
        match via {
            Some(proxy) => proxy.connect(tcp, target).await,
            None => Ok(tcp.call(target).await?),
        }
    }
}

async fn http1<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
) -> Result<NewConnection, BoxError> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let task = tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(error = %EscapedText(error), "connection ended");
        }
    });
    sender.ready().await?;
    Ok(NewConnection::Http1(sender, task.abort_handle()))
}

/// The system's resolver, with an error type that identifies failed look-ups.
#[derive(Clone)]
pub(super) struct Resolver(GaiResolver);

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
