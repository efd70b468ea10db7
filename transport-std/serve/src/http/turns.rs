//! Turns: send, resume, cancel.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use uuid::Uuid;

use super::error::ApiError;
use super::input::{self, Parameters, Tags};
use super::{
    IdempotentRequest, Owner, OwnerExtension, PathId, StoredAnswer, log, mark, sessions, sse,
};
use crate::engine::{self, Change, Context, Document, Refusal};
use crate::server::{CommandResult, Keep, Server};
use crate::store::{Record, Status, StoreError};

/// A session's status.
#[derive(Serialize, ToSchema)]
#[allow(dead_code, reason = "describes the body, which is kept as JSON for repetitions")]
pub(super) struct StateBody {
    session_id: Uuid,
    /// `idle`, `running`, `interrupted` or `error`.
    status: String,
}

/// A message for a session.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes the body, which is read by hand for its error messages")]
pub(super) struct MessageBody {
    /// The default is `user`.
    role: Option<crate::chat::ChatRole>,
    /// Text, or a list of content blocks of the types `text`, `image`, `document` and
    /// `search_result`.
    #[schema(value_type = Value)]
    content: Value,
    /// An image, in base64.
    base64_image: Option<String>,
    webhook: Option<WebhookBody>,
}

/// A request that the server makes when the turn ends.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes the body, which is read by hand for its error messages")]
pub(super) struct WebhookBody {
    /// Where to send it.
    url: String,
    /// Sent as `Authorization: Bearer`.
    token: Option<String>,
    /// The key that signs the request as Standard Webhooks defines: `whsec_` and base64.
    secret: Option<String>,
    /// Whether the body contains all messages of the session.
    include_messages: Option<bool>,
}

/// An answer to an interrupt.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes the body, which is read by hand for its error messages")]
pub(super) struct ResumeBody {
    /// The id of the interrupt.
    interrupt_id: String,
    /// For `tool_approval` `{"approved": bool, "reason"?: string}`, for `user_input` `{"answers":
    /// {question: label}}`.
    #[schema(value_type = Value)]
    value: Value,
}

/// Applies a command and returns the session's state. Applies it only once per idempotency key.
async fn apply(
    server: &Arc<Server>,
    id: Uuid,
    owner: &Owner,
    headers: &HeaderMap,
    once: Option<&IdempotentRequest>,
    status: StatusCode,
    command: impl Fn(&Record, Document, &mut Context<'_>) -> Result<Change, Refusal>,
) -> Result<(StoredAnswer, bool), ApiError> {
    if let Some(once) = once
        && let Some(kept) = once.kept(server).await?
    {
        return Ok((kept, true));
    }
    let kept = |record: &Record, after: u64| StoredAnswer {
        status: status.as_u16(),
        location: (record.status == Status::Running).then(|| format!("/sessions/{id}")),
        body: json!({"session_id": id, "status": record.status}),
        after,
    };
    let tags = Tags::of(headers, "if-match");
    let fits = |version| tags.as_ref().is_some_and(|tags| tags.name(version));
    let expect: Option<&(dyn Fn(u64) -> bool + Sync)> =
        if tags.is_some() { Some(&fits) } else { None };
    let after = |record: &Record| Document::of(record).map_or(0, |document| document.turn_after);
    let keep = |record: &Record| once.map(|once| once.keep(&kept(record, after(record))));
    let idempotent: Option<&Keep<'_>> = if once.is_some() { Some(&keep) } else { None };
    match (server.apply(id, &owner.0, expect, idempotent, command).await?, once) {
        (CommandResult::Done(record), _) => Ok((kept(&record, after(&record)), false)),
        (CommandResult::Replay(known), Some(once)) => Ok((once.replay(&known)?, true)),
        (CommandResult::Replay(_), None) => {
            Err(StoreError::new("the store returned an idempotency key that was not sent").into())
        }
    }
}

/// Sends a message, which begins a turn. With `Accept: text/event-stream` the answer is a stream of
/// the turn's events. With `wait` the answer is the session after the turn, or 202 after that many
/// seconds.
#[utoipa::path(post, path = "/sessions/{session_id}/messages", tag = "turns", request_body = MessageBody,
    params(("session_id" = Uuid, Path, description = "The session's id"), ("wait" = Option<f64>, Query, description = "Wait up to this many seconds for the end of the turn"), ("event_deltas[]" = Option<String>, Query, description = "`agent.message`: a stream also contains previews of messages while the model writes them"), ("Idempotency-Key" = Option<String>, Header, description = "Makes the request take effect only once: the same key and body return the first answer for at least 24 hours. 1 to 255 visible ASCII characters"), ("If-Match" = Option<String>, Header, description = "Change the session only if it has this entity tag"),
        ("traceparent" = Option<String>, Header, description = "The caller's span, as W3C Trace Context defines it: the parent of the turn's spans")),
    responses((status = 202, description = "The message is stored, and the turn runs", body = StateBody, headers(("Location" = Option<String>, description = "The session's path"), ("Idempotency-Replayed" = Option<String>, description = "`true` if this is the answer to an earlier request with the same key"))),
        (status = 200, description = "The session after the turn, with `wait`; or the turn's events, with `Accept: text/event-stream`",
            content((sessions::SessionBody<'_> = "application/json"), (String = "text/event-stream")), headers(("ETag" = Option<String>, description = "The session's version, with `wait`"), ("Idempotency-Replayed" = Option<String>, description = "`true` if this is the answer to an earlier request with the same key"))),
        (status = 404), (status = 409, description = "A turn of the session runs, or waits for answers"), (status = 412), (status = 413), (status = 422), (status = 503)))]
pub(super) async fn send(
    State(server): State<Arc<Server>>,
    Extension(owner): OwnerExtension,
    id: PathId,
    RawQuery(raw): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let bytes = input::bytes_of(&headers, body).await?;
    let message = input::message(
        &bytes,
        server.options.allow_private_webhooks,
        input::trace_parent(&headers),
    )?;
    let query = Parameters::of(raw.as_deref());
    let (wait, previews) = (query.seconds("wait")?, log::previews(&query)?);
    let id = id.session()?;
    let once = IdempotentRequest::of(&headers, &owner, "POST messages", Some(id), &bytes)?;
    if server.is_draining() {
        return Err(ApiError::plain(
            StatusCode::SERVICE_UNAVAILABLE,
            "The server is shutting down",
        ));
    }
    let command = |record: &Record, document, context: &mut Context<'_>| {
        engine::send(record, document, &message, context)
    };
    // Watched before the turn begins, so that no preview is missed.
    let stream = input::wants_events(&headers).then(|| {
        let live = server.hub.live(id);
        let previews = previews.then(|| live.previews());
        (live, sse::View::Events { previews, one_turn: true })
    });
    let (kept, is_replay) =
        apply(&server, id, &owner, &headers, once.as_ref(), StatusCode::ACCEPTED, command).await?;
    let mut response = if let Some((live, view)) = stream {
        sse::respond(Arc::clone(&server), live, kept.after, view)
    } else if let Some(wait) = wait {
        let after = Some(kept.after);
        let record = sessions::settled_since(&server, id, &owner, Some(wait), after).await?;
        if record.status == Status::Running {
            kept.respond(is_replay)
        } else {
            sessions::respond(&record, StatusCode::OK)?
        }
    } else {
        kept.respond(is_replay)
    };
    mark(&mut response, is_replay);
    Ok(response)
}

/// Answers an interrupt. After the last answer the turn continues.
#[utoipa::path(post, path = "/sessions/{session_id}/resume", tag = "turns", request_body = ResumeBody,
    params(("session_id" = Uuid, Path, description = "The session's id"), ("Idempotency-Key" = Option<String>, Header, description = "Makes the request take effect only once: the same key and body return the first answer for at least 24 hours. 1 to 255 visible ASCII characters"), ("If-Match" = Option<String>, Header, description = "Change the session only if it has this entity tag")),
    responses((status = 200, description = "The answer is stored", body = StateBody, headers(("Idempotency-Replayed" = Option<String>, description = "`true` if this is the answer to an earlier request with the same key"))), (status = 404, description = "The session or the interrupt does not exist"),
        (status = 409, description = "The session is not interrupted, or the interrupt has a different answer"), (status = 412), (status = 413), (status = 422)))]
