//! Reading a session: messages, events, streams.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use super::error::{ApiError, Invalid};
use super::input::{self, Parameters};
use super::{OwnerExtension, PathId, sse};
use crate::chat::{ChatMessage, raw};
use crate::engine::Document;
use crate::server::{PAGE_BYTES, Server};

/// The largest `seq` that every store can represent.
const MOST_SEQ: u64 = i64::MAX as u64;

/// Returns the messages of a session; with `format=anthropic` in the form that the model receives.
#[utoipa::path(get, path = "/sessions/{session_id}/messages", tag = "log",
    params(("session_id" = Uuid, Path, description = "The session's id"), ("format" = Option<String>, Query, description = "`chat`, the default, or `anthropic`")),
    responses((status = 200, description = "The messages", body = [ChatMessage]), (status = 404), (status = 422)))]
pub(super) async fn messages(
    State(server): State<Arc<Server>>,
    Extension(owner): OwnerExtension,
    id: PathId,
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
    let record = server.load(id.session()?, &owner.0).await?;
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
    /// Whether the log has events after this page.
    has_more: bool,
    /// The `seq` of the last event of this page: `after` of the next page.
    last_seq: u64,
}

/// Returns the events of a session: a page, or with `Accept: text/event-stream` a stream that
/// continues after `Last-Event-ID`.
#[utoipa::path(get, path = "/sessions/{session_id}/events", tag = "log",
    params(("session_id" = Uuid, Path, description = "The session's id"), ("after" = Option<u64>, Query, description = "Begin after the event with this `seq`"), ("limit" = Option<u64>, Query, description = "The maximum number of events of a page: 1 to 1000, the default"), ("event_deltas[]" = Option<String>, Query, description = "`agent.message`: a stream also contains previews of messages while the model writes them"),
        ("Last-Event-ID" = Option<u64>, Header, description = "Begin a stream after the event with this `seq`")),
    responses((status = 200, description = "A page of the log; with `Accept: text/event-stream` a stream that stays open", content((EventsBody = "application/json"), (String = "text/event-stream"))),
        (status = 404), (status = 422)))]
pub(super) async fn events(
    State(server): State<Arc<Server>>,
    Extension(owner): OwnerExtension,
    id: PathId,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let query = Parameters::of(query.as_deref());
    let after = query.integer("after", 0, 0, MOST_SEQ)?;
    let limit = query.integer("limit", 1000, 1, 1000)?;
    let previews = previews(&query)?;
    let record = server.load(id.session()?, &owner.0).await?;
    if input::wants_events(&headers) {
        let after = last_event(&headers)?.unwrap_or(after);
        let live = server.hub.live(record.id);
        let previews = previews.then(|| live.previews());
        return Ok(sse::respond(
            server,
            live,
            after,
            sse::View::Events { previews, one_turn: false },
        ));
    }
    page(&server, record.id, after, usize::try_from(limit).unwrap_or(1000)).await
}

/// Returns whether the client wants previews of messages.
pub(super) fn previews(query: &Parameters) -> Result<bool, ApiError> {
    let mut kinds =
        query.0.iter().filter(|(name, _)| name == "event_deltas[]" || name == "event_deltas");
    let is_any = kinds.clone().next().is_some();
    if kinds.all(|(_, kind)| kind == "agent.message") {
        Ok(is_any)
    } else {
        let text = "Input should be 'agent.message'";
        Err(ApiError::one(Invalid::query("literal_error", "event_deltas[]", text)))
    }
}

/// Returns the `Last-Event-ID` header. An empty one is that of a client that has seen no event.
fn last_event(headers: &HeaderMap) -> Result<Option<u64>, ApiError> {
    let Some(id) = headers.get("last-event-id").filter(|id| !id.is_empty()) else {
        return Ok(None);
    };
    let seq = id.to_str().ok().and_then(|id| id.trim().parse::<u64>().ok());
    seq.map(|seq| Some(seq.min(MOST_SEQ))).ok_or_else(|| {
        let loc = [Value::from("header"), Value::from("Last-Event-ID")];
        let text = "Input should be the id of an event: a number";
        ApiError::one(Invalid::new("int_parsing", &loc, text))
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

/// Streams the states of a session in the form of Motus: those of the last turn, then new ones.
#[utoipa::path(get, path = "/sessions/{session_id}/stream", tag = "log",
    params(("session_id" = Uuid, Path, description = "The session's id"), ("Last-Event-ID" = Option<u64>, Header, description = "Begin after the event with this `seq`")),
    responses((status = 200, description = "A stream that stays open", content_type = "text/event-stream", body = String), (status = 404), (status = 422)))]
pub(super) async fn stream(
    State(server): State<Arc<Server>>,
    Extension(owner): OwnerExtension,
    id: PathId,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let record = server.load(id.session()?, &owner.0).await?;
    let after = last_event(&headers)?.unwrap_or(Document::of(&record)?.turn_after);
    let live = server.hub.live(record.id);
    Ok(sse::respond(server, live, after, sse::View::States(sse::States::default())))
}
