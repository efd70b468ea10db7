use std::ffi::OsString;

use super::*;

fn from(variables: &[(&str, &str)]) -> Result<Settings, SetupError> {
    let find = |name: &str| {
        variables.iter().find(|(n, _)| *n == name).map(|(_, value)| OsString::from(value))
    };
    ClientBuilder::from_variables(find)?.settings()
}

fn header<'a>(settings: &'a Settings, name: &str) -> Option<&'a str> {
    settings.headers().find(|(n, _)| *n == name).map(|(_, value)| value)
}

const LOCAL: (&str, &str) = ("ANTHROPIC_BASE_URL", "http://127.0.0.1:8080/");

#[test]
fn a_key_goes_to_the_provider() {
    let settings = from(&[("ANTHROPIC_API_KEY", " key\n")]).unwrap();
    assert_eq!(settings.base_url(), "https://api.anthropic.com");
    let headers: Vec<_> = settings.headers().collect();
    assert_eq!(
        headers,
        [
            ("content-type", "application/json"),
            ("anthropic-version", "2023-06-01"),
            ("x-api-key", "key")
        ]
    );
    assert_eq!(settings.max_retries(), 2);
}

#[test]
fn a_token_is_a_bearer() {
    let settings = from(&[("ANTHROPIC_AUTH_TOKEN", "token")]).unwrap();
    assert_eq!(header(&settings, "authorization"), Some("Bearer token"));
    assert_eq!(header(&settings, "x-api-key"), None);
}

#[test]
fn of_key_and_token_the_key_is_used() {
    let settings =
        from(&[("ANTHROPIC_AUTH_TOKEN", "token"), ("ANTHROPIC_API_KEY", "key")]).unwrap();
    assert_eq!(header(&settings, "x-api-key"), Some("key"));
    assert_eq!(header(&settings, "authorization"), None);
}

#[test]
fn another_server_without_a_key_gets_no_credential() {
    let settings = from(&[LOCAL, ("ANTHROPIC_API_KEY", "")]).unwrap();
    assert_eq!(settings.base_url(), "http://127.0.0.1:8080");
    assert_eq!((header(&settings, "x-api-key"), header(&settings, "authorization")), (None, None));
}

