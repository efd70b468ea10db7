//! The OpenAPI description, which is generated from the code.

use std::sync::LazyLock;

use axum::Json;
use utoipa::OpenApi;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{Content, Ref, RefOr, Response};

use super::{error, log, sessions, turns};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "toolrunner-serve",
        description = "Durable sessions with an agent. HEAD is answered wherever GET is."
    ),
    tags(
        (name = "sessions", description = "Create, list, read and delete sessions"),
        (name = "turns", description = "Send messages, answer interrupts, cancel turns"),
        (name = "log", description = "Read messages and events"),
        (name = "server", description = "The state of the server"),
    ),
    paths(
        super::health,
        super::ready,
        super::metrics,
        document,
        sessions::create,
        sessions::create_as,
        sessions::list,
        sessions::read,
        sessions::delete,
        turns::send,
        turns::resume,
        turns::cancel,
        log::messages,
        log::events,
        log::stream
    ),
    components(schemas(error::Problem, error::InvalidInput, crate::chat::ChatMessage)),
    modifiers(&Common)
)]
struct Document;

pub(super) static DOCUMENT: LazyLock<utoipa::openapi::OpenApi> = LazyLock::new(Document::openapi);

/// Paths that need no token.
const OPEN: [&str; 2] = ["/health", "/ready"];

/// Adds what all routes have in common: bearer tokens, and the errors that any request can cause.
struct Common;

impl utoipa::Modify for Common {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let components = openapi.components.get_or_insert_with(Default::default);
        components
            .add_security_scheme("bearer", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
        for (path, item) in &mut openapi.paths.paths {
            let is_open = OPEN.contains(&path.as_str());
            let operations = [&mut item.get, &mut item.put, &mut item.post, &mut item.delete];
            for operation in operations.into_iter().flatten() {
                complete(operation, is_open);
            }
        }
    }
}

fn complete(operation: &mut Operation, is_open: bool) {
    let responses = &mut operation.responses.responses;
    let mut common = vec!["403"];
    if !is_open {
        operation.security = Some(vec![SecurityRequirement::new("bearer", [""; 0])]);
        common.push("401");
    }
    // Every operation but the description itself uses the store.
    if operation.operation_id.as_deref() != Some("document") {
        common.push("503");
    }
    for status in common {
        responses.entry(status.to_owned()).or_insert_with(|| RefOr::T(Response::new("")));
    }
    for (status, response) in responses {
        let RefOr::T(response) = response else { continue };
        let Some(text) = meaning(status) else { continue };
        if response.description.is_empty() {
            response.description = text.to_owned();
        }
        let schema = if status == "422" { "InvalidInput" } else { "Problem" };
        let content = Content::new(Some(Ref::from_schema_name(schema)));
        response.content.insert("application/json".to_owned(), RefOr::T(content));
    }
}

/// Returns what the status of an error means.
fn meaning(status: &str) -> Option<&'static str> {
    Some(match status {
        "400" => "The request is invalid",
        "401" => "The server requires a bearer token, and the request has no valid one",
        "403" => "A page of another origin, or a host name that the server does not answer to",
        "404" => "The session does not exist, or belongs to another owner",
        "405" => "The server does not allow this method",
        "409" => "The session's state does not allow the request",
        "412" => "The session does not have the version that `If-Match` names",
        "413" => "The body is larger than 16 MiB",
        "422" => "The input is invalid",
        "503" => "The store does not respond, or the server is full or is shutting down",
        _ => return None,
    })
}

/// Returns this description.
#[utoipa::path(get, path = "/openapi.json", tag = "server", responses((status = 200, description = "OpenAPI 3.1", body = Object)))]
pub(super) async fn document() -> Json<&'static utoipa::openapi::OpenApi> {
    Json(&DOCUMENT)
}
