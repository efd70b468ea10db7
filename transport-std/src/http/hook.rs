//! Hooks that see, and may change, each HTTP request right before it is sent.

use core::error::Error;
use core::fmt;
use core::pin::Pin;
use std::borrow::Cow;
use std::sync::Arc;

use http::Method;
use toolrunner_core::__private::BaseUrl;
use toolrunner_core::transport::{Body, Head};

use super::{HttpError, without_query};
use crate::config::{SetupError, checked_header};

/// The future of [`RequestHook::before_send`].
pub type HookFuture<'a> =
    Pin<Box<dyn Future<Output = Result<(), Box<dyn Error + Send + Sync>>> + Send + 'a>>;

/// Sees each HTTP request right before it is sent, and may change it: to add a token that rotates,
/// a signature over the body, or a trace header.
///
/// A hook is called for every attempt, so a retry gets a new token or signature. It is called once
/// if the transport sends a request again on a new connection because the server had closed an idle
/// one. Several hooks are called in the order in which they were set; each sees the changes of
/// those before it.
///
/// An error of the hook ends the request with [`Error::Hook`](crate::Error::Hook), which keeps the
/// error's chain. It is never retried: a hook that uses the network retries by itself. No timeout
/// of the client covers a hook, but a run that is cancelled or out of time drops its future.
///
/// ```
/// use std::sync::Arc;
/// use toolrunner_std::http::{HookFuture, OutgoingRequest, RequestHook};
/// use toolrunner_std::{Client, Secret};
///
/// struct TokenSource; // a source of tokens
///
/// impl TokenSource {
///     async fn token(&self) -> Result<Secret, std::io::Error> {
///         Ok("a new token".into())
///     }
/// }
///
/// impl RequestHook for TokenSource {
///     fn before_send<'a>(&'a self, request: &'a mut OutgoingRequest<'_>) -> HookFuture<'a> {
///         Box::pin(async move {
///             let token = self.token().await?;
///             request.set_header("authorization", &format!("Bearer {}", token.reveal()))?;
///             Ok(())
///         })
///     }
/// }
///
/// let client = Client::builder()
///     .base_url("https://gateway.example.org")
///     .request_hook(TokenSource)
///     .request_hook_fn(|request| Ok(request.set_header("x-trace", "1")?))
///     .build()?;
/// # Ok::<(), toolrunner_std::SetupError>(())
/// ```
pub trait RequestHook: Send + Sync + 'static {
    /// Sees and may change `request`, which is sent when this future returns `Ok`.
    ///
    /// # Errors
    /// An error ends the request, which is not sent.
    fn before_send<'a>(&'a self, request: &'a mut OutgoingRequest<'_>) -> HookFuture<'a>;

    /// Called with the status of the reply. A hook with a token can drop it after 401, so that the
    /// next request gets a new one. By default this does nothing.
    fn replied(&self, status: u16) {
        let _ = status;
    }
}

impl<T: RequestHook + ?Sized> RequestHook for Arc<T> {
    fn before_send<'a>(&'a self, request: &'a mut OutgoingRequest<'_>) -> HookFuture<'a> {
        (**self).before_send(request)
    }

    fn replied(&self, status: u16) {
        (**self).replied(status);
    }
}

/// A hook of a function that does not wait.
pub(crate) struct HookFn<F>(pub(crate) F);

impl<F> RequestHook for HookFn<F>
where
    F: Fn(&mut OutgoingRequest<'_>) -> Result<(), Box<dyn Error + Send + Sync>>
        + Send
        + Sync
        + 'static,
{
    fn before_send<'a>(&'a self, request: &'a mut OutgoingRequest<'_>) -> HookFuture<'a> {
        let done = (self.0)(request);
        Box::pin(core::future::ready(done))
    }
}

/// Hooks in the order in which they are called.
pub(crate) type Hooks = Arc<[Arc<dyn RequestHook>]>;

/// A request that is about to be sent. `Debug` shows no header values, no query and no body.
pub struct OutgoingRequest<'b> {
    method: Method,
    base_url: &'b str,
    path: Cow<'b, str>,
    headers: Vec<(Cow<'b, str>, Cow<'b, str>)>,
    body: OutgoingBody<'b>,
}

enum OutgoingBody<'b> {
    Lent(&'b Body<'b>),
    Owned(Vec<u8>),
}

