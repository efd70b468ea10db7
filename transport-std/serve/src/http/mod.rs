//! The HTTP interface.

mod error;
mod input;
mod log;
mod openapi;
mod origin;
mod sessions;
mod sse;
#[cfg(test)]
mod tests;
mod turns;

use std::sync::Arc;

use axum::Router;
use axum::extract::{FromRequestParts, Path, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use axum::{Extension, Json};
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tower_http::cors::CorsLayer;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::playground;
use crate::server::Server;
use crate::store::{IDEMPOTENCY_TTL, IdempotencyRecord, Timestamp};
use error::{ApiError, Invalid};

/// The owner on whose behalf a request is made.
#[derive(Clone, Debug)]
struct Owner(Arc<str>);

/// Returns all routes of the server.
pub(crate) fn router(server: Arc<Server>) -> Router {
    let sessions = get(sessions::list).post(sessions::create);
    let session = get(sessions::read).put(sessions::create_as).delete(sessions::delete);
    let open = Router::new().route("/health", get(health)).route("/ready", get(ready));
    let owned = Router::new()
        .route("/metrics", get(metrics))
        .route("/openapi.json", get(openapi::document))
        .route("/sessions", sessions)
        .route("/sessions/{session_id}", session)
        .route("/sessions/{session_id}/messages", get(log::messages).post(turns::send))
        .route("/sessions/{session_id}/resume", axum::routing::post(turns::resume))
        .route("/sessions/{session_id}/cancel", axum::routing::post(turns::cancel))
        .route("/sessions/{session_id}/events", get(log::events))
        .route("/sessions/{session_id}/stream", get(log::stream))
        .route_layer(middleware::from_fn_with_state(Arc::clone(&server), authorize));
    let open = playground::ASSETS
        .iter()
        .fold(open, |open, asset| open.route(asset.path, get(move || page(asset))));
    let mut router = open
        .route("/", get(|| async { Redirect::temporary("/playground") }))
        .merge(owned)
        .fallback(|| async { ApiError::plain(StatusCode::NOT_FOUND, "Not Found") })
        .method_not_allowed_fallback(|| async {
            ApiError::plain(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed")
        });
    let origins: Vec<HeaderValue> = server
        .options
        .origins
        .iter()
        .filter_map(|origin| HeaderValue::from_str(origin).ok())
        .collect();
    if !origins.is_empty() {
        let cors = CorsLayer::new()
            .allow_origin(origins)
            .allow_methods([Method::GET, Method::POST, Method::PUT, Method::DELETE])
            .allow_headers(tower_http::cors::AllowHeaders::mirror_request())
            .expose_headers([
                header::ETAG,
                header::LINK,
                header::LOCATION,
                header::HeaderName::from_static("idempotency-replayed"),
            ]);
        router = router.layer(cors);
    }
    router
        .layer(middleware::from_fn_with_state(Arc::clone(&server), origin::check))
        .with_state(server)
}

/// Returns a file of the playground.
async fn page(asset: &'static playground::Asset) -> Response {
    let headers = [
        (header::CONTENT_TYPE, asset.content_type),
        (header::CONTENT_SECURITY_POLICY, playground::SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, asset.body).into_response()
}

/// Determines the owner that a request acts for.
async fn authorize(
    State(server): State<Arc<Server>>,
    mut request: Request,
    next: Next,
) -> Response {
    let tokens = &server.options.tokens;
    let owner = if tokens.is_empty() {
        Some("")
    } else {
        bearer(request.headers()).and_then(|token| tokens.owner(token))
    };
    let Some(owner) = owner else { return ApiError::Unauthorized.into_response() };
    request.extensions_mut().insert(Owner(owner.into()));
    next.run(request).await
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// How busy the server is.
#[derive(Serialize, ToSchema)]
struct Health {
    /// Always `ok`.
    status: &'static str,
    /// The maximum number of concurrent turns; 0 for no limit.
    max_workers: usize,
    /// The number of turns that this server works on.
    running_workers: usize,
    /// The number of sessions in the store.
    total_sessions: u64,
}

/// Returns whether the server is alive, and how busy it is.
#[utoipa::path(get, path = "/health", tag = "server", responses((status = 200, description = "The server is alive", body = Health)))]
async fn health(State(server): State<Arc<Server>>) -> Result<Json<Health>, ApiError> {
    let total_sessions = server.store.count().await?;
    let max_workers = server.options.workers.unwrap_or(0);
    Ok(Json(Health {
        status: "ok",
        max_workers,
        running_workers: server.running(),
        total_sessions,
    }))
}

/// Returns whether the server accepts requests: it is not shutting down, and its store responds.
#[utoipa::path(get, path = "/ready", tag = "server", responses((status = 200, description = "The server accepts requests", body = Object), (status = 503)))]
async fn ready(State(server): State<Arc<Server>>) -> Response {
    let status = match server.store.ready().await {
        _ if server.is_draining() => "draining",
        Ok(()) => return Json(json!({"status": "ready"})).into_response(),
        Err(error) => {
            tracing::warn!("{error}");
            "the store does not answer"
        }
    };
    (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"status": status, "detail": status})))
        .into_response()
}

/// Returns metrics for Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "server",
    responses((status = 200, description = "Prometheus' text format", content_type = "text/plain", body = String)))]
