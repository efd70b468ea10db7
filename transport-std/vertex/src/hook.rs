//! Rewrites a request of the Messages API for Vertex AI, and adds an access token.

use core::error::Error;
use core::fmt;
use std::sync::Arc;

use gcp_auth::TokenProvider;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use toolrunner_core::__private::client::push_member;
use toolrunner_core::__private::quoted;
use toolrunner_core::json::Value;
use toolrunner_std::Secret;
use toolrunner_std::http::{HookFuture, OutgoingRequest, RequestHook};

const SCOPES: [&str; 1] = ["https://www.googleapis.com/auth/cloud-platform"];
/// Escapes every character of a path's segment except those that RFC 3986 calls unreserved, and the
/// `@` before the date of a model.
const SEGMENT: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'@');

pub(crate) struct VertexHook {
    pub(crate) project: String,
    pub(crate) region: String,
    pub(crate) version: String,
    pub(crate) auth: Auth,
}

/// How requests are authenticated.
#[derive(Clone)]
pub(crate) enum Auth {
    Token(Secret),
    Provider(Arc<dyn TokenProvider>),
}

impl RequestHook for VertexHook {
    fn before_send<'a>(&'a self, request: &'a mut OutgoingRequest<'_>) -> HookFuture<'a> {
        Box::pin(async move {
            self.rewrite(request)?;
            request.remove_header("x-api-key");
            let token = match &self.auth {
                Auth::Token(token) => format!("Bearer {}", token.reveal()),
                Auth::Provider(provider) => {
                    format!("Bearer {}", provider.token(&SCOPES).await?.as_str())
                }
            };
            Ok(request.set_header("authorization", &token)?)
        })
    }
}

impl VertexHook {
    /// Rewrites the request.
    ///
    /// # Errors
    /// Returns an error if it is a request that Vertex AI does not have.
    fn rewrite(
        &self,
        request: &mut OutgoingRequest<'_>,
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        let path = request.path().split('?').next().unwrap_or_default();
        let counts = match path {
            "/v1/messages" if request.method() == "POST" => false,
            "/v1/messages/count_tokens" if request.method() == "POST" => true,
            _ => {
                let method = request.method();
                return Err(format!(
                    "Vertex AI has only messages and token counting, not {method} {path}"
                )
                .into());
            }
        };
        let body = request.body_to_vec();
        let members = Value::first(&body).ok_or("the body is not a JSON object")?;
        let mut kept = Vec::with_capacity(body.len() + 64);
        let (mut model, mut streams, mut has_version) = (None, false, false);
        for (name, value) in members.members() {
            let name = name.to_string();
            match name.as_str() {
                "model" if !counts => {
                    model = value.as_text().map(|text| text.to_string());
                    continue;
                }
                "stream" => streams = value.as_bool() == Some(true),
                "anthropic_version" => has_version = true,
                _ => {}
            }
            push_member(&mut kept, &name, value.raw());
        }
        if !has_version {
            push_member(&mut kept, "anthropic_version", quoted(&self.version).as_bytes());
        }
        kept.push(b'}');
        let (model, action) = match model {
            _ if counts => ("count-tokens".to_owned(), "rawPredict"),
            // A dot segment would be another path.
            Some(model) if !matches!(model.as_str(), "" | "." | "..") => {
                (model, if streams { "streamRawPredict" } else { "rawPredict" })
            }
            _ => return Err("the request has no valid Vertex AI model id".into()),
        };
        request.set_path(format!(
            "/v1/projects/{}/locations/{}/publishers/anthropic/models/{}:{action}",
            utf8_percent_encode(&self.project, SEGMENT),
            self.region,
            utf8_percent_encode(&model, SEGMENT),
        ));
        request.remove_header("anthropic-version");
        request.set_body(kept);
        Ok(())
    }
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Token(_) => "Token(…)",
            Self::Provider(_) => "Provider(…)",
        })
    }
}
