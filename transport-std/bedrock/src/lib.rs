//! toolrunner over Amazon Bedrock.
//!
//! ```no_run
//! use toolrunner_bedrock::Bedrock;
//!
//! # async fn f() -> Result<(), Box<dyn std::error::Error>> {
//! // AWS_REGION, and AWS_BEARER_TOKEN_BEDROCK or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.
//! let client = Bedrock::from_env()?.client()?.build()?;
//! let mut run = client.run("anthropic.claude-opus-4-6-v1").user("Hello");
//! println!("{}", run.until_done().await?.text());
//! # Ok(()) }
//! ```
//!
//! [`BedrockBuilder::client`] returns an ordinary [`ClientBuilder`](toolrunner_std::ClientBuilder):
//! timeouts, proxies, hooks and everything else are set as for the Messages API. Two things are
//! added to it:
//!
//! - A [request hook](toolrunner_std::http::RequestHook) rewrites each request: `POST /v1/messages`
//!   becomes `POST /model/{id}/invoke` or `/model/{id}/invoke-with-response-stream`, `model` and
//!   `stream` leave the body, `anthropic_version` and the betas (`anthropic_beta`) enter it. The
//!   hook then signs the request with Signature Version 4, or adds the API key as a bearer token.
//!   Each retry is signed again. A hook that is added later sees the signed request: it must not
//!   change the method, the URL, the body, `host`, `content-type` or a header `x-amz-*`.
//! - A transport decodes replies of the type `application/vnd.amazon.eventstream` into the stream
//!   of events that the Messages API sends. Checksums are verified. An exception of the stream
//!   becomes its `error` event. The headers and bodies of errors get the API's form.
//!
//! Bedrock has no token counting, models or files of the Messages API: other endpoints are an
//! error.
//!
//! Source: the `InvokeModel` and `InvokeModelWithResponseStream` operations in the Amazon Bedrock
//! reference, and the official Python SDK 2.14.0. **This package was tested with published
//! signatures, with recorded forms of frames and with servers on loopback, and never against
//! Bedrock itself.**

mod builder;
mod error_kind;
mod hook;
mod reply;
mod sign;
mod stream;

pub use aws_credential_types;
pub use builder::{Bedrock, BedrockBuilder, BedrockError, DEFAULT_VERSION};

/// Compiles the code blocks of the README as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
