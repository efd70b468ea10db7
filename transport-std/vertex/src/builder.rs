//! The configuration: project, region, credentials, address.

use core::fmt;
use std::env;
use std::ffi::OsString;
use std::sync::Arc;

use gcp_auth::TokenProvider;
use toolrunner_std::{ClientBuilder, Secret};

use crate::hook::{Auth, VertexHook};

/// The `anthropic_version` of a request's body if none is set.
pub const DEFAULT_VERSION: &str = "vertex-2023-10-16";

/// The entry to this package: [`from_env`](Self::from_env) or [`builder`](Self::builder).
#[derive(Clone, Copy, Debug)]
pub struct Vertex;

/// Configures a client of Vertex AI.
#[derive(Clone)]
pub struct VertexBuilder {
    project: Option<String>,
    region: Option<String>,
    auth: Option<Auth>,
    base_url: Option<String>,
    version: String,
}

/// Why a client of Vertex AI could not be made.
#[derive(Debug)]
#[non_exhaustive]
pub enum VertexError {
    /// There is no project: set one in code, or `ANTHROPIC_VERTEX_PROJECT_ID`.
    NoProject,
    /// There is no region: set one in code, or `CLOUD_ML_REGION`.
    NoRegion,
    /// There are no credentials.
    NoCredentials,
    /// The region contains a character that is not allowed in a region.
    Region(String),
    /// The environment variable of this name is not valid UTF-8.
    Variable(&'static str),
    /// Google's credentials could not be found or used.
    Google(gcp_auth::Error),
}

impl Vertex {
    /// Returns a builder with which the program sets everything itself.
    pub fn builder() -> VertexBuilder {
        VertexBuilder {
            project: None,
            region: None,
            auth: None,
            base_url: None,
            version: DEFAULT_VERSION.to_owned(),
        }
    }

    /// Returns a builder with the values of `CLOUD_ML_REGION`, `ANTHROPIC_VERTEX_PROJECT_ID` and
    /// `ANTHROPIC_VERTEX_BASE_URL`. An empty variable counts as unset. Credentials are separate:
    /// see [`VertexBuilder::default_credentials`].
    ///
    /// # Errors
    /// Returns an error if one of the variables is not valid UTF-8.
    pub fn from_env() -> Result<VertexBuilder, VertexError> {
        from_variables(|name| env::var_os(name))
    }
}

fn from_variables(
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<VertexBuilder, VertexError> {
    let read = |name: &'static str| match variable(name).map(OsString::into_string) {
        None => Ok(None),
        Some(Ok(value)) => Ok(Some(value.trim().to_owned()).filter(|value| !value.is_empty())),
        Some(Err(_)) => Err(VertexError::Variable(name)),
    };
    Ok(VertexBuilder {
        project: read("ANTHROPIC_VERTEX_PROJECT_ID")?,
        region: read("CLOUD_ML_REGION")?,
        base_url: read("ANTHROPIC_VERTEX_BASE_URL")?,
        ..Vertex::builder()
    })
}

impl VertexBuilder {
    /// Sets the Google Cloud project.
    #[must_use]
    pub fn project(mut self, project: impl Into<String>) -> Self {
        self.project = Some(project.into());
        self
    }

    /// Sets the region: `global`, a multi-region (`us`, `eu`), or one such as `us-east5`.
    #[must_use]
    pub fn region(mut self, region: impl Into<String>) -> Self {
        self.region = Some(region.into());
        self
    }

    /// Sends this access token with each request. It replaces any credentials set before. A token
    /// is usually valid for an hour: prefer a [`token_provider`](Self::token_provider).
    #[must_use]
    pub fn access_token(mut self, token: impl Into<Secret>) -> Self {
        self.auth = Some(Auth::Token(token.into()));
        self
    }

    /// Asks this provider for an access token before each request. The providers of [`gcp_auth`]
    /// cache theirs. It replaces any credentials set before.
    #[must_use]
    pub fn token_provider(mut self, provider: Arc<dyn TokenProvider>) -> Self {
        self.auth = Some(Auth::Provider(provider));
        self
    }