impl<'b> OutgoingRequest<'b> {
    /// Creates a request, to test a hook.
    pub fn new(method: &Method, head: &Head<'b>, body: &'b Body<'b>) -> Self {
        let headers = head.headers.iter();
        Self {
            method: method.clone(),
            base_url: head.base_url,
            path: Cow::Borrowed(head.path),
            headers: headers.map(|&(name, value)| (name.into(), value.into())).collect(),
            body: OutgoingBody::Lent(body),
        }
    }

    /// Returns the method: `POST` for every request of a run.
    pub const fn method(&self) -> &Method {
        &self.method
    }

    /// Returns the whole URL, with the query. **The query may contain a secret.**
    pub fn url(&self) -> String {
        format!("{}{}", self.base_url, self.path)
    }

    /// Returns the value of the header `host` that the transport will send: the host, and the port
    /// unless it is the scheme's own.
    pub fn host(&self) -> String {
        let Ok(base) = BaseUrl::parse(self.base_url) else { return String::new() };
        let default = if base.secure { 443 } else { 80 };
        match base.port.filter(|port| *port != default) {
            Some(port) => format!("{}:{port}", base.host),
            None => base.host.to_owned(),
        }
    }

    /// Returns the part of the URL after the base URL, with the query. **The query may contain a
    /// secret.**
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Replaces the part of the URL after the base URL: a path that begins with `/`, and an
    /// optional query, percent-encoded.
    pub fn set_path(&mut self, path: impl Into<String>) {
        self.path = Cow::Owned(path.into());
    }

    /// Returns the header fields, with names in lower case, without `host` and `content-length`,
    /// which the transport adds. **Some values are secret.**
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers.iter().map(|(name, value)| (&**name, &**value))
    }

    /// Returns the value of a header, or `None` if the request does not have it. The case of `name`
    /// does not matter. **The value may be secret.**
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Sets a header, which replaces those of the same name. No value set here is shown in a log or
    /// an error.
    ///
    /// # Errors
    /// Returns [`SetupError::HeaderName`] if the name is not valid or belongs to the transport
    /// (`host`, `content-length` and others that delimit a message), or
    /// [`SetupError::HeaderValue`] if the value contains a control character.
    pub fn set_header(&mut self, name: &str, value: &str) -> Result<(), SetupError> {
        let known = checked_header(name, value)?;
        self.remove_header(name);
        self.headers.push((known.into(), value.to_owned().into()));
        Ok(())
    }

    /// Removes a header. The case of `name` does not matter.
    pub fn remove_header(&mut self, name: &str) {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
    }

    /// Returns the number of bytes of the body.
    pub fn body_len(&self) -> usize {
        self.body_pieces().map(<[u8]>::len).sum()
    }

    /// Returns the body in pieces, in order, without a copy: pass them to a hash to sign the body.
    pub fn body_pieces(&self) -> impl Iterator<Item = &[u8]> {
        let (lent, owned) = match &self.body {
            OutgoingBody::Lent(body) => (Some(body.pieces()), None),
            OutgoingBody::Owned(body) => (None, Some(body.as_slice())),
        };
        lent.into_iter().flatten().chain(owned)
    }

    /// Returns a copy of the whole body.
    pub fn body_to_vec(&self) -> Vec<u8> {
        self.body_pieces().flatten().copied().collect()
    }

    /// Replaces the body.
    pub fn set_body(&mut self, body: impl Into<Vec<u8>>) {
        self.body = OutgoingBody::Owned(body.into());
    }

    /// Calls the hooks in order.
    pub(super) async fn pass(&mut self, hooks: &Hooks) -> Result<(), HttpError> {
        for hook in hooks.iter() {
            hook.before_send(self).await.map_err(HttpError::hook)?;
        }
        Ok(())
    }

    /// Returns the body in the form that a transport takes.
    pub(super) fn body(&self) -> Body<'_> {
        match &self.body {
            OutgoingBody::Lent(body) => **body,
            OutgoingBody::Owned(body) => Body::new(&[], body, b""),
        }
    }
}

impl fmt::Debug for OutgoingRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.headers().map(|(name, _)| name).collect();
        f.debug_struct("OutgoingRequest")
            .field("method", &self.method)
            .field("base_url", &self.base_url)
            .field("path", &without_query(&self.path))
            .field("headers", &names)
            .field("body_len", &self.body_len())
            .finish()
    }
}
