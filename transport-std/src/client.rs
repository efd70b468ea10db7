//! The client: whom to ask, and the runs that ask.

use std::sync::Arc;

use crate::config::{ClientBuilder, Settings, SetupError};
use crate::run::RunBuilder;

/// Asks one server as one caller. Clones are cheap and share connections.
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
    /// A client of what the environment says: `ANTHROPIC_API_KEY`, `ANTHROPIC_AUTH_TOKEN`,
    /// `ANTHROPIC_BASE_URL`.
    ///
    /// With a base URL and no key, requests carry no key: a gateway knows. With neither there is
    /// nobody to ask.
    ///
    /// # Errors
    /// What is wrong or missing, by the variable's name.
    pub fn from_env() -> Result<Self, SetupError> {
        ClientBuilder::from_env()?.build()
    }

    /// Says everything in code.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::new()
    }

    /// A run with this model: say the rest, then a prompt.
    pub fn run(&self, model: impl Into<String>) -> RunBuilder {
        RunBuilder::new(Arc::clone(&self.settings), model.into())
    }

    /// What every request of this client has in common.
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
    /// A client of these settings.
    ///
    /// # Errors
    /// The first thing that is wrong with them.
    pub fn build(self) -> Result<Client, SetupError> {
        self.settings().map(Client::from)
    }
}