async fn metrics(State(server): State<Arc<Server>>) -> Result<Response, ApiError> {
    let text = server.metrics.text(server.store.count().await?, server.running() as u64);
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}

/// The session's id in a path, as the client wrote it. Empty if it is not UTF-8, which no id is.
struct PathId(String);

impl<S: Send + Sync> FromRequestParts<S> for PathId {
    type Rejection = core::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        let id = Path::<String>::from_request_parts(parts, state).await;
        Ok(Self(id.map(|Path(id)| id).unwrap_or_default()))
    }
}

impl PathId {
    /// Parses the id. An invalid id is reported like an unknown session.
    fn session(&self) -> Result<Uuid, ApiError> {
        canonical(&self.0).ok_or_else(ApiError::not_found)
    }
}

/// Parses a UUID in its canonical form, with hyphens and lower-case letters.
fn canonical(text: &str) -> Option<Uuid> {
    Uuid::try_parse(text).ok().filter(|id| id.hyphenated().to_string() == text)
}

/// A request that takes effect once per idempotency key.
struct IdempotentRequest {
    scope: String,
    key: String,
    fingerprint: bytes::Bytes,
}

/// An answer that is returned again for the same key.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct StoredAnswer {
    status: u16,
    location: Option<String>,
    body: serde_json::Value,
    /// The log's head before the turn that the request began.
    after: u64,
}

impl IdempotentRequest {
    /// Reads the `Idempotency-Key` header. Returns `None` without the header.
    fn of(
        headers: &HeaderMap,
        owner: &Owner,
        route: &str,
        session: Option<Uuid>,
        body: &[u8],
    ) -> Result<Option<Self>, ApiError> {
        let Some(key) = headers.get("idempotency-key") else { return Ok(None) };
        let bad = |text: &str| {
            ApiError::one(Invalid::new(
                "value_error",
                &[json!("header"), json!("Idempotency-Key")],
                text,
            ))
        };
        let key =
            key.to_str().map_err(|_| bad("Idempotency-Key: only visible ASCII characters"))?;
        if key.is_empty() || key.len() > 255 {
            return Err(bad("Idempotency-Key: 1 to 255 characters"));
        }
        let place = session.map_or_else(|| "sessions".to_owned(), |id| id.to_string());
        let told = [route.as_bytes(), b"\n", body].concat();
        Ok(Some(Self {
            scope: format!("{}/{place}", owner.0),
            key: key.to_owned(),
            fingerprint: digest(&SHA256, &told).as_ref().to_vec().into(),
        }))
    }

    /// Returns the answer that is stored under the key, if any.
    async fn kept(&self, server: &Server) -> Result<Option<StoredAnswer>, ApiError> {
        server
            .store
            .recall(&self.scope, &self.key)
            .await?
            .map(|known| self.replay(&known))
            .transpose()
    }

    fn replay(&self, known: &IdempotencyRecord) -> Result<StoredAnswer, ApiError> {
        if known.fingerprint != self.fingerprint {
            let text = "Idempotency-Key was used with another request";
            return Err(ApiError::one(Invalid::new(
                "value_error",
                &[json!("header"), json!("Idempotency-Key")],
                text,
            )));
        }
        serde_json::from_slice(&known.answer).map_err(|error| {
            crate::store::StoreError::new("a stored answer cannot be read").because(error).into()
        })
    }

    fn keep(&self, kept: &StoredAnswer) -> IdempotencyRecord {
        IdempotencyRecord {
            scope: self.scope.clone(),
            key: self.key.clone(),
            fingerprint: self.fingerprint.clone(),
            answer: serde_json::to_vec(kept).unwrap_or_default().into(),
            expires: Timestamp::now().after(IDEMPOTENCY_TTL),
        }
    }
}

impl StoredAnswer {
    fn respond(&self, is_replay: bool) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::OK);
        let mut response = (status, Json(&self.body)).into_response();
        if let Some(location) =
            self.location.as_deref().and_then(|location| HeaderValue::from_str(location).ok())
        {
            response.headers_mut().insert(header::LOCATION, location);
        }
        // The answer is a session if it has a version.
        if let Some(version) = self.body["version"].as_u64() {
            response.headers_mut().insert(header::ETAG, input::tag(version));
        }
        mark(&mut response, is_replay);
        response
    }
}

/// Adds the header `Idempotency-Replayed` to a repeated answer.
fn mark(response: &mut Response, is_replay: bool) {
    if is_replay {
        response.headers_mut().insert("idempotency-replayed", HeaderValue::from_static("true"));
    }
}

/// Returns the text of a header.
fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

type OwnerExtension = Extension<Owner>;
