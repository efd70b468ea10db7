//! Checks of single settings.

use http::{HeaderName, HeaderValue, Uri};
use toolrunner_core::__private::BaseUrl;
use toolrunner_core::__private::base_of;
use toolrunner_core::__private::client::is_settable;
use toolrunner_core::json::Value;

use super::SetupError;
use super::builder::PATH;

/// Returns the name in lower case, if a caller may set this header.
pub(super) fn checked_header_name(name: &str) -> Result<String, SetupError> {
    match HeaderName::from_bytes(name.as_bytes()) {
        Ok(valid) if is_settable(valid.as_str()) => Ok(valid.as_str().to_owned()),
        _ => Err(SetupError::HeaderName(name.to_owned())),
    }
}

pub(super) fn is_header_value(text: &str) -> bool {
    HeaderValue::from_str(text).is_ok()
}

/// Returns the name in lower case, if a caller may set this header to this value.
pub(crate) fn checked_header(name: &str, value: &str) -> Result<String, SetupError> {
    let known = checked_header_name(name)?;
    if is_header_value(value) { Ok(known) } else { Err(SetupError::HeaderValue(name.to_owned())) }
}

/// The header with the names of betas.
pub(crate) const BETA: &str = "anthropic-beta";

/// Adds a beta to the value of [`BETA`], unless it is there.
pub(crate) fn add_beta(betas: &mut String, beta: &str) {
    if !betas.split(',').any(|known| known.trim() == beta) {
        if !betas.is_empty() {
            betas.push(',');
        }
        betas.push_str(beta);
    }
}

/// Returns whether an identity token may be sent to this server: over TLS, or on this machine.
pub(super) fn may_carry_identity(base_url: &str) -> bool {
    BaseUrl::parse(base_url).is_ok_and(|base| {
        base.secure || matches!(base.host, "localhost" | "127.0.0.1" | "[::1]" | "::1")
    })
}

pub(super) fn checked_base_url(url: &str) -> Result<String, SetupError> {
    url.parse::<Uri>().map_err(|_| SetupError::BaseUrl("the base URL is not a URL"))?;
    BaseUrl::parse(url).map_err(|why| SetupError::BaseUrl(why.as_str()))?;
    Ok(base_of(url, PATH).to_owned())
}

pub(super) fn checked_body_fields(
    fields: &[(String, String)],
) -> Result<Vec<(String, String)>, SetupError> {
    let mut checked: Vec<(String, String)> = Vec::with_capacity(fields.len());
    for (name, json) in fields {
        if let Err(e) = Value::parse(json.as_bytes()) {
            return Err(SetupError::BodyField(name.clone(), e.to_string()));
        }
        checked.retain(|(earlier, _)| earlier != name);
        checked.push((name.clone(), json.clone()));
    }
    Ok(checked)
}
