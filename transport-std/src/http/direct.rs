//! Replaces `proxy` if the feature `proxy` is off: every server is reached directly.

use http::{HeaderValue, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::dial::Tcp;
use super::error::BoxError;

/// Finds no proxy for any server.
pub(super) struct Routes;

impl Routes {
    #[cfg(test)]
    pub(super) const fn direct() -> Self {
        Self
    }

    pub(super) const fn to(&self, _: &Uri) -> Option<ProxyRoute> {
        None
    }
}

/// Has no values, because there are no proxies.
pub(super) enum ProxyRoute {}

impl ProxyRoute {
    pub(super) const fn name(&self) -> Option<&str> {
        match *self {}
    }

    pub(super) const fn forwards(&self) -> Option<Option<&HeaderValue>> {
        match *self {}
    }

    pub(super) async fn connect(&self, _: Tcp, _: Uri) -> Result<TokioIo<TcpStream>, BoxError> {
        match *self {}
    }
}
