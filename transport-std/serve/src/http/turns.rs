//! Turns: send, resume, cancel.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use uuid::Uuid;

use super::error::{ApiError, Invalid};
use super::input::{self, Parameters};
use super::{Kept, Once, Owned, Owner, id_of, mark, sessions, sse, text};
use crate::engine::{self, Change, Context, Document, Refusal};
use crate::server::{Applied, Keep, Server};
use crate::store::{Record, Status, StoreError};

/// A session and what it is doing.
#[derive(Serialize, ToSchema)]
#[allow(dead_code, reason = "describes the body, which is kept as JSON for repetitions")]
pub(super) struct StateBody {
    session_id: Uuid,
    status: String,
}

/// A message for a session.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes the body, which is read by hand for its error messages")]
pub(super) struct MessageBody {
    /// `user` if absent.
    role: Option<crate::chat::ChatRole>,
    /// A text, or content blocks of the types text, image, document and search_result.
    #[schema(value_type = Value)]
    content: Value,
    base64_image: Option<String>,
    webhook: Option<WebhookBody>,
}

/// Where the turn's end is told to.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes the body, which is read by hand for its error messages")]
pub(super) struct WebhookBody {
    url: String,
    /// Sent as `Authorization: Bearer`.
    token: Option<String>,
    /// `whsec_` and base64: signs what is sent, as Standard Webhooks does.
    secret: Option<String>,
    include_messages: Option<bool>,
}

/// An answer to an interrupt.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes the body, which is read by hand for its error messages")]
pub(super) struct ResumeBody {
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
    once: Option<&Once>,
    status: StatusCode,
    command: impl Fn(&Record, Document, &mut Context<'_>) -> Result<Change, Refusal>,
) -> Result<(Kept, bool), ApiError> {
    if let Some(once) = once
        && let Some(kept) = once.kept(server).await?
    {
        return Ok((kept, true));
    }
    let kept = |record: &Record, after: u64| Kept {
        status: status.as_u16(),
        location: (record.status == Status::Running).then(|| format!("/sessions/{id}")),
        body: json!({"session_id": id, "status": record.status}),
        after,
    };
    let header = text(headers, "if-match").map(str::to_owned);
    let fits =
        |version| header.as_deref().is_some_and(|header| input::names_version(header, version));
    let expect: Option<&(dyn Fn(u64) -> bool + Sync)> =
        if header.is_some() { Some(&fits) } else { None };
    let after = |record: &Record| Document::of(record).map_or(0, |document| document.turn_after);
    let keep = |record: &Record| once.map(|once| once.keep(&kept(record, after(record))));
    let idempotent: Option<&Keep<'_>> = if once.is_some() { Some(&keep) } else { None };
    match (server.apply(id, &owner.0, expect, idempotent, command).await?, once) {
        (Applied::Done(record), _) => Ok((kept(&record, after(&record)), false)),
        (Applied::Replay(known), Some(once)) => Ok((once.replay(&known)?, true)),
        (Applied::Replay(_), None) => {
            Err(StoreError::new("the store returned an idempotency key that was not sent").into())
        }
    }
}

/// Sends a message: begins a turn. With `Accept: text/event-stream` the answer is the stream of the
/// turn's events; with `wait` the answer is the session when the turn is over, or 202 after that
/// many seconds.
#[utoipa::path(post, path = "/sessions/{session_id}/messages", tag = "turns", request_body = MessageBody,
    params(("session_id" = Uuid, Path), ("wait" = Option<f64>, Query), ("Idempotency-Key" = Option<String>, Header), ("If-Match" = Option<String>, Header)),
    responses((status = 202, body = StateBody), (status = 200, body = sessions::SessionBody<'_>), (status = 404), (status = 409), (status = 412), (status = 413), (status = 422, body = [Invalid])))]
pub(super) async fn send(
    State(server): State<Arc<Server>>,
    Extension(owner): Owned,
    Path(id): Path<String>,
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
    let wait = Parameters::of(raw.as_deref()).seconds("wait")?;
    let id = id_of(&id)?;
    let once = Once::of(&headers, &owner, "POST messages", Some(id), &bytes)?;
    if server.is_draining() {
        return Err(ApiError::plain(
            StatusCode::SERVICE_UNAVAILABLE,
            "The server is shutting down",
        ));
    }
    let command = |record: &Record, document, context: &mut Context<'_>| {
        engine::send(record, document, &message, context)
    };
    let (kept, is_replay) =
        apply(&server, id, &owner, &headers, once.as_ref(), StatusCode::ACCEPTED, command).await?;
    let mut response = if input::wants_events(&headers) {
        sse::respond(
            Arc::clone(&server),
            id,
            kept.after,
            sse::View::Events { previews: false, one_turn: true },
        )
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

/// Answers an interrupt. When none is left, the turn goes on.
#[utoipa::path(post, path = "/sessions/{session_id}/resume", tag = "turns", request_body = ResumeBody,
    params(("session_id" = Uuid, Path), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = StateBody), (status = 404), (status = 409), (status = 422, body = [Invalid])))]
pub(super) async fn resume(
    State(server): State<Arc<Server>>,
    Extension(owner): Owned,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let bytes = input::bytes_of(&headers, body).await?;
    let answer = input::answer(&bytes)?;
    let id = id_of(&id)?;
    let once = Once::of(&headers, &owner, "POST resume", Some(id), &bytes)?;
    let command = |record: &Record, document, context: &mut Context<'_>| {
        engine::resume(record, document, &answer, context)
    };
    let (kept, is_replay) =
        apply(&server, id, &owner, &headers, once.as_ref(), StatusCode::OK, command).await?;
    Ok(Kept { location: None, ..kept }.respond(is_replay))
}

/// Cancels the turn under way. What was finished stays. Without a turn nothing happens.
#[utoipa::path(post, path = "/sessions/{session_id}/cancel", tag = "turns",
    params(("session_id" = Uuid, Path), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 202, body = StateBody), (status = 404)))]
pub(super) async fn cancel(
    State(server): State<Arc<Server>>,
    Extension(owner): Owned,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let bytes = input::bytes_of(&headers, body).await?;
    let id = id_of(&id)?;
    let once = Once::of(&headers, &owner, "POST cancel", Some(id), &bytes)?;
    let command = |record: &Record, document, context: &mut Context<'_>| {
        Ok(engine::cancel(record, document, context))
    };
    let (kept, is_replay) =
        apply(&server, id, &owner, &headers, once.as_ref(), StatusCode::ACCEPTED, command).await?;
    Ok(kept.respond(is_replay))
}
