//! Counting the tokens of the next request.

use std::sync::Arc;

use http::Method;
use toolrunner_core::__private::client::is_counted;
use toolrunner_core::json::Value;

use super::Run;
use crate::api::ApiRequest;
use crate::edit::{members, push};
use crate::error::Error;

/// The number of tokens of a request, counted by the server without running the model.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TokenCount {
    /// The tokens of the messages, the system prompt and the tools, after context management.
    pub input_tokens: u64,
    /// The tokens before context management, if the request has any.
    pub original_input_tokens: Option<u64>,
}

impl Run {
    /// Counts the tokens of the next request: the conversation so far, with the run's parameters
    /// and tools. It uses the client's retries and hooks, and changes nothing in the run.
    ///
    /// Between two turns, calls without results are part of the conversation, and the API refuses
    /// to count it: count before the first request, or after the run has ended.
    ///
    /// ```no_run
    /// # async fn f(client: toolrunner_std::Client) -> Result<(), toolrunner_std::Error> {
    /// let mut run = client.run("claude-opus-4-7").system("Be brief.").user("Hello");
    /// if run.count_tokens().await?.input_tokens < 10_000 {
    ///     run.until_done().await?;
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn count_tokens(&mut self) -> Result<TokenCount, Error> {
        self.check_setup()?;
        let mut body = self.whole_prefix();
        body.extend_from_slice(self.machine.messages());
        body.extend_from_slice(b"]}");
        let mut counted = String::new();
        for (name, value) in members(&body).filter(|(name, _)| is_counted(name)) {
            push(&mut counted, &name, value);
        }
        counted.push('}');
        let settings = Arc::clone(&self.settings);
        let request = ApiRequest::new(&settings, Method::POST, "/v1/messages/count_tokens");
        let reply = request.json(Ok(counted.into_bytes())).await?;
        let value = reply.value()?;
        let original = value.member("context_management");
        Ok(TokenCount {
            input_tokens: value
                .member("input_tokens")
                .and_then(Value::as_u64)
                .ok_or_else(|| reply.unexpected())?,
            original_input_tokens: original
                .and_then(|managed| managed.member("original_input_tokens")?.as_u64()),
        })
    }
}
