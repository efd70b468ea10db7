//! Which web pages may use the server.
//!
//! A browser lets a page of any site send requests to a server on the user's machine or network.
//! The browser hides the answers, but a message that arrives begins a turn. A site whose name
//! resolves to 127.0.0.1 (DNS rebinding) can read the answers too. Therefore a request from a page
//! of another origin changes nothing, and a server that only its own machine can reach answers only
//! to names that no site can have.

use core::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use url::Url;

use super::error::ApiError;
use super::text;
use crate::server::Server;

/// Refuses requests that come from a page of another site.
pub(super) async fn check(
    State(server): State<Arc<Server>>,
    request: Request,
    next: Next,
) -> Response {
    let refusal = |detail| ApiError::plain(StatusCode::FORBIDDEN, detail).into_response();
    let options = &server.options;
    let host = text(request.headers(), "host")
        .or_else(|| request.uri().authority().map(|authority| authority.as_str()));
    if let Some(hosts) = &options.hosts
        && !host.is_none_or(|host| is_own(host, hosts))
    {
        return refusal("The server does not answer to this host name (see --allowed-host)");
    }
    let is_safe = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if !is_safe && !is_allowed(request.headers(), host, &options.origins) {
        return refusal("Requests from pages of another origin are not allowed (see --cors)");
    }
    next.run(request).await
}

/// Returns whether a request may change something: it comes from no page, from a page of this
/// server, or from a page of an allowed origin.
fn is_allowed(headers: &HeaderMap, host: Option<&str>, origins: &[String]) -> bool {
    let origin = headers.get(header::ORIGIN);
    // An origin that is not text cannot be an allowed one.
    let origin = match origin.map(|origin| origin.to_str()) {
        Some(Ok(origin)) => Some(origin),
        Some(Err(_)) => return false,
        None => None,
    };
    if origin.is_some_and(|origin| origins.iter().any(|known| known == origin)) {
        return true;
    }
    match (text(headers, "sec-fetch-site"), origin) {
        (Some("same-origin" | "none"), _) => true,
        (Some(_), _) => false,
        (None, None) => true,
        // The scheme may differ, because a proxy may terminate TLS.
        (None, Some(origin)) => origin
            .split_once("://")
            .is_some_and(|(_, page)| host.is_some_and(|host| page.eq_ignore_ascii_case(host))),
    }
}

/// Returns whether no site can have this name: it is an address, `localhost`, a name without a dot,
/// or an allowed name.
fn is_own(host: &str, allowed: &[String]) -> bool {
    // The common case, without the cost of a URL.
    if host.parse::<SocketAddr>().is_ok() || host.parse::<IpAddr>().is_ok() {
        return true;
    }
    let Ok(url) = Url::parse(&format!("http://{host}/")) else { return false };
    let Some(name) = url.host_str() else { return false };
    let name = name.trim_end_matches('.');
    !name.contains('.')
        || name.ends_with(".localhost")
        || name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok()
        || allowed.iter().any(|known| known.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn names_of_sites_are_not_ours() {
        for host in
            ["localhost", "localhost:8000", "127.0.0.1:8000", "[::1]:8000", "box", "a.localhost"]
        {
            assert!(is_own(host, &[]), "{host}");
        }
        for host in ["example.org", "example.org:8000", "127.0.0.1.example.org", "", "a b"] {
            assert!(!is_own(host, &[]), "{host}");
        }
        assert!(is_own("Agents.Example.org:8000", &["agents.example.org".to_owned()]));
    }

    #[test]
    fn pages_of_other_origins_change_nothing() {
        let allowed = ["https://app.example.org".to_owned()];
        let cases: [(Option<&str>, Option<&str>, bool); 9] = [
            (None, None, true),
            (None, Some("http://127.0.0.1:8000"), true),
            (None, Some("https://127.0.0.1:8000"), true),
            (None, Some("http://127.0.0.1:9000"), false),
            (None, Some("http://evil.example"), false),
            (None, Some("null"), false),
            (Some("same-origin"), Some("http://proxied.example"), true),
            (Some("cross-site"), None, false),
            (Some("cross-site"), Some("https://app.example.org"), true),
        ];
        for (site, origin, good) in cases {
            let mut headers = HeaderMap::new();
            if let Some(site) = site {
                headers.insert("sec-fetch-site", HeaderValue::from_static(site));
            }
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
            }
            let found = is_allowed(&headers, Some("127.0.0.1:8000"), &allowed);
            assert_eq!(found, good, "{site:?} {origin:?}");
        }
    }
}