#[test]
fn nothing_at_all_names_the_variables() {
    for variables in [&[][..], &[("ANTHROPIC_API_KEY", ""), ("ANTHROPIC_BASE_URL", "  ")]] {
        assert_eq!(
            from(variables).unwrap_err().to_string(),
            "no API key: set ANTHROPIC_API_KEY (or ANTHROPIC_AUTH_TOKEN), or ANTHROPIC_BASE_URL to use a server that needs no key"
        );
    }
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_no_text_is_named() {
    use std::os::unix::ffi::OsStringExt;
    let error =
        ClientBuilder::from_variables(|_| Some(OsString::from_vec(vec![0xff]))).unwrap_err();
    assert_eq!(error.to_string(), "the environment variable ANTHROPIC_BASE_URL is not valid UTF-8");
}

#[test]
fn everything_that_can_be_said_is_sent() {
    let settings = ClientBuilder::new()
        .auth_token("token")
        .api_key("key")
        .base_url("https://gateway.example/anthropic/")
        .api_version("2024-01-01")
        .beta("one")
        .beta("two")
        .header("X-Trace", "abc")
        .header("content-type", "application/json; charset=utf-8")
        .query("beta", "true")
        .query("a b", "ü&=")
        .body_field("service_tier", "\"auto\"")
        .body_field("metadata", "{\"user_id\":\"u\"}")
        .body_field("service_tier", "\"standard_only\"")
        .max_retries(5)
        .settings()
        .unwrap();
    assert_eq!(settings.base_url(), "https://gateway.example/anthropic");
    assert_eq!(settings.path(), "/v1/messages?beta=true&a%20b=%C3%BC%26%3D");
    let headers: Vec<_> = settings.headers().collect();
    assert_eq!(
        headers,
        [
            ("content-type", "application/json; charset=utf-8"),
            ("anthropic-version", "2024-01-01"),
            ("anthropic-beta", "one,two"),
            ("x-api-key", "key"),
            ("x-trace", "abc"),
        ]
    );
    let fields: Vec<_> = settings.body_fields().collect();
    assert_eq!(
        fields,
        [("metadata", "{\"user_id\":\"u\"}"), ("service_tier", "\"standard_only\"")]
    );
    assert_eq!(settings.max_retries(), 5);
}

#[test]
fn a_credential_may_come_as_a_header() {
    let settings = ClientBuilder::new().header("X-Api-Key", "key").settings().unwrap();
    assert_eq!(header(&settings, "x-api-key"), Some("key"));
    assert!(!format!("{settings:?}").contains("\"key\""));
}

#[test]
fn a_base_url_may_have_what_every_path_begins_with() {
    for (given, kept) in [
        ("http://server/v1", "http://server"),
        ("http://server/v1/", "http://server"),
        ("http://server:65535/v1/messages//", "http://server:65535"),
        ("http://server/claude/v1/messages", "http://server/claude"),
        ("http://[::1]:80/v1", "http://[::1]:80"),
        ("HTTP://server/v1", "HTTP://server"),
        // These only resemble such a suffix.
        ("http://v1", "http://v1"),
        ("http://server/v2", "http://server/v2"),
        ("http://server/api-v1", "http://server/api-v1"),
        ("http://server/v1/complete", "http://server/v1/complete"),
    ] {
        let settings = ClientBuilder::new().base_url(given).settings().unwrap();
        assert_eq!(settings.base_url(), kept, "{given}");
        assert_eq!(settings.path(), "/v1/messages");
    }
}

#[test]
fn what_is_wrong_is_told() {
    let local = || ClientBuilder::new().base_url("http://server");
    for (builder, text) in [
        (local().base_url("server"), "the base URL must begin with http:// or https://"),
        (local().base_url("file:///server"), "the base URL is not a URL"),
        (local().base_url("http://u:p@server"), "the base URL must not contain a user or password"),
        (
            local().base_url("http://server/?a=b"),
            "the base URL must not contain a query or a fragment",
        ),
        (
            local().base_url("http://server/#a"),
            "the base URL must not contain a query or a fragment",
        ),
        (local().base_url(""), "the base URL is not a URL"),
        (
            local().base_url("http://server:70000"),
            "the base URL must have a port from 1 to 65535, if any",
        ),
        (
            local().base_url("http://server:65536/v1"),
            "the base URL must have a port from 1 to 65535, if any",
        ),
        (
            local().base_url("http://server:0"),
            "the base URL must have a port from 1 to 65535, if any",
        ),
        (
            local().base_url("http://[::1]:99999"),
            "the base URL must have a port from 1 to 65535, if any",
        ),
        (local().header("a b", "c"), "the header \"a b\" cannot be set"),
        (local().header("Content-Length", "1"), "the header \"Content-Length\" cannot be set"),
        (
            local().header("a", "b\r\nc: d"),
            "the value of the header \"a\" contains a character that is not allowed in a header",
        ),
        (
            local().beta("b\n"),
            "the value of the header \"anthropic-beta\" contains a character that is not allowed in a header",
        ),
        (
            local().api_key("k\ney"),
            "the API key contains a character that is not allowed in a header",
        ),
        (
            local().api_key("clé"),
            "the API key contains a character that is not allowed in a header",
        ),
        (
            local().auth_token("k\ney"),
            "the token contains a character that is not allowed in a header",
        ),
        (
            local().body_field("a", "{"),
            "the body field \"a\" is not valid JSON: at byte 1: expected a member name",
        ),
    ] {
        assert_eq!(builder.settings().unwrap_err().to_string(), text);
    }
}

#[test]
fn nothing_shows_a_secret() {
    let builder = ClientBuilder::new()
        .base_url("http://server")
        .api_key("hush-1")
        .secret_header("x-gateway", "hush-2")
        .header("cookie", "hush-3")
        .query("key", "hush-5")
        .header("authorization", "hush-4");
    let settings = builder.clone().settings().unwrap();
    for text in
        [format!("{builder:#?}"), format!("{settings:#?}"), format!("{:?}", Secret::from("hush"))]
    {
        assert!(!text.contains("hush"), "{text}");
    }
    assert!(format!("{settings:?}").contains("x-gateway: …"));
}

#[test]
fn an_empty_key_is_none() {
    assert_eq!(ClientBuilder::new().api_key("").settings().unwrap_err(), SetupError::NoCredential);
    let settings =
        ClientBuilder::new().base_url("http://server").auth_token("").settings().unwrap();
    assert_eq!(header(&settings, "authorization"), None);
}

#[test]
fn one_run_may_differ() {
    let settings = ClientBuilder::new().api_key("key").beta("one").settings().unwrap();
    let other = settings.to_builder().beta("two").max_retries(0).settings().unwrap();
    assert_eq!(
        (header(&other, "anthropic-beta"), header(&other, "x-api-key")),
        (Some("one,two"), Some("key"))
    );
    assert_eq!((other.max_retries(), settings.max_retries()), (0, 2));
}

#[test]
fn custom_headers_come_from_the_environment() {
    let lines = "X-One: hush: 1\n\n  anthropic-beta : a,b \r\nX-Empty:";
    let find = move |name: &str| match name {
        "ANTHROPIC_API_KEY" => Some(OsString::from("key")),
        "ANTHROPIC_CUSTOM_HEADERS" => Some(OsString::from(lines)),
        _ => None,
    };
    let builder = ClientBuilder::from_variables(find).unwrap().beta("mine");
    let settings = builder.clone().settings().unwrap();
    assert_eq!(header(&settings, "x-one"), Some("hush: 1"));
    assert_eq!(header(&settings, "anthropic-beta"), Some("a,b"));
    assert_eq!(header(&settings, "x-empty"), Some(""));
    assert!(!format!("{settings:?}").contains("hush"));
    // What is set in code replaces them.
    let settings = builder.header("x-ONE", "2").settings().unwrap();
    assert_eq!(header(&settings, "x-one"), Some("2"));
    // A credential among them is enough.
    let settings = from(&[("ANTHROPIC_CUSTOM_HEADERS", "Authorization: Bearer t")]).unwrap();
    assert_eq!(header(&settings, "authorization"), Some("Bearer t"));
}

#[test]
fn a_custom_header_without_a_colon_is_reported_and_not_shown() {
    let error = from(&[("ANTHROPIC_CUSTOM_HEADERS", "a: b\nhush")]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "line 2 of ANTHROPIC_CUSTOM_HEADERS is not of the form Name: value"
    );
}

#[test]
fn a_workload_identity_comes_from_the_environment() {
    let identity = [
        ("ANTHROPIC_FEDERATION_RULE_ID", "rule"),
        ("ANTHROPIC_ORGANIZATION_ID", "org"),
        ("ANTHROPIC_IDENTITY_TOKEN_FILE", "/token"),
    ];
    let settings = from(&identity).unwrap();
    assert_eq!((header(&settings, "authorization"), header(&settings, "x-api-key")), (None, None));
    // A key wins, and two of the three are not enough.
    let with_key = [&identity[..], &[("ANTHROPIC_API_KEY", "key")]].concat();
    assert_eq!(header(&from(&with_key).unwrap(), "x-api-key"), Some("key"));
    assert_eq!(from(&identity[..2]).unwrap_err(), SetupError::NoCredential);
    let profile = [("ANTHROPIC_PROFILE", "work")];
    assert_eq!(from(&profile).unwrap_err(), SetupError::Profile);
    assert!(from(&[profile[0], LOCAL]).is_ok());
}
