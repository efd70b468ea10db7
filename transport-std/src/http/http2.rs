//! HTTP/2: hyper's sender, the handshake, and the protocols offered in TLS.

use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};

use super::dial::NewConnection;
use super::error::BoxError;
use super::sent::SentBody;
use crate::EscapedText;

/// Sends requests on a connection. Clones share the connection.
pub(super) type Sender = http2::SendRequest<SentBody>;

/// The protocols offered to a server, the preferred one first.
pub(super) const OFFERED: &[&[u8]] = &[b"h2", b"http/1.1"];

pub(super) async fn handshake<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
) -> Result<NewConnection, BoxError> {
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(error = %EscapedText(error), "connection ended");
        }
    });
    sender.ready().await?;
    Ok(NewConnection::Http2(sender))
}
