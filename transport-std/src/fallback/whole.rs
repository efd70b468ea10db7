//! Refusals in replies that are single JSON documents.

use toolrunner_core::error::TransportKind;
use toolrunner_core::transport::Reply;

use super::base::is_object;
use super::{Hops, seam};
use crate::edit::{at, set, text};
use crate::http::{HttpBody, HttpError};

/// The largest reply, in bytes.
const MAX_REPLY: usize = 64 << 20;

/// Asks the next models while the reply is a refusal. Returns the last reply. Unless that is a
/// refusal too, it has a `fallback` block for each change of the model.
pub(super) async fn answer(
    mut hops: Hops,
    mut model: String,
    mut reply: Reply<HttpBody>,
) -> Result<Reply<HttpBody>, HttpError> {
    let mut seams = Vec::new();
    loop {
        let headers = reply.body.headers().clone();
        let bytes = reply.body.read_to_end(MAX_REPLY).await?.map_err(|_| {
            let text = format!("the reply is larger than {MAX_REPLY} bytes");
            HttpError::new(TransportKind::Http, text)
        })?;
        let message = core::str::from_utf8(&bytes).ok().filter(|text| is_object(text));
        let refusal =
            message.filter(|message| text(message, &["stop_reason"]).as_deref() == Some("refusal"));
        let next = refusal.and_then(|refusal| Some((refusal, hops.next()?)));
        let Some((refusal, entry)) = next else {
            let is_answer = message.is_some() && refusal.is_none();
            let content = message.and_then(|message| at(message, &["content"]));
            let content = content.and_then(|content| content.strip_prefix('['));
            let body = match (message, content) {
                (Some(message), Some(content)) if is_answer && !seams.is_empty() => {
                    let comma = if content.trim_start().starts_with(']') { "" } else { "," };
                    let content = format!("[{}{comma}{content}", seams.join(","));
                    set(message, "content", Some(&content)).into_bytes()
                }
                _ => bytes,
            };
            let body = HttpBody::from_pieces([body]).with_headers(headers);
            return Ok(Reply { head: reply.head, body });
        };
        let details = at(refusal, &["stop_details"]).unwrap_or("{}");
        let is_refusal = text(details, &["type"]).as_deref() == Some("refusal");
        let details = if is_refusal { details } else { "{}" };
        let token = text(details, &["fallback_credit_token"]).filter(|token| !token.is_empty());
        let category = at(details, &["category"]).unwrap_or("null").to_owned();
        tracing::info!(from = model, "a model refused; the next one is asked");
        reply = hops.send(Some(&entry), token.as_deref(), &[]).await?;
        if !(200..300).contains(&reply.head.status) {
            // The run's own retries begin with this model.
            return Ok(reply);
        }
        let next = hops.base.model(Some(&entry));
        seams.push(seam(&model, &next, &category));
        model = next;
    }
}
