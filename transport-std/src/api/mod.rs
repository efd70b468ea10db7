//! The API's other endpoints: any path by [`Client::get`](crate::Client::get),
//! [`Client::post`](crate::Client::post) and [`Client::delete`](crate::Client::delete), and typed
//! requests for models and files.
//!
//! All of them use the client's connections, headers, hooks, retries and errors, as a run does.
//!
//! ```no_run
//! # async fn f(client: toolrunner_std::Client) -> Result<(), toolrunner_std::Error> {
//! let mut models = client.models().list();
//! while let Some(page) = models.next_page().await? {
//!     for model in page {
//!         println!("{} {}", model.id, model.display_name);
//!     }
//! }
//! let report = std::fs::read("report.pdf").unwrap();
//! let file = client.files().upload("report.pdf", "application/pdf", report).await?;
//! let reply = client.get("/v1/organizations/me").beta("a-beta").await?;
//! println!("{} {}", file.id, reply.text());
//! # Ok(()) }
//! ```
//!
//! A tool's result may refer to an uploaded file: [`Source::File`](crate::Source::File). The run
//! then needs the beta [`FILES_BETA`]:
//! `client.run(model).settings(|client| client.beta(FILES_BETA))`.

mod files;
mod models;
mod pages;
mod reply;
mod request;

pub use files::{FILES_BETA, File, Files};
pub use models::{Model, Models};
pub use pages::{FromJson, Pages};
pub use reply::ApiReply;
pub use request::{ApiRequest, DEFAULT_REPLY_LIMIT};

use percent_encoding::utf8_percent_encode;

use crate::config::QUERY;
use crate::error::Error;

/// Returns an id as one segment of a path.
fn segment(id: &str) -> Result<String, Error> {
    // Servers and proxies remove dot segments, which would make it another path.
    if matches!(id, "" | "." | "..") {
        return Err(Error::Invalid(format!("{id:?} is not an id")));
    }
    Ok(utf8_percent_encode(id, QUERY).to_string())
}
