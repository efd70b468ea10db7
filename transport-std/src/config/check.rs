//! Checks of single settings.

use http::{HeaderValue, Uri};
use toolrunner_core::__private::BaseUrl;
use toolrunner_core::__private::base_of;
use toolrunner_core::json::Value;

use super::SetupError;
use super::builder::PATH;

pub(super) fn is_header_value(text: &str) -> bool {
    HeaderValue::from_str(text).is_ok()
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
