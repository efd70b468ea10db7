//! The settings that environment variables contain.

use std::env;
use std::ffi::OsString;

use super::builder::Credential;
use super::{ClientBuilder, Header, Secret, SetupError};
use crate::identity::{IdentityToken, WorkloadIdentity};

impl ClientBuilder {
    /// Creates a builder with the defaults and the values of `ANTHROPIC_API_KEY`,
    /// `ANTHROPIC_AUTH_TOKEN`, `ANTHROPIC_BASE_URL` and `ANTHROPIC_CUSTOM_HEADERS`. An empty
    /// variable counts as unset, and white space around a value is removed. If both key and token
    /// are set, the key is used and a warning is logged.
    ///
    /// `ANTHROPIC_CUSTOM_HEADERS` has one `Name: value` on each line. Its headers replace those
    /// that the client sends by default, and [`header`](Self::header) replaces them. Their values
    /// are never shown.
    ///
    /// Without key and token, `ANTHROPIC_FEDERATION_RULE_ID`, `ANTHROPIC_ORGANIZATION_ID` and
    /// `ANTHROPIC_IDENTITY_TOKEN_FILE` or `ANTHROPIC_IDENTITY_TOKEN` set a
    /// [`workload_identity`](Self::workload_identity), with `ANTHROPIC_SERVICE_ACCOUNT_ID` and
    /// `ANTHROPIC_WORKSPACE_ID` if they are set. [`identity`](crate::identity) says why there are
    /// no profiles.
    ///
    /// # Errors
    /// Returns an error if one of the variables is not valid UTF-8, or if only `ANTHROPIC_PROFILE`
    /// names a credential, or if a line of the custom
    /// headers has no colon. If none is set, [`settings`](Self::settings) reports that later.
    pub fn from_env() -> Result<Self, SetupError> {
        Self::from_variables(|name| env::var_os(name))
    }

    pub(super) fn from_variables(
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, SetupError> {
        let read = |name: &'static str| match variable(name).map(OsString::into_string) {
            None => Ok(None),
            Some(Ok(value)) => Ok(Some(value.trim().to_owned()).filter(|value| !value.is_empty())),
            Some(Err(_)) => Err(SetupError::Variable(name)),
        };
        let mut builder = Self::new();
        builder.base_url = read("ANTHROPIC_BASE_URL")?;
        let (key, token) = (
            read("ANTHROPIC_API_KEY")?.map(Secret::from),
            read("ANTHROPIC_AUTH_TOKEN")?.map(Secret::from),
        );
        if key.is_some() && token.is_some() {
            tracing::warn!(
                "ANTHROPIC_API_KEY and ANTHROPIC_AUTH_TOKEN are both set; the key is used"
            );
        }
        for (number, line) in
            read("ANTHROPIC_CUSTOM_HEADERS")?.iter().flat_map(|text| text.lines().enumerate())
        {
            let line = line.trim();
            if line.is_empty() {
                continue;
            }
            let (name, value) = line.split_once(':').ok_or(SetupError::CustomHeader(number + 1))?;
            builder = builder.secret_header(name.trim_end(), value.trim_start());
        }
        builder.credential = key.map(Credential::ApiKey).or_else(|| token.map(Credential::Token));
        if builder.credential.is_some() {
            return Ok(builder);
        }
        let (rule, organization) =
            (read("ANTHROPIC_FEDERATION_RULE_ID")?, read("ANTHROPIC_ORGANIZATION_ID")?);
        let file = read("ANTHROPIC_IDENTITY_TOKEN_FILE")?;
        let source = match file {
            Some(path) => Some(IdentityToken::File(path.into())),
            None => read("ANTHROPIC_IDENTITY_TOKEN")?
                .map(|_| IdentityToken::Variable("ANTHROPIC_IDENTITY_TOKEN".to_owned())),
        };
        if let (Some(rule), Some(organization), Some(source)) = (rule, organization, source) {
            let mut identity = WorkloadIdentity::new(organization, rule, source);
            if let Some(id) = read("ANTHROPIC_SERVICE_ACCOUNT_ID")? {
                identity = identity.service_account(id);
            }
            if let Some(id) = read("ANTHROPIC_WORKSPACE_ID")? {
                identity = identity.workspace(id);
            }
            builder.credential = Some(Credential::Identity(identity));
        } else if read("ANTHROPIC_PROFILE")?.is_some()
            && builder.base_url.is_none()
            && !builder.headers.iter().any(Header::is_credential)
        {
            return Err(SetupError::Profile);
        }
        Ok(builder)
    }
}
