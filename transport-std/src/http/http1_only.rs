//! Replaces `http2` if the feature `http2` is off: HTTP/2 is not offered, so there are no such
//! connections.

use core::convert::Infallible;
use core::future::Pending;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use tokio::io::{AsyncRead, AsyncWrite};

use super::dial::NewConnection;
use super::error::BoxError;
use super::sent::SentBody;

/// Has no values, because there are no HTTP/2 connections.
#[derive(Clone)]
pub(super) struct Sender(Infallible);

impl Sender {
    pub(super) const fn is_closed(&self) -> bool {
        match self.0 {}
    }

    pub(super) const fn try_send_request(
        &mut self,
        _: Request<SentBody>,
    ) -> Pending<Result<Response<Incoming>, TrySendError<Request<SentBody>>>> {
        match self.0 {}
    }
}

/// The only protocol offered to a server.
pub(super) const OFFERED: &[&[u8]] = &[b"http/1.1"];

pub(super) async fn handshake<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    _: S,
) -> Result<NewConnection, BoxError> {
    Err("the server chose HTTP/2, and the feature `http2` of toolrunner-std is off".into())
}
