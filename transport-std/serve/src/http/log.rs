//! Reading a session: messages, events, streams.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use super::error::{ApiError, Invalid};
use super::input::{self, Parameters};
use super::{Owned, id_of, sse, text};
use crate::chat::{ChatMessage, raw};
use crate::engine::Document;
use crate::server::{PAGE_BYTES, Server};

/// The session's messages. With `format=anthropic` as the model sees them.
#[utoipa::path(get, path = "/sessions/{session_id}/messages", tag = "log",
    params(("session_id" = Uuid, Path), ("format" = Option<String>, Query, description = "`chat` or `anthropic`")),
    responses((status = 200, body = [ChatMessage]), (status = 404), (status = 422, body = [Invalid])))]
pub(super) async fn messages(
    State(server): State<Arc<Server>>,
    Extension(owner): Owned,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let query = Parameters::of(query.as_deref());
    let for_model = match query.get("format") {
        None | Some("chat") => false,
        Some("anthropic") => true,
        Some(_) => {
            let text = "Input should be 'chat' or 'anthropic'";
            return Err(ApiError::one(Invalid::query("literal_error", "format", text)));
        }
    };
    let record = server.load(id_of(&id)?, &owner.0).await?;
    let json = if for_model {
        as_blocks(&server.transcript(&record).await?)
    } else {
        server.messages(&record).await?
    };
    Ok(([(header::CONTENT_TYPE, "application/json")], json).into_response())
}

/// Returns a conversation in which every content is an array of blocks.
fn as_blocks(transcript: &str) -> String {
    let mut messages: Vec<Value> =
        serde_json::from_str(&format!("[{transcript}]")).unwrap_or_default();
    for message in &mut messages {
        if let Some(Value::String(text)) = message.get("content") {
            message["content"] = serde_json::json!([{"type": "text", "text": text}]);
        }
    }
    raw(&messages).get().to_owned()
}

/// A page of the log.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes the body, which is put together of stored texts")]
pub(super) struct EventsBody {
    data: Vec<Value>,
    has_more: bool,
    /// `after` of the next page.
    last_seq: u64,
}

/// The session's events: a page, or with `Accept: text/event-stream` a stream that goes on behind
/// `Last-Event-ID`.
#[utoipa::path(get, path = "/sessions/{session_id}/events", tag = "log",
    params(("session_id" = Uuid, Path), ("after" = Option<u64>, Query), ("limit" = Option<u64>, Query, description = "1 to 1000; 1000 if absent"),
        ("event_deltas[]" = Option<String>, Query, description = "`agent.message`: previews of messages, in a stream"), ("Last-Event-ID" = Option<u64>, Header)),
    responses((status = 200, body = EventsBody), (status = 404), (status = 422, body = [Invalid])))]
pub(super) async fn events(
    State(server): State<Arc<Server>>,
    Extension(owner): Owned,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let query = Parameters::of(query.as_deref());
    let after = query.integer("after", 0, 0, i64::MAX as u64)?;
    let limit = query.integer("limit", 1000, 1, 1000)?;
    let deltas: Vec<&str> = query
        .0
        .iter()
        .filter(|(name, _)| name == "event_deltas[]" || name == "event_deltas")
        .map(|(_, kind)| kind.as_str())
        .collect();
    if deltas.iter().any(|kind| *kind != "agent.message") {
        return Err(ApiError::one(Invalid::query(
            "literal_error",
            "event_deltas[]",
            "Input should be 'agent.message'",
        )));
    }
    let record = server.load(id_of(&id)?, &owner.0).await?;
    if input::wants_events(&headers) {
        let after = last_event(&headers)?.unwrap_or(after);
        let view = sse::View::Events { previews: !deltas.is_empty(), one_turn: false };
        return Ok(sse::respond(server, record.id, after, view));
    }
    page(&server, record.id, after, usize::try_from(limit).unwrap_or(1000)).await
}

fn last_event(headers: &HeaderMap) -> Result<Option<u64>, ApiError> {
    let Some(id) = text(headers, "last-event-id").filter(|id| !id.is_empty()) else {
        return Ok(None);
    };
    id.trim().parse().map(Some).map_err(|_| {
        let loc = [Value::from("header"), Value::from("Last-Event-ID")];
        ApiError::one(Invalid::new(
            "int_parsing",
            &loc,
            "Input should be the id of an event: a number",
        ))
    })
}

async fn page(server: &Server, id: Uuid, after: u64, limit: usize) -> Result<Response, ApiError> {
    let mut json = String::from("{\"data\":[");
    let (mut last, mut count, mut has_more) = (after, 0, false);
    // One row beyond the page shows whether there are more.
    'rows: loop {
        let rows = server.events(id, last, limit + 1 - count, PAGE_BYTES).await?;
        if rows.is_empty() {
            break;
        }
        for row in rows {
            if count == limit {
                has_more = true;
                break 'rows;
            }
            json.push_str(if count > 0 { "," } else { "" });
            json.push_str(core::str::from_utf8(&row.event).unwrap_or("null"));
            (last, count) = (row.seq, count + 1);
        }
    }
    json.push_str(&format!("],\"has_more\":{has_more},\"last_seq\":{last}}}"));
    Ok(([(header::CONTENT_TYPE, "application/json")], Body::from(json)).into_response())
}

/// The states of the session, as a stream: those of the last turn, and what comes.
#[utoipa::path(get, path = "/sessions/{session_id}/stream", tag = "log",
    params(("session_id" = Uuid, Path), ("Last-Event-ID" = Option<u64>, Header)),
    responses((status = 200, content_type = "text/event-stream", body = String), (status = 404)))]
pub(super) async fn stream(
    State(server): State<Arc<Server>>,
    Extension(owner): Owned,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let record = server.load(id_of(&id)?, &owner.0).await?;
    let after = last_event(&headers)?.unwrap_or(Document::of(&record)?.turn_after);
    Ok(sse::respond(server, record.id, after, sse::View::States(sse::States::default())))
}
