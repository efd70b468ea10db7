//! The configuration: region, credentials, address.

use core::fmt;
use std::env;

use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use toolrunner_std::http::{HttpSettings, HttpTransport};
use toolrunner_std::{ClientBuilder, Secret};

use crate::hook::BedrockHook;
use crate::reply::DecodingTransport;
use crate::sign::Auth;

/// The `anthropic_version` of a request's body if none is set.
pub const DEFAULT_VERSION: &str = "bedrock-2023-05-31";

/// The entry to this package: [`from_env`](Self::from_env) or [`builder`](Self::builder).
#[derive(Clone, Copy, Debug)]
pub struct Bedrock;

/// Configures a client of Bedrock.
#[derive(Clone)]
pub struct BedrockBuilder {
    region: Option<String>,
    auth: Option<Auth>,
    base_url: Option<String>,
    version: String,
    http: Option<HttpTransport>,
}

/// Why a client of Bedrock could not be made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BedrockError {
    /// There is no region: set one in code, or `AWS_REGION`.
    NoRegion,
    /// There are no credentials.
    NoCredentials,
    /// The region contains a character that is not allowed in a region.
    Region(String),
    /// The environment variable of this name is not valid UTF-8.
    Variable(&'static str),
}

impl Bedrock {
    /// Returns a builder with which the program sets everything itself.
    pub fn builder() -> BedrockBuilder {
        BedrockBuilder {
            region: None,
            auth: None,
            base_url: None,
            version: DEFAULT_VERSION.to_owned(),
            http: None,
        }
    }

    /// Returns a builder with the values of the environment: `AWS_REGION` or `AWS_DEFAULT_REGION`;
    /// `AWS_BEARER_TOKEN_BEDROCK`, or else `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and
    /// `AWS_SESSION_TOKEN`; `ANTHROPIC_BEDROCK_BASE_URL`. An empty variable counts as unset.
    ///
    /// Profiles, roles and instance metadata need the feature `aws-config`
    /// (`BedrockBuilder::aws_config`) or a
    /// [`credentials_provider`](BedrockBuilder::credentials_provider).
    ///
    /// # Errors
    /// Returns an error if one of the variables is not valid UTF-8.
    pub fn from_env() -> Result<BedrockBuilder, BedrockError> {
        from_variables(|name| env::var_os(name))
    }
}

fn from_variables(
    variable: impl Fn(&str) -> Option<std::ffi::OsString>,
) -> Result<BedrockBuilder, BedrockError> {
    let read = |name: &'static str| match variable(name).map(std::ffi::OsString::into_string) {
        None => Ok(None),
        Some(Ok(value)) => Ok(Some(value.trim().to_owned()).filter(|value| !value.is_empty())),
        Some(Err(_)) => Err(BedrockError::Variable(name)),
    };
    let mut builder = Bedrock::builder();
    builder.region = match read("AWS_REGION")? {
        Some(region) => Some(region),
        None => read("AWS_DEFAULT_REGION")?,
    };
    builder.base_url = read("ANTHROPIC_BEDROCK_BASE_URL")?;
    if let Some(key) = read("AWS_BEARER_TOKEN_BEDROCK")? {
        return Ok(builder.api_key(key));
    }
    match (read("AWS_ACCESS_KEY_ID")?, read("AWS_SECRET_ACCESS_KEY")?) {
        (Some(id), Some(secret)) => {
            let session = read("AWS_SESSION_TOKEN")?;
            Ok(builder.credentials(id, secret, session))
        }
        _ => Ok(builder),
    }
}

impl BedrockBuilder {
    /// Sets the region, such as `us-east-1`.
    #[must_use]
    pub fn region(mut self, region: impl Into<String>) -> Self {
        self.region = Some(region.into());
        self
    }

    /// Signs requests with these credentials. They replace any set before.
    #[must_use]
    pub fn credentials(
        self,
        access_key_id: impl Into<String>,
        secret_access_key: impl Into<String>,
        session_token: Option<String>,
    ) -> Self {
        self.credentials_provider(Credentials::new(
            access_key_id,
            secret_access_key,
            session_token,
            None,
            "toolrunner",
        ))
    }

    /// Signs requests with credentials that may change. The provider is asked before each request,
    /// so it should cache them. It replaces any credentials set before.
    #[must_use]
    pub fn credentials_provider(mut self, provider: impl ProvideCredentials + 'static) -> Self {
        self.auth = Some(Auth::SigV4(SharedCredentialsProvider::new(provider)));
        self
    }

    /// Sends an API key of Bedrock as a bearer token, instead of a signature. It replaces any
    /// credentials set before.
    #[must_use]
    pub fn api_key(mut self, key: impl Into<Secret>) -> Self {
        self.auth = Some(Auth::Bearer(key.into()));
        self
    }

