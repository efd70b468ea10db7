//! toolrunner over Google Cloud's Vertex AI.
//!
//! ```no_run
//! use toolrunner_vertex::Vertex;
//!
//! # async fn f() -> Result<(), Box<dyn std::error::Error>> {
//! // CLOUD_ML_REGION, ANTHROPIC_VERTEX_PROJECT_ID, and the credentials that Google's tools find.
//! let client = Vertex::from_env()?.default_credentials().await?.client()?.build()?;
//! let mut run = client.run("claude-opus-4-6").user("Hello");
//! println!("{}", run.until_done().await?.text());
//! # Ok(()) }
//! ```
//!
//! [`VertexBuilder::client`] returns an ordinary [`ClientBuilder`](toolrunner_std::ClientBuilder)
//! with a [request hook](toolrunner_std::http::RequestHook): `POST /v1/messages` becomes
//! `POST /v1/projects/{project}/locations/{region}/publishers/anthropic/models/{model}:rawPredict`,
//! or `:streamRawPredict` if the reply is streamed; `model` leaves the body and `anthropic_version`
//! enters it; and each request, also each retry, gets a current access token. Token counting
//! (`Run::count_tokens`) works too; other endpoints are an error. Betas stay in the header
//! `anthropic-beta`. A hook that is added later sees the rewritten request.
//!
//! Source: "Use Anthropic's Claude models" in the documentation of Vertex AI, and the official
//! Python SDK 2.14.0. **This package was tested with servers on loopback and with tokens made up by
//! the tests, and never against Vertex AI itself.**

mod builder;
mod hook;

pub use builder::{DEFAULT_VERSION, Vertex, VertexBuilder, VertexError};
pub use gcp_auth;

/// Compiles the code blocks of the README as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
