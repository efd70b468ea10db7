//! Sessions: create, list, read, delete.

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use super::error::{ApiError, Invalid};
use super::input::{self, Parameters, Tags};
use super::{IdempotentRequest, Owner, OwnerExtension, PathId, StoredAnswer, canonical};
use crate::chat::{ChatMessage, ChatRole, ToolCall};
use crate::engine::{Document, Interrupt};
use crate::server::{Base, Server};
use crate::store::{
    CreateResult, NewSession, Query, Record, Status, StoreError, Summary, Timestamp,
};

/// A session.
#[derive(Serialize, ToSchema)]
pub(super) struct SessionBody<'a> {
    session_id: Uuid,
    /// `idle`, `running`, `interrupted` or `error`.
    #[schema(value_type = String)]
    status: Status,
    /// The answer of the last turn.
    #[schema(value_type = Option<ChatMessage>)]
    response: Option<Whole<'a>>,
    /// Why the last turn failed.
    error: Option<&'a str>,
    /// The approvals and questions that the session waits for, while it is interrupted.
    #[schema(value_type = Option<Vec<Value>>)]
    interrupts: Option<Vec<&'a Interrupt>>,
    /// The number that the session's entity tag contains. Each change adds 1.
    version: u64,
    metadata: &'a BTreeMap<String, String>,
    #[schema(value_type = String)]
    created_at: Timestamp,
    #[schema(value_type = String)]
    updated_at: Timestamp,
}

/// A chat message with all its keys, nulls included.
#[derive(Serialize)]
pub(super) struct Whole<'a> {
    role: ChatRole,
    content: Option<&'a str>,
    reasoning: Option<&'a str>,
    reasoning_details: Option<&'a [Value]>,
    tool_calls: Option<&'a [ToolCall]>,
    tool_call_id: Option<&'a str>,
    name: Option<&'a str>,
    base64_image: Option<&'a str>,
    user_params: Option<&'a serde_json::Map<String, Value>>,
}

impl<'a> Whole<'a> {
    fn of(message: &'a ChatMessage) -> Self {
        Self {
            role: message.role,
            content: message.content.as_deref(),
            reasoning: message.reasoning.as_deref(),
            reasoning_details: message.reasoning_details.as_deref(),
            tool_calls: message.tool_calls.as_deref(),
            tool_call_id: message.tool_call_id.as_deref(),
            name: message.name.as_deref(),
            base64_image: message.base64_image.as_deref(),
            user_params: message.user_params.as_ref(),
        }
    }
}

impl<'a> SessionBody<'a> {
    fn of(record: &'a Record, document: &'a Document) -> Self {
        let interrupted = record.status == Status::Interrupted;
        Self {
            session_id: record.id,
            status: record.status,
            response: document.response.as_ref().map(Whole::of),
            error: document.error.as_deref(),
            interrupts: interrupted.then(|| document.open_interrupts().collect()),
            version: record.version,
            metadata: &record.metadata,
            created_at: record.created,
            updated_at: record.updated,
        }
    }
}

/// Builds the response for a session.
pub(super) fn respond(record: &Record, status: StatusCode) -> Result<Response, ApiError> {
    let document = Document::of(record)?;
    let mut response = (status, Json(SessionBody::of(record, &document))).into_response();
    response.headers_mut().insert(header::ETAG, input::tag(record.version));
    Ok(response)
}

/// The initial content of a session.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes the body, which is read by hand for its error messages")]
pub(super) struct NewSessionBody {
    /// The first messages of the conversation.
    state: Option<Vec<ChatMessage>>,
    /// At most 32 values of at most 512 bytes, with keys of at most 64 bytes.
    metadata: Option<BTreeMap<String, String>>,
}

