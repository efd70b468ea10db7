//! The original request of a turn, and the requests that are made of it.

use http::Method;
use toolrunner_core::json::Value;
use toolrunner_core::transport::{Body, Head, Reply};

use super::{FALLBACK_BETA, invalid};
use crate::config::{BETA, add_beta};
use crate::edit::{at, elements, members, push, set, text};
use crate::http::{HttpBody, HttpError, HttpTransport};
use crate::params::quoted;

/// The original request.
pub(super) struct Base {
    base_url: String,
    path: String,
    headers: Vec<(String, String)>,
    /// The body without its messages, as JSON.
    params: String,
    /// The messages, without brackets and without `fallback` blocks.
    messages: String,
    pub(super) streams: bool,
}

impl Base {
    pub(super) fn new(head: &Head<'_>, body: &Body<'_>) -> Result<Self, HttpError> {
        let whole: Vec<u8> = body.pieces().flatten().copied().collect();
        let whole = String::from_utf8(whole).map_err(|_| invalid("the body is not UTF-8"))?;
        let messages = at(&whole, &["messages"]).unwrap_or("[]");
        let messages = without_seams(messages);
        let params = set(&whole, "messages", None);
        if at(&params, &["fallbacks"]).is_some() {
            return Err(invalid(
                "the parameter `fallbacks` and fallbacks of the client exclude each other: remove one",
            ));
        }
        let mut headers: Vec<(String, String)> = head
            .headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        match headers.iter_mut().find(|(name, _)| name == BETA) {
            Some((_, betas)) => add_beta(betas, FALLBACK_BETA),
            None => headers.push((BETA.to_owned(), FALLBACK_BETA.to_owned())),
        }
        Ok(Self {
            base_url: head.base_url.to_owned(),
            path: head.path.to_owned(),
            headers,
            streams: at(&params, &["stream"]) == Some("true"),
            params,
            messages,
        })
    }

    /// Returns the model that an entry, or the original request, asks.
    pub(super) fn model(&self, entry: Option<&str>) -> String {
        text(entry.unwrap_or(&self.params), &["model"]).unwrap_or_default()
    }

    /// Returns whether an entry gets `"speed":"fast"` from the original request.
    pub(super) fn inherits_fast(&self, entry: &str) -> bool {
        let own = members(entry).any(|(name, _)| name == "speed");
        !own && text(&self.params, &["speed"]).as_deref() == Some("fast")
    }

    /// Returns the body of a request: the original parameters, patched by the entry, with the
    /// credit token and the blocks that the model is to continue.
    pub(super) fn request(
        &self,
        entry: Option<&str>,
        token: Option<&str>,
        continuation: &[String],
        without_speed: bool,
    ) -> String {
        let mut params = entry.map_or_else(|| self.params.clone(), |entry| self.patched(entry));
        if without_speed {
            params = set(&params, "speed", None);
        }
        if let Some(token) = token {
            let token = format!("{{\"token\":{},\"mode\":\"best_effort\"}}", quoted(token));
            params = set(&params, "fallback_credit_token", Some(&token));
        }
        let mut messages = format!("[{}", self.messages);
        if !continuation.is_empty() {
            if messages.len() > 1 {
                messages.push(',');
            }
            messages.push_str("{\"role\":\"assistant\",\"content\":[");
            messages.push_str(&continuation.join(","));
            messages.push_str("]}");
        }
        messages.push(']');
        set(&params, "messages", Some(&messages))
    }

    fn patched(&self, entry: &str) -> String {
        let mut patched = self.params.clone();
        for (name, value) in members(entry) {
            let value = Some(value).filter(|value| *value != "null");
            match (name.as_str(), value) {
                ("output_config", Some(own)) => {
                    let mut merged =
                        at(&self.params, &["output_config"]).unwrap_or("{}").to_owned();
                    for (name, value) in members(own) {
                        merged = set(&merged, &name, Some(value).filter(|value| *value != "null"));
                    }
                    let merged = Some(merged).filter(|merged| members(merged).next().is_some());
                    patched = set(&patched, "output_config", merged.as_deref());
                }
                (name, value) => patched = set(&patched, name, value),
            }
        }
        // The next model may not have this mode of thinking.
        let has_thinking = members(entry).any(|(name, _)| name == "thinking");
        let thinking = text(&self.params, &["thinking", "type"]);
        if !has_thinking && thinking.as_deref() == Some("between_tools") {
            patched = set(&patched, "thinking", Some("{\"type\":\"disabled\"}"));
        }
        patched
    }

    pub(super) async fn send(
        &self,
        transport: &mut HttpTransport,
        body: &str,
    ) -> Result<Reply<HttpBody>, HttpError> {
        let headers: Vec<(&str, &str)> =
            self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let head = Head { base_url: &self.base_url, path: &self.path, headers: &headers };
        let body = Body::new(&[], body.as_bytes(), b"");
        // Boxed, because a transport with a chain contains this future.
        Box::pin(transport.exchange(&Method::POST, &head, &body)).await
    }
}

/// Returns messages, given as an array, without brackets and without `fallback` blocks. A message
/// of the assistant that has no other block is removed.
fn without_seams(messages: &str) -> String {
    let inside = messages.trim().trim_start_matches('[').trim_end_matches(']');
    if !inside.contains("\"fallback\"") {
        return inside.to_owned();
    }
    let is_seam = |block: &&str| text(block, &["type"]).as_deref() == Some("fallback");
    let mut kept = String::with_capacity(inside.len());
    for message in elements(messages) {
        let content = at(message, &["content"]).filter(|content| content.starts_with('['));
        let blocks: Vec<&str> = content.map(elements).into_iter().flatten().collect();
        let seams = blocks.iter().filter(|block| is_seam(block)).count();
        let mut edited = message.to_owned();
        if seams > 0 {
            if seams == blocks.len() && text(message, &["role"]).as_deref() == Some("assistant") {
                continue;
            }
            let left: Vec<&str> = blocks.into_iter().filter(|block| !is_seam(block)).collect();
            edited = set(message, "content", Some(&format!("[{}]", left.join(","))));
        }
        if !kept.is_empty() {
            kept.push(',');
        }
        kept.push_str(&edited);
    }
    kept
}

/// Returns the blocks of a refused reply for the next model to continue: without `fallback` blocks,
/// and without thinking at the end, which the server refuses there.
pub(super) fn continuation_of(blocks: impl IntoIterator<Item = String>) -> Vec<String> {
    let kind = |block: &str| text(block, &["type"]).unwrap_or_default();
    let mut kept: Vec<String> =
        blocks.into_iter().filter(|block| kind(block) != "fallback").collect();
    while kept
        .last()
        .is_some_and(|block| matches!(kind(block).as_str(), "thinking" | "redacted_thinking"))
    {
        kept.pop();
    }
    kept
}

/// Returns an entry of `usage.iterations`. Counts that are missing are 0.
pub(super) fn iteration(kind: &str, model: &str, usage: &str) -> String {
    let mut entry = String::new();
    push(&mut entry, "type", &quoted(kind));
    push(&mut entry, "model", &quoted(model));
    for name in
        ["input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"]
    {
        push(&mut entry, name, at(usage, &[name]).unwrap_or("0"));
    }
    push(&mut entry, "cache_creation", at(usage, &["cache_creation"]).unwrap_or("null"));
    entry.push('}');
    entry
}

/// Returns whether text is valid JSON.
pub(super) fn is_object(json: &str) -> bool {
    toolrunner_core::__private::check(json.as_bytes()).is_ok()
        && Value::first(json.as_bytes()).is_some_and(|value| value.as_json().starts_with('{'))
}
