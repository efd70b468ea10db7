//! The client: the server and credentials that requests use, and the builder of its runs.

use std::sync::Arc;

use http::Method;
use serde::Serialize;

use crate::api::{ApiRequest, Files, Models};
use crate::config::{ClientBuilder, Settings, SetupError};
use crate::deprecated::warn_about;
use crate::error::Error;
use crate::run::RunBuilder;

/// Sends requests to one server with one set of credentials. Clones are cheap and share
/// connections.
///
/// ```no_run
/// use core::time::Duration;
/// use toolrunner_std::Client;
/// let client = Client::builder()
///     .base_url("https://gateway.example.org/anthropic")
///     .auth_token("a token")
///     .read_timeout(Duration::from_secs(120))
///     .max_retries(4)
///     .build()?;
/// let run = client.run("claude-opus-4-7").system("Be brief.").user("Hello");
/// # Ok::<(), toolrunner_std::SetupError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Client {
    settings: Arc<Settings>,
}

impl Client {
    /// Creates a client from the environment variables `ANTHROPIC_API_KEY`,
    /// `ANTHROPIC_AUTH_TOKEN`, `ANTHROPIC_BASE_URL` and `ANTHROPIC_CUSTOM_HEADERS`.
    ///
    /// If a base URL is set but no key or token, requests carry no credential, because a gateway
    /// may not need one. If neither is set, this fails.
    ///
    /// # Errors
    /// Returns the first setting that is missing or invalid, with the name of its variable.
    pub fn from_env() -> Result<Self, SetupError> {
        ClientBuilder::from_env()?.build()
    }

    /// Returns a builder with which the program sets everything itself.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::new()
    }

    /// Starts the configuration of a run with this model: set its options, then a prompt.
    ///
    /// A model in [`DEPRECATED_MODELS`](crate::DEPRECATED_MODELS) is logged as a warning, once in a
    /// process.
    pub fn run(&self, model: impl Into<String>) -> RunBuilder {
        let model = model.into();
        warn_about(&model);
        RunBuilder::new(Arc::clone(&self.settings), model)
    }

    /// Creates a request with the method GET to any path of the API, such as `/v1/models`. `.await`
    /// sends it, with the client's headers, hooks and retries.
    pub fn get(&self, path: &str) -> ApiRequest {
        ApiRequest::new(&self.settings, Method::GET, path)
    }

    /// Creates a request with the method POST to any path of the API, with a body that serde can
    /// serialize to JSON. `.await` sends it, with the client's headers, hooks and retries.
    ///
    /// ```no_run
    /// # async fn f(client: toolrunner_std::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let batch = serde_json::json!({"requests": []});
    /// let reply = client.post("/v1/messages/batches", &batch).await?;
    /// println!("{}", reply.text());
    /// # Ok(()) }
    /// ```
    pub fn post(&self, path: &str, body: &(impl Serialize + ?Sized)) -> ApiRequest {
        let json = serde_json::to_vec(body).map_err(|error| {
            Error::Invalid(format!("the body cannot be written as JSON: {error}"))
        });
        ApiRequest::new(&self.settings, Method::POST, path).json(json)
    }

    /// Creates a request with the method DELETE to any path of the API. `.await` sends it, with the
    /// client's headers, hooks and retries.
    pub fn delete(&self, path: &str) -> ApiRequest {
        ApiRequest::new(&self.settings, Method::DELETE, path)
    }

    /// Returns the requests about models.
    pub fn models(&self) -> Models {
        Models::new(Arc::clone(&self.settings))
    }

    /// Returns the requests about files.
    pub fn files(&self) -> Files {
        Files::new(Arc::clone(&self.settings))
    }

    /// Returns the settings that all requests of this client share.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }
}

impl From<Settings> for Client {
    fn from(settings: Settings) -> Self {
        Self { settings: Arc::new(settings) }
    }
}

impl ClientBuilder {
    /// Checks these settings and makes a client from them.
    ///
    /// # Errors
    /// Returns the first invalid setting.
    pub fn build(self) -> Result<Client, SetupError> {
        self.settings().map(Client::from)
    }
}
