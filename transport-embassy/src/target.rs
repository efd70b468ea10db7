//! The destination of a request, parsed from a base URL.

use core::net::Ipv4Addr;
use toolrunner_core::error::Phrase;

use toolrunner_core::__private::BaseUrl;

use crate::Error;

/// The parts of a base URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target<'a> {
    /// Whether the scheme is `https`.
    pub secure: bool,
    /// The host and port as written; the value of the `host` header field.
    pub authority: &'a str,
    /// The host name or IPv4 address, without the port.
    pub host: &'a str,
    /// The port; by default that of the scheme.
    pub port: u16,
    /// The prefix of every request's path, without a slash at its end.
    pub prefix: &'a str,
}

const HOST: Error = Error::BaseUrl(Phrase::of(
    "the base URL's host contains a character that is not allowed in a host name; IPv6 addresses are not supported",
));

impl<'a> Target<'a> {
    /// Parses `http[s]://host[:port][/path]`.
    ///
    /// # Errors
    /// Returns [`Error::BaseUrl`] with the reason if the URL cannot be used. User names and IPv6
    /// addresses are not supported.
    pub fn parse(base_url: &'a str) -> Result<Self, Error> {
        let BaseUrl { secure, authority, host, port, prefix } =
            BaseUrl::parse(base_url).map_err(Error::BaseUrl)?;
        let may_be_host = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
        if !host.bytes().all(may_be_host) {
            return Err(HOST);
        }
        Ok(Self {
            secure,
            authority,
            host,
            port: port.unwrap_or(if secure { 443 } else { 80 }),
            prefix,
        })
    }

    /// Returns the address if the host is an IPv4 address.
    pub fn address(&self) -> Option<Ipv4Addr> {
        self.host.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_urls() {
        let parsed = Target::parse("https://api.anthropic.com").expect("a URL");
        assert_eq!((parsed.secure, parsed.authority, parsed.host, parsed.port, parsed.prefix), {
            (true, "api.anthropic.com", "api.anthropic.com", 443, "")
        });
        let parsed = Target::parse("http://10.0.2.2:8080/gateway/").expect("a URL");
        assert_eq!((parsed.secure, parsed.authority, parsed.host, parsed.port, parsed.prefix), {
            (false, "10.0.2.2:8080", "10.0.2.2", 8080, "/gateway")
        });
        assert_eq!(parsed.address(), Some(Ipv4Addr::new(10, 0, 2, 2)));
        let wrong = [
            "",
            "api.anthropic.com",
            "ftp://a",
            "http://",
            "http://:80",
            "http://a:b",
            "http://a:70000",
            "http://a:0",
            "http://a?b",
            "http://u@a",
            "http://a b",
            "http://a/b c",
        ];
        for wrong in wrong {
            let Err(Error::BaseUrl(why)) = Target::parse(wrong) else { panic!("{wrong}") };
            assert!(why.as_str().starts_with("the base URL must"), "{wrong}: {why}");
        }
        for wrong in ["http://[::1]", "http://a_b,c"] {
            assert_eq!(Target::parse(wrong), Err(HOST), "{wrong}");
        }
    }
}