/// Creates a session.
#[utoipa::path(post, path = "/sessions", tag = "sessions", request_body = Option<NewSessionBody>,
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes the request take effect only once: the same key and body return the first answer for at least 24 hours. 1 to 255 visible ASCII characters")),
    responses((status = 201, description = "The session was created", body = SessionBody<'_>, headers(("Location" = Option<String>, description = "The session's path"), ("ETag" = String, description = "The session's version"), ("Idempotency-Replayed" = Option<String>, description = "`true` if this is the answer to an earlier request with the same key"))), (status = 413), (status = 422), (status = 503)))]
pub(super) async fn create(
    State(server): State<Arc<Server>>,
    Extension(owner): OwnerExtension,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let bytes = input::bytes_of(&headers, body).await?;
    let new = input::new_session(&bytes)?;
    let once = IdempotentRequest::of(&headers, &owner, "POST /sessions", None, &bytes)?;
    if let Some(kept) = kept(once.as_ref(), &server).await? {
        return Ok(kept.respond(true));
    }
    store(&server, &owner, Uuid::now_v7(), new, once).await
}

/// Creates a session with this id, if the server allows clients to choose ids.
#[utoipa::path(put, path = "/sessions/{session_id}", tag = "sessions", request_body = Option<NewSessionBody>,
    params(("session_id" = Uuid, Path, description = "The session's id")),
    responses((status = 201, description = "The session was created", body = SessionBody<'_>, headers(("Location" = Option<String>, description = "The session's path"), ("ETag" = String, description = "The session's version"))), (status = 400, description = "The id is not a UUID in canonical form"),
        (status = 405, description = "The server does not allow clients to choose ids"), (status = 409, description = "A session with this id exists"), (status = 413), (status = 422), (status = 503)))]
pub(super) async fn create_as(
    State(server): State<Arc<Server>>,
    Extension(owner): OwnerExtension,
    id: PathId,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let new = input::new_session(&input::bytes_of(&headers, body).await?)?;
    if !server.options.allow_custom_ids {
        let mut refused =
            ApiError::plain(StatusCode::METHOD_NOT_ALLOWED, "Custom session IDs are not enabled")
                .into_response();
        refused.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET,HEAD,DELETE"));
        return Ok(refused);
    }
    let Some(id) = canonical(&id.0) else {
        return Err(ApiError::plain(StatusCode::BAD_REQUEST, "Session ID must be a valid UUID"));
    };
    store(&server, &owner, id, new, None).await
}

async fn kept(
    once: Option<&IdempotentRequest>,
    server: &Server,
) -> Result<Option<StoredAnswer>, ApiError> {
    match once {
        Some(once) => once.kept(server).await,
        None => Ok(None),
    }
}

async fn store(
    server: &Server,
    owner: &Owner,
    id: Uuid,
    new: input::NewSession,
    once: Option<IdempotentRequest>,
) -> Result<Response, ApiError> {
    let now = Timestamp::now();
    let base = (!new.state.is_empty()).then(|| Base::new(&new.state, server.rules.system_messages));
    let document = Document {
        transcript: base.as_ref().map_or(0, |base| base.transcript.len() as u64),
        ..Document::default()
    };
    let json = serde_json::to_vec(&document)
        .map_err(|error| StoreError::new("the session cannot be written").because(error))?;
    let mut record = Record {
        id,
        owner: owner.0.to_string(),
        metadata: new.metadata,
        created: now,
        updated: now,
        expires: server.rules.ttl.map(|ttl| now.after(ttl)),
        version: 1,
        head: 0,
        status: Status::Idle,
        messages: new.state.len() as u64,
        holder: None,
        fence: 0,
        token: Uuid::nil(),
        document: json.into(),
    };
    let kept = StoredAnswer {
        status: StatusCode::CREATED.as_u16(),
        location: Some(format!("/sessions/{id}")),
        body: serde_json::to_value(SessionBody::of(&record, &document)).unwrap_or_default(),
        after: 0,
    };
    let created = server.store.create(NewSession {
        id,
        owner: record.owner.clone(),
        metadata: core::mem::take(&mut record.metadata),
        now,
        expires: record.expires,
        messages: record.messages,
        document: record.document,
        base: base.map(|base| base.to_bytes()),
        limit: server.options.max_sessions,
        idempotent: once.as_ref().map(|once| once.keep(&kept)),
    });
    match (created.await?, once) {
        (CreateResult::Done, _) => Ok(kept.respond(false)),
        (CreateResult::Exists, _) => {
            Err(ApiError::plain(StatusCode::CONFLICT, "Session already exists"))
        }
        (CreateResult::Full, _) => Err(ApiError::plain(
            StatusCode::SERVICE_UNAVAILABLE,
            "Maximum number of sessions reached",
        )),
        (CreateResult::Replay(known), Some(once)) => Ok(once.replay(&known)?.respond(true)),
        (CreateResult::Replay(_), None) => {
            Err(StoreError::new("the store returned an idempotency key that was not sent").into())
        }
    }
}

/// A session in a list.
#[derive(Serialize, ToSchema)]
pub(super) struct SummaryBody {
    session_id: Uuid,
    total_messages: u64,
    #[schema(value_type = String)]
    status: Status,
    metadata: BTreeMap<String, String>,
    #[schema(value_type = String)]
    created_at: Timestamp,
    #[schema(value_type = String)]
    updated_at: Timestamp,
}

/// Lists sessions in order of creation.
#[utoipa::path(get, path = "/sessions", tag = "sessions",
    params(("limit" = Option<u64>, Query, description = "The maximum number of sessions: 1 to 1000; 100 by default"),
        ("status" = Option<String>, Query, description = "Return only sessions with this status: `idle`, `running`, `interrupted` or `error`"),
        ("metadata.KEY" = Option<String>, Query, description = "Return only sessions whose metadata has this value for KEY"),
        ("after" = Option<String>, Query, description = "Where the page begins; from the `Link` header of the previous page")),
    responses((status = 200, description = "A page of sessions", body = [SummaryBody], headers(("Link" = Option<String>, description = "The next page, with `rel=\"next\"`"))), (status = 422)))]
