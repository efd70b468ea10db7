//! The types of Bedrock's errors, as the Messages API names them.

/// Returns the API's `type` for the name of an exception, in any case and with or without what
/// follows a colon (`ThrottlingException:http://…`). A name that is not known is returned as it is.
pub(crate) fn kind_of(exception: &str) -> &str {
    let name = exception.split(':').next().unwrap_or_default();
    let name = name.rsplit('#').next().unwrap_or_default();
    const KINDS: [(&str, &str); 11] = [
        ("accessdeniedexception", "permission_error"),
        ("conflictexception", "invalid_request_error"),
        ("internalserverexception", "api_error"),
        ("modelerrorexception", "api_error"),
        ("modelnotreadyexception", "overloaded_error"),
        ("modelstreamerrorexception", "api_error"),
        ("modeltimeoutexception", "timeout_error"),
        ("resourcenotfoundexception", "not_found_error"),
        ("serviceunavailableexception", "overloaded_error"),
        ("throttlingexception", "rate_limit_error"),
        ("validationexception", "invalid_request_error"),
    ];
    let known = KINDS.iter().find(|(known, _)| name.eq_ignore_ascii_case(known));
    known.map_or(name, |(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_any_form() {
        for (name, kind) in [
            ("throttlingException", "rate_limit_error"),
            ("ThrottlingException:http://internal.amazon.com/coral/", "rate_limit_error"),
            ("com.amazon#ValidationException", "invalid_request_error"),
            ("NewException", "NewException"),
            ("", ""),
        ] {
            assert_eq!(kind_of(name), kind);
        }
    }
}
