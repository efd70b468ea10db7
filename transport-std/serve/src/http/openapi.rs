//! The OpenAPI description, which is generated from the code.

use axum::Json;
use utoipa::OpenApi;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};

use super::{error, log, sessions, turns};

#[derive(OpenApi)]
#[openapi(
    info(title = "toolrunner-serve", description = "Durable sessions with an agent"),
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
    components(schemas(error::Invalid, crate::chat::ChatMessage)),
    modifiers(&Tokens)
)]
struct Document;

/// Adds bearer tokens to the description.
struct Tokens;

impl utoipa::Modify for Tokens {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let components = openapi.components.get_or_insert_with(Default::default);
        components
            .add_security_scheme("bearer", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
    }
}

/// This description.
#[utoipa::path(get, path = "/openapi.json", tag = "server", responses((status = 200)))]
pub(super) async fn document() -> Json<utoipa::openapi::OpenApi> {
    Json(Document::openapi())
}
