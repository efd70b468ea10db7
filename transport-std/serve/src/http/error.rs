//! Error responses.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};

use crate::engine::Refusal;
use crate::server::Failure;
use crate::store::StoreError;

/// Why a request was refused.
#[derive(Debug)]
pub(crate) enum ApiError {
    /// A status and a text.
    Plain(StatusCode, String),
    /// The input is invalid.
    Invalid(Vec<Invalid>),
    /// The token is missing or unknown.
    Unauthorized,
    /// The store failed.
    Store(StoreError),
}

/// One thing that is wrong with the input.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Invalid {
    /// The kind of error, as pydantic names it.
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    /// The path to the invalid part: `body`, `query` or `header`, then member names and list
    /// indexes.
    #[schema(value_type = Vec<Value>)]
    pub(crate) loc: Vec<Value>,
    /// What is wrong.
    pub(crate) msg: String,
}

/// The body of an error.
#[derive(utoipa::ToSchema)]
#[allow(dead_code, reason = "describes the body, which is built in one place for all errors")]
pub(crate) struct Problem {
    /// What went wrong.
    detail: String,
}

/// The body of an error that the request's input causes.
#[derive(utoipa::ToSchema)]
#[allow(dead_code, reason = "describes the body, which is built in one place for all errors")]
pub(crate) struct InvalidInput {
    /// Everything that is wrong with the input.
    detail: Vec<Invalid>,
}

impl Invalid {
    pub(crate) fn new(kind: &'static str, loc: &[Value], msg: impl Into<String>) -> Self {
        Self { kind, loc: loc.to_vec(), msg: msg.into() }
    }

    pub(crate) fn query(kind: &'static str, name: &str, msg: impl Into<String>) -> Self {
        Self::new(kind, &[json!("query"), json!(name)], msg)
    }
}

impl ApiError {
    pub(crate) fn not_found() -> Self {
        Self::Plain(StatusCode::NOT_FOUND, "Session not found".to_owned())
    }

    pub(crate) fn plain(status: StatusCode, detail: &str) -> Self {
        Self::Plain(status, detail.to_owned())
    }

    pub(crate) fn one(invalid: Invalid) -> Self {
        Self::Invalid(vec![invalid])
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<Failure> for ApiError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::NotFound => Self::not_found(),
            Failure::Precondition => {
                Self::plain(StatusCode::PRECONDITION_FAILED, "The session has a different version")
            }
            Failure::Store(error) => Self::Store(error),
            Failure::Refused(Refusal::BadAnswer { at, kind, text }) => {
                let loc = [json!("body"), json!("value")]
                    .into_iter()
                    .chain(at.into_iter().map(Value::from));
                Self::one(Invalid { kind, loc: loc.collect(), msg: text.to_owned() })
            }
            Failure::Refused(refusal @ Refusal::UnknownInterrupt(_)) => {
                Self::Plain(StatusCode::NOT_FOUND, refusal.to_string())
            }
            Failure::Refused(refusal) => Self::Plain(StatusCode::CONFLICT, refusal.to_string()),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, detail) = match self {
            Self::Plain(status, text) => (status, json!(text)),
            Self::Invalid(list) => (StatusCode::UNPROCESSABLE_ENTITY, json!(list)),
            Self::Unauthorized => {
                (StatusCode::UNAUTHORIZED, json!("A valid bearer token is required"))
            }
            Self::Store(error) => {
                tracing::error!("{error}");
                (
                    StatusCode::SERVICE_UNAVAILABLE,
                    json!(
                        "The store does not answer; whether the request was carried out is not known"
                    ),
                )
            }
        };
        let mut response = (status, Json(json!({"detail": detail}))).into_response();
        if status == StatusCode::UNAUTHORIZED {
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
