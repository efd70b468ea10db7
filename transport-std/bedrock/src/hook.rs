//! Rewrites a request of the Messages API for Bedrock, and signs it.

use core::error::Error;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use toolrunner_core::__private::client::push_member;
use toolrunner_core::__private::quoted;
use toolrunner_core::json::Value;
use toolrunner_std::http::{HookFuture, OutgoingRequest, RequestHook};

use crate::sign::Auth;

/// Escapes every character of a path's segment except those that RFC 3986 calls unreserved.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

pub(crate) struct BedrockHook {
    pub(crate) region: String,
    pub(crate) version: String,
    pub(crate) auth: Auth,
}

impl RequestHook for BedrockHook {
    fn before_send<'a>(&'a self, request: &'a mut OutgoingRequest<'_>) -> HookFuture<'a> {
        Box::pin(async move {
            self.rewrite(request)?;
            self.auth.apply(request, &self.region).await
        })
    }
}

impl BedrockHook {
    /// Rewrites the request.
    ///
    /// # Errors
    /// Returns an error if it is a request that Bedrock does not have.
    fn rewrite(
        &self,
        request: &mut OutgoingRequest<'_>,
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        let path = request.path().split('?').next().unwrap_or_default();
        if path != "/v1/messages" || request.method() != "POST" {
            let method = request.method();
            return Err(format!(
                "Bedrock supports only the messages endpoint, not {method} {path}"
            )
            .into());
        }
        let body = request.body_to_vec();
        let members = Value::first(&body).ok_or("the body is not a JSON object")?;
        let mut kept = Vec::with_capacity(body.len() + 128);
        let (mut model, mut streams) = (None, false);
        let (mut has_version, mut has_betas) = (false, false);
        for (name, value) in members.members() {
            match name.to_string().as_str() {
                "model" => model = value.as_text().map(|text| text.to_string()),
                "stream" => streams = value.as_bool() == Some(true),
                name => {
                    has_version |= name == "anthropic_version";
                    has_betas |= name == "anthropic_beta";
                    push_member(&mut kept, name, value.raw());
                }
            }
        }
        // A dot segment would be another path, and some servers drop what follows a semicolon.
        let model = model.filter(|model| {
            !matches!(model.split(';').next().unwrap_or_default(), "" | "." | "..")
        });
        let model = model.ok_or("the request has no valid Bedrock model id")?;
        if !has_version {
            push_member(&mut kept, "anthropic_version", quoted(&self.version).as_bytes());
        }
        if let Some(betas) = request.header("anthropic-beta")
            && !has_betas
        {
            let betas = betas.split(',').map(str::trim).filter(|beta| !beta.is_empty());
            let list = betas.map(quoted).collect::<Vec<_>>().join(",");
            push_member(&mut kept, "anthropic_beta", format!("[{list}]").as_bytes());
        }
        kept.push(b'}');
        request.remove_header("anthropic-beta");
        request.remove_header("anthropic-version");
        let action = if streams { "invoke-with-response-stream" } else { "invoke" };
        request.set_path(format!("/model/{}/{action}", utf8_percent_encode(&model, SEGMENT)));
        request.set_body(kept);
        Ok(())
    }
}
