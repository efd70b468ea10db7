//! The client: the server and credentials that requests use, and the builder of its runs.

use std::sync::Arc;

use crate::config::{ClientBuilder, Settings, SetupError};
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
    /// Creates a client from the environment variables `ANTHROPIC_API_KEY`, `ANTHROPIC_AUTH_TOKEN`
    /// and `ANTHROPIC_BASE_URL`.
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
    pub fn run(&self, model: impl Into<String>) -> RunBuilder {
        RunBuilder::new(Arc::clone(&self.settings), model.into())
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
