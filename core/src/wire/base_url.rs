//! Base URLs: the address of the API.

use crate::error::{Phrase, phrase};

/// The parts of a base URL, `http[s]://host[:port][/path]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BaseUrl<'a> {
    /// Whether the scheme is `https`.
    pub secure: bool,
    /// The host and port as they are written in the URL.
    pub authority: &'a str,
    /// The host without the port. An IPv6 address includes its brackets.
    pub host: &'a str,
    /// The port from 1 to 65535, or `None` if the URL has none.
    pub port: Option<u16>,
    /// The path, which precedes the path of each request. It does not end with a slash.
    pub prefix: &'a str,
}

impl<'a> BaseUrl<'a> {
    /// Parses a base URL.
    ///
    /// ```
    /// use toolrunner_core::__private::BaseUrl;
    /// let url = BaseUrl::parse("https://gateway.example:8443/claude/")?;
    /// assert_eq!((url.host, url.port, url.prefix), ("gateway.example", Some(8443), "/claude"));
    /// let error = BaseUrl::parse("http://gateway:70000").unwrap_err();
    /// assert_eq!(error, "the base URL must have a port from 1 to 65535, if any");
    /// # Ok::<(), toolrunner_core::error::Phrase>(())
    /// ```
    ///
    /// # Errors
    /// Returns a sentence that describes the problem.
    pub fn parse(url: &'a str) -> Result<Self, Phrase> {
        let (scheme, rest) = at_byte(url, b':').unwrap_or((url, ""));
        let secure = scheme.eq_ignore_ascii_case("https");
        let rest =
            rest.strip_prefix("://").filter(|_| secure || scheme.eq_ignore_ascii_case("http"));
        let rest = rest.ok_or(phrase!("the base URL must begin with http:// or https://"))?;
        if !rest.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(phrase!(
                "the base URL must be of printable ASCII characters without spaces"
            ));
        }
        if rest.bytes().any(|byte| matches!(byte, b'?' | b'#')) {
            return Err(phrase!("the base URL must not contain a query or a fragment"));
        }
        let (authority, prefix) = at_byte(rest, b'/').unwrap_or((rest, ""));
        if authority.bytes().any(|byte| byte == b'@') {
            return Err(phrase!("the base URL must not contain a user or password"));
        }
        // Skip the brackets of an IPv6 address, because the address contains colons.
        let bracket = authority.bytes().position(|byte| byte == b']').unwrap_or(0);
        let colon = authority.bytes().skip(bracket).position(|byte| byte == b':');
        let (host, port) = colon
            .and_then(|colon| authority.split_at_checked(bracket + colon))
            .unwrap_or((authority, ""));
        if host.is_empty() {
            return Err(phrase!("the base URL must have a host"));
        }
        Ok(Self {
            secure,
            authority,
            host,
            port: port_of(port)?,
            prefix: prefix.trim_end_matches('/'),
        })
    }
}

/// Parses `:port`. Returns `None` if `text` is empty.
fn port_of(text: &str) -> Result<Option<u16>, Phrase> {
    if text.is_empty() {
        return Ok(None);
    }
    let digits = text.bytes().skip(1);
    let number = digits.clone().try_fold(0_u16, |number, digit| match digit {
        b'0'..=b'9' => number.checked_mul(10)?.checked_add(u16::from(digit - b'0')),
        _ => None,
    });
    number
        .filter(|port| *port > 0)
        .map(Some)
        .ok_or(phrase!("the base URL must have a port from 1 to 65535, if any"))
}

fn at_byte(text: &str, byte: u8) -> Option<(&str, &str)> {
    text.split_at_checked(text.bytes().position(|other| other == byte)?)
}

/// Returns the base URL without the part at its end that `path` begins with. `path` is the path
/// that requests append to the base URL. Many gateways document their address as `…/v1` or
/// `…/v1/messages`, to which `/v1/messages` must not be appended again.
///
/// ```
/// use toolrunner_core::__private::base_of;
/// assert_eq!(base_of("https://gateway/a/v1/", "/v1/messages"), "https://gateway/a");
/// assert_eq!(base_of("https://gateway/v1/messages", "/v1/messages"), "https://gateway");
/// assert_eq!(base_of("https://gateway.example/v1", "/messages"), "https://gateway.example/v1");
/// ```
pub fn base_of<'a>(base_url: &'a str, path: &str) -> &'a str {
    let base = base_url.trim_end_matches('/');
    // Keep a host of that name, such as in `http://v1`.
    let authority = base.bytes().position(|byte| byte == b':').map_or(0, |colon| colon + 3);
    let repeated = ["/v1/messages", "/v1"]
        .iter()
        .find_map(|end| path.starts_with(*end).then(|| base.strip_suffix(*end))?);
    repeated.filter(|base| base.len() > authority).map_or(base, |base| base.trim_end_matches('/'))
}