    /// Finds credentials as Google's tools do (`GOOGLE_APPLICATION_CREDENTIALS`, the application
    /// default credentials, the metadata server, the `gcloud` program), and their project unless
    /// one is set: see [`gcp_auth::provider`].
    ///
    /// # Errors
    /// Returns [`VertexError::Google`] if there are none.
    pub async fn default_credentials(self) -> Result<Self, VertexError> {
        let provider = gcp_auth::provider().await.map_err(VertexError::Google)?;
        let mut builder = self.token_provider(Arc::clone(&provider));
        if builder.project.is_none() {
            let project = provider.project_id().await.map_err(VertexError::Google)?;
            builder.project = Some((*project).to_owned());
        }
        Ok(builder)
    }

    /// Sets the server. A trailing `/v1` is removed, because it is part of each path. Default: the
    /// region's, such as `https://us-east5-aiplatform.googleapis.com`.
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

    /// Checks the settings and returns the builder of a client that uses them.
    ///
    /// # Errors
    /// Returns the first setting that is missing or invalid.
    pub fn client(self) -> Result<ClientBuilder, VertexError> {
        let project =
            self.project.filter(|project| !project.is_empty()).ok_or(VertexError::NoProject)?;
        let region = self.region.ok_or(VertexError::NoRegion)?;
        if region.is_empty() || !region.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            return Err(VertexError::Region(region));
        }
        let auth = self.auth.ok_or(VertexError::NoCredentials)?;
        let base_url = self.base_url.unwrap_or_else(|| match region.as_str() {
            "global" => "https://aiplatform.googleapis.com".to_owned(),
            "us" | "eu" => format!("https://aiplatform.{region}.rep.googleapis.com"),
            _ => format!("https://{region}-aiplatform.googleapis.com"),
        });
        Ok(ClientBuilder::new().base_url(base_url).request_hook(VertexHook {
            project,
            region,
            version: self.version,
            auth,
        }))
    }
}

impl fmt::Debug for VertexBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VertexBuilder")
            .field("project", &self.project)
            .field("region", &self.region)
            .field("auth", &self.auth)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for VertexError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoProject => {
                f.write_str("no Google Cloud project: set one, or ANTHROPIC_VERTEX_PROJECT_ID")
            }
            Self::NoRegion => f.write_str("no region: set one, or CLOUD_ML_REGION"),
            Self::NoCredentials => f.write_str(
                "no Google credentials: use default_credentials, token_provider or access_token",
            ),
            Self::Region(region) => write!(f, "{region:?} is not a region"),
            Self::Variable(name) => write!(f, "the environment variable {name} is not valid UTF-8"),
            Self::Google(error) => write!(f, "Google's credentials: {error}"),
        }
    }
}

impl core::error::Error for VertexError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Google(error) => Some(error),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(builder: VertexBuilder) -> String {
        let client = builder.project("p").access_token("hush").client().unwrap();
        client.settings().unwrap().base_url().to_owned()
    }

    #[test]
    fn each_region_has_its_server() {
        for (region, server) in [
            ("global", "https://aiplatform.googleapis.com"),
            ("us", "https://aiplatform.us.rep.googleapis.com"),
            ("europe-west1", "https://europe-west1-aiplatform.googleapis.com"),
        ] {
            assert_eq!(url(Vertex::builder().region(region)), server);
        }
        let own = Vertex::builder().region("us").base_url("http://127.0.0.1:1/v1");
        assert_eq!(url(own), "http://127.0.0.1:1");
    }

    #[test]
    fn what_is_missing_is_told_and_no_secret_is_shown() {
        let find = |name: &str| (name == "CLOUD_ML_REGION").then(|| OsString::from("us"));
        let builder = from_variables(find).unwrap();
        assert_eq!(builder.region.as_deref(), Some("us"));
        let error = |builder: VertexBuilder| builder.client().unwrap_err().to_string();
        assert!(error(builder.clone()).starts_with("no Google Cloud project"));
        assert!(error(builder.clone().project("p")).starts_with("no Google credentials"));
        let evil = builder.clone().project("p").region("evil.example/");
        assert_eq!(error(evil), "\"evil.example/\" is not a region");
        assert!(error(Vertex::builder().project("p")).starts_with("no region"));
        let shown = format!("{:?}", builder.access_token("hush"));
        assert!(shown.contains("Token") && !shown.contains("hush"), "{shown}");
    }
}