    /// Uses the region and the credentials of an AWS configuration, such as
    /// `aws_config::load_from_env().await`. What was set before stays.
    #[cfg(feature = "aws-config")]
    #[must_use]
    pub fn aws_config(mut self, config: &aws_config::SdkConfig) -> Self {
        if self.region.is_none() {
            self.region = config.region().map(|region| region.as_ref().to_owned());
        }
        if self.auth.is_none() {
            self.auth = config.credentials_provider().map(Auth::SigV4);
        }
        self
    }

    /// Sets the server. Default: `https://bedrock-runtime.{region}.amazonaws.com`.
    #[must_use]
    pub fn base_url(mut self, url: impl Into<String>) -> Self {
        self.base_url = Some(url.into());
        self
    }

    /// Sets `anthropic_version` in the body. Default: [`DEFAULT_VERSION`]. The newest official SDKs
    /// send `2026-10-21`.
    #[must_use]
    pub fn anthropic_version(mut self, version: impl Into<String>) -> Self {
        self.version = version.into();
        self
    }

    /// Sets what carries the signed requests: connections that are shared with other clients, or a
    /// script in a test. Proxies and TLS settings belong to it, so set them here and not on the
    /// [`ClientBuilder`]. Default: a transport with [`HttpSettings::default`].
    #[must_use]
    pub fn transport(mut self, transport: HttpTransport) -> Self {
        self.http = Some(transport);
        self
    }

    /// Checks the settings and returns the builder of a client that uses them.
    ///
    /// # Errors
    /// Returns the first setting that is missing or invalid.
    pub fn client(self) -> Result<ClientBuilder, BedrockError> {
        let region = self.region.ok_or(BedrockError::NoRegion)?;
        if region.is_empty() || !region.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            return Err(BedrockError::Region(region));
        }
        let auth = self.auth.ok_or(BedrockError::NoCredentials)?;
        let base_url = self
            .base_url
            .unwrap_or_else(|| format!("https://bedrock-runtime.{region}.amazonaws.com"));
        let transport = self.http.unwrap_or_else(|| HttpTransport::new(HttpSettings::default()));
        Ok(ClientBuilder::new()
            .base_url(base_url)
            .transport(HttpTransport::from_dyn(DecodingTransport::new(transport)))
            .request_hook(BedrockHook { region, version: self.version, auth }))
    }
}

impl fmt::Debug for BedrockBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BedrockBuilder")
            .field("region", &self.region)
            .field("auth", &self.auth)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for BedrockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRegion => f.write_str("no AWS region: set one, or AWS_REGION"),
            Self::NoCredentials => f.write_str(
                "no AWS credentials: set them, or AWS_BEARER_TOKEN_BEDROCK, \
                 or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
            ),
            Self::Region(region) => write!(f, "{region:?} is not an AWS region"),
            Self::Variable(name) => write!(f, "the environment variable {name} is not valid UTF-8"),
        }
    }
}

impl core::error::Error for BedrockError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(variables: &[(&str, &str)]) -> BedrockBuilder {
        let find = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into())
        };
        from_variables(find).unwrap()
    }

    #[test]
    fn the_environment_is_read() {
        let builder = from(&[
            ("AWS_DEFAULT_REGION", "eu-west-1"),
            ("AWS_REGION", " "),
            ("AWS_ACCESS_KEY_ID", "id"),
            ("AWS_SECRET_ACCESS_KEY", "hush"),
            ("AWS_SESSION_TOKEN", "hush-session"),
        ]);
        assert_eq!(builder.region.as_deref(), Some("eu-west-1"));
        let shown = format!("{builder:?}");
        assert!(shown.contains("SigV4") && !shown.contains("hush"), "{shown}");
        let settings = builder.client().unwrap().settings().unwrap();
        assert_eq!(settings.base_url(), "https://bedrock-runtime.eu-west-1.amazonaws.com");
        // A key of Bedrock wins.
        let builder = from(&[("AWS_BEARER_TOKEN_BEDROCK", "hush"), ("AWS_ACCESS_KEY_ID", "id")]);
        assert!(matches!(builder.auth, Some(Auth::Bearer(_))));
        assert!(!format!("{builder:?}").contains("hush"));
    }

    #[test]
    fn what_is_missing_is_told() {
        let error = |builder: BedrockBuilder| builder.client().unwrap_err().to_string();
        assert_eq!(error(Bedrock::builder()), "no AWS region: set one, or AWS_REGION");
        assert!(error(Bedrock::builder().region("us-east-1")).starts_with("no AWS credentials"));
        let builder = Bedrock::builder().region("evil.example/").api_key("k");
        assert_eq!(error(builder), "\"evil.example/\" is not an AWS region");
    }
}