pub(super) async fn list(
    State(server): State<Arc<Server>>,
    Extension(owner): OwnerExtension,
    RawQuery(raw): RawQuery,
) -> Result<Response, ApiError> {
    let query = Parameters::of(raw.as_deref());
    let limit = query.integer("limit", 100, 1, 1000)?;
    let status = query.get("status").map(|name| {
        let text = "Input should be 'idle', 'running', 'interrupted' or 'error'";
        Status::from_name(name)
            .ok_or_else(|| ApiError::one(Invalid::query("literal_error", "status", text)))
    });
    let metadata = query.0.iter().filter_map(|(name, value)| {
        Some((name.strip_prefix("metadata.")?.to_owned(), value.clone()))
    });
    let after = query.get("after");
    if after.is_some_and(|place| !server.store.is_place(place)) {
        let text = "Input should be `after` of a `Link` header of this server";
        return Err(ApiError::one(Invalid::query("value_error", "after", text)));
    }
    let page = server.store.list(Query {
        owner: owner.0.to_string(),
        after: after.map(str::to_owned),
        limit: usize::try_from(limit).unwrap_or(usize::MAX),
        status: status.transpose()?,
        metadata: metadata.collect(),
    });
    let page = page.await?;
    let rows = page.sessions.into_iter().map(
        |Summary { id, metadata, created, updated, status, messages }| SummaryBody {
            session_id: id,
            total_messages: messages,
            status,
            metadata,
            created_at: created,
            updated_at: updated,
        },
    );
    let mut response = Json(rows.collect::<Vec<_>>()).into_response();
    if let Some(next) = page.next {
        let mut link = url::form_urlencoded::Serializer::new(String::new());
        link.extend_pairs(query.0.iter().filter(|(name, _)| name != "after"))
            .append_pair("after", &next);
        if let Ok(link) =
            HeaderValue::from_str(&format!("</sessions?{}>; rel=\"next\"", link.finish()))
        {
            response.headers_mut().insert(header::LINK, link);
        }
    }
    Ok(response)
}