pub(super) async fn resume(
    State(server): State<Arc<Server>>,
    Extension(owner): OwnerExtension,
    id: PathId,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let bytes = input::bytes_of(&headers, body).await?;
    let answer = input::answer(&bytes)?;
    let id = id.session()?;
    let once = IdempotentRequest::of(&headers, &owner, "POST resume", Some(id), &bytes)?;
    let command = |record: &Record, document, context: &mut Context<'_>| {
        engine::resume(record, document, &answer, context)
    };
    let (kept, is_replay) =
        apply(&server, id, &owner, &headers, once.as_ref(), StatusCode::OK, command).await?;
    Ok(StoredAnswer { location: None, ..kept }.respond(is_replay))
}

/// Cancels the current turn. Finished results and received text are kept. Has no effect without a
/// turn.
#[utoipa::path(post, path = "/sessions/{session_id}/cancel", tag = "turns",
    params(("session_id" = Uuid, Path, description = "The session's id"), ("Idempotency-Key" = Option<String>, Header, description = "Makes the request take effect only once: the same key and body return the first answer for at least 24 hours. 1 to 255 visible ASCII characters"), ("If-Match" = Option<String>, Header, description = "Change the session only if it has this entity tag")),
    responses((status = 202, description = "The turn ends soon, or there is none", body = StateBody, headers(("Location" = Option<String>, description = "The session's path"), ("Idempotency-Replayed" = Option<String>, description = "`true` if this is the answer to an earlier request with the same key"))), (status = 404), (status = 412), (status = 413), (status = 422)))]
pub(super) async fn cancel(
    State(server): State<Arc<Server>>,
    Extension(owner): OwnerExtension,
    id: PathId,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let bytes = input::bytes_of(&headers, body).await?;
    let id = id.session()?;
    let once = IdempotentRequest::of(&headers, &owner, "POST cancel", Some(id), &bytes)?;
    let command = |record: &Record, document, context: &mut Context<'_>| {
        Ok(engine::cancel(record, document, context))
    };
    let (kept, is_replay) =
        apply(&server, id, &owner, &headers, once.as_ref(), StatusCode::ACCEPTED, command).await?;
    Ok(kept.respond(is_replay))
}