/// Returns a session. With `wait=true` the answer arrives when no turn runs, or after `timeout`
/// seconds.
#[utoipa::path(get, path = "/sessions/{session_id}", tag = "sessions",
    params(("session_id" = Uuid, Path, description = "The session's id"), ("wait" = Option<bool>, Query, description = "Wait while a turn runs"), ("timeout" = Option<f64>, Query, description = "The maximum number of seconds to wait"),
        ("If-None-Match" = Option<String>, Header, description = "Return the session only if its entity tag differs")),
    responses((status = 200, description = "The session", body = SessionBody<'_>, headers(("ETag" = String, description = "The session's version"))), (status = 304, description = "The session has this entity tag", headers(("ETag" = String, description = "The session's version"))), (status = 404), (status = 422)))]
pub(super) async fn read(
    State(server): State<Arc<Server>>,
    Extension(owner): OwnerExtension,
    id: PathId,
    RawQuery(raw): RawQuery,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let query = Parameters::of(raw.as_deref());
    let (waits, timeout) = (query.bool("wait")?, query.seconds("timeout")?);
    let id = id.session()?;
    let record = if waits {
        settled(&server, id, &owner, timeout).await?
    } else {
        server.load(id, &owner.0).await?
    };
    // A proxy that compresses answers makes the tag weak.
    if Tags::of(&headers, "if-none-match").is_some_and(|tags| tags.name_weakly(record.version)) {
        let tag = [(header::ETAG, input::tag(record.version))];
        return Ok((StatusCode::NOT_MODIFIED, tag).into_response());
    }
    respond(&record, StatusCode::OK)
}

/// Waits until the session runs no turn, or until the time is up, and returns the session.
pub(super) async fn settled(
    server: &Server,
    id: Uuid,
    owner: &Owner,
    timeout: Option<Duration>,
) -> Result<Record, ApiError> {
    settled_since(server, id, owner, timeout, None).await
}

/// Waits until the turn that began after this row of the log has ended (any turn for `None`), or
/// until the time is up, and returns the session. If a later turn has begun, returns the session as
/// it was when the turn ended.
pub(super) async fn settled_since(
    server: &Server,
    id: Uuid,
    owner: &Owner,
    timeout: Option<Duration>,
    after: Option<u64>,
) -> Result<Record, ApiError> {
    let is_past = |record: &Record| -> Result<bool, ApiError> {
        Ok(match after {
            Some(after) => Document::of(record)?.turn_after != after,
            None => false,
        })
    };
    // Watched before it is loaded, so that no change in between is missed.
    let live = server.hub.live(id);
    let mut versions = live.versions();
    let mut end = core::pin::pin!(async {
        match timeout {
            Some(timeout) => tokio::time::sleep(timeout).await,
            None => core::future::pending().await,
        }
    });
    let mut is_first = true;
    loop {
        versions.mark_unchanged();
        let record = match server.load(id, &owner.0).await {
            Err(crate::server::Failure::NotFound) if !is_first => {
                return Err(ApiError::plain(StatusCode::NOT_FOUND, "Session deleted"));
            }
            record => record?,
        };
        is_first = false;
        if is_past(&record)? {
            return Ok(server.after_turn(&record, after.unwrap_or(0)).await?);
        }
        if record.status != Status::Running {
            return Ok(record);
        }
        tokio::select! {
            biased;
            changed = versions.changed() => {
                if changed.is_err() {
                    return Ok(record);
                }
            }
            () = &mut end => return Ok(record),
            () = server.drain.cancelled() => return Ok(record),
        }
    }
}

/// Deletes a session, and stops its running turn.
#[utoipa::path(delete, path = "/sessions/{session_id}", tag = "sessions",
    params(("session_id" = Uuid, Path, description = "The session's id"), ("If-Match" = Option<String>, Header, description = "Change the session only if it has this entity tag")),
    responses((status = 204, description = "The session was deleted"), (status = 404), (status = 412)))]
pub(super) async fn delete(
    State(server): State<Arc<Server>>,
    Extension(owner): OwnerExtension,
    id: PathId,
    headers: HeaderMap,
) -> Result<StatusCode, ApiError> {
    let tags = Tags::of(&headers, "if-match");
    let fits = |version| tags.as_ref().is_some_and(|tags| tags.name(version));
    let expect: Option<&(dyn Fn(u64) -> bool + Sync)> =
        if tags.is_some() { Some(&fits) } else { None };
    server.delete(id.session()?, &owner.0, expect).await?;
    Ok(StatusCode::NO_CONTENT)
}
