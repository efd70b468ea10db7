//! Which addresses the browser may reach.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::io;

use url::{Host, Url};

/// The addresses that the browser may reach: none but those that were added.
#[derive(Clone, Debug, Default)]
pub struct Sites {
    /// Hosts, and their port if only one is allowed.
    allowed: Vec<(String, Option<u16>)>,
    allows_private: bool,
}

impl Sites {
    /// Allows a host, such as `docs.rs`, at the ports 80 and 443, or one port of it, such as
    /// `127.0.0.1:8080`. Subdomains are not included.
    #[must_use]
    pub fn allow(mut self, site: &str) -> Self {
        let (host, port) = match site.rsplit_once(':').map(|(host, port)| (host, port.parse())) {
            Some((host, Ok(port))) if !host.ends_with(':') => (host, Some(port)),
            _ => (site, None),
        };
        self.allowed.push((host.to_ascii_lowercase(), port));
        self
    }

    /// Allows hosts with addresses of this machine and of private networks. Otherwise such a host
    /// is refused, even if it is in the list.
    #[must_use]
    pub const fn allow_private(mut self) -> Self {
        self.allows_private = true;
        self
    }

    /// Returns why a URL is refused.
    ///
    /// # Errors
    /// Returns the reason, in words for the model.
    pub fn check(&self, url: &str) -> Result<(), String> {
        let url = Url::parse(url).map_err(|error| format!("the URL is not valid: {error}"))?;
        if !matches!(url.scheme(), "http" | "https" | "ws" | "wss") {
            return Err(format!("{}: is not allowed, only http: and https:", url.scheme()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("a URL with a user or a password is not allowed".to_owned());
        }
        let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
            return Err("the URL has no host".to_owned());
        };
        let fits = |(name, only): &&(String, Option<u16>)| {
            name == host && only.map_or(matches!(port, 80 | 443), |only| only == port)
        };
        if self.allowed.iter().any(|site| fits(&site)) {
            let address = match url.host() {
                Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
                Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
                _ => None,
            };
            if address.is_none_or(|address| self.allows_private || is_public(address)) {
                return Ok(());
            }
            return Err(format!("{host} is a private address"));
        }
        let allowed: Vec<_> = self.allowed.iter().map(shown).collect();
        Err(format!("{host}:{port} is not allowed; allowed: {}", allowed.join(", ")))
    }

    /// Returns Chromium's `--host-resolver-rules`: each allowed name has the address that it has
    /// now, and no other name has any. A name that later gets a private address reaches nothing,
    /// and neither does what the interception of requests does not see, such as a WebSocket.
    ///
    /// # Errors
    /// Returns an error if a host has no address, or only private ones that are not allowed.
    pub async fn resolver_rules(&self) -> io::Result<String> {
        let mut rules = Vec::new();
        for site in &self.allowed {
            let (host, port) = site;
            let name = host.trim_start_matches('[').trim_end_matches(']');
            let addresses = tokio::net::lookup_host((name, port.unwrap_or(443))).await?;
            let address = addresses
                .map(|address| address.ip())
                .find(|address| self.allows_private || is_public(*address))
                .ok_or_else(|| io::Error::other(format!("{host} has a private address")))?;
            let address = match address {
                IpAddr::V4(address) => address.to_string(),
                IpAddr::V6(address) => format!("[{address}]"),
            };
            for port in port.map_or(vec![80, 443], |port| vec![port]) {
                rules.push(format!("MAP {host}:{port} {address}:{port}"));
            }
        }
        rules.push("MAP * ~NOTFOUND".to_owned());
        Ok(rules.join(","))
    }
}

fn shown((host, port): &(String, Option<u16>)) -> String {
    port.map_or_else(|| host.clone(), |port| format!("{host}:{port}"))
}

/// Returns whether an address belongs to the public internet.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

/// See <https://www.iana.org/assignments/iana-ipv4-special-registry>.
fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !(address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        || address.is_multicast()
        || a == 0
        || a >= 240
        // Shared by the customers of a provider, protocol assignments, benchmarks.
        || (a == 100 && (64..128).contains(&b))
        || (a, b, c) == (192, 0, 0)
        || (a == 198 && matches!(b, 18 | 19)))
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    // Only these are global, and some of them contain addresses of version 4.
    let [first, second, ..] = address.segments();
    matches!(first, 0x2000..=0x3fff)
        && first != 0x2002
        && (first, second) != (0x2001, 0)
        && (first, second) != (0x2001, 0xdb8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_allowed_hosts_and_ports_are_reached() {
        let sites = Sites::default().allow("docs.rs").allow("127.0.0.1:8080").allow("[::1]:90");
        for url in ["https://docs.rs/a", "http://docs.rs", "https://DOCS.rs:443/", "wss://docs.rs"]
        {
            assert_eq!(sites.check(url), Ok(()), "{url}");
        }
        for url in [
            "https://docs.rs:8443/",
            "https://a.docs.rs/",
            "https://docs.rs.example/",
            "https://docs.rs@example.org/",
            "https://user@docs.rs/",
            "file:///etc/passwd",
            "data:text/html,a",
            "javascript:alert(1)",
            "chrome://settings",
            "about:blank",
            "docs.rs",
            "http://127.0.0.1:8081/",
            // Allowed by name, but private.
            "http://127.0.0.1:8080/",
            "http://[::1]:90/",
            // The same address in another notation.
            "http://2130706433:8080/",
        ] {
            assert!(sites.check(url).is_err(), "{url}");
        }
        let sites = sites.allow_private();
        for url in ["http://127.0.0.1:8080/", "http://2130706433:8080/", "http://[::1]:90/"] {
            assert_eq!(sites.check(url), Ok(()), "{url}");
        }
    }

    #[test]
    fn addresses_of_private_networks_are_not_public() {
        let is = |text: &str| text.parse().map(is_public);
        for public in ["8.8.8.8", "172.32.0.1", "100.63.0.1", "2606:4700::1111"] {
            assert_eq!(is(public), Ok(true), "{public}");
        }
        for private in [
            "0.0.0.0",
            "10.0.0.1",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "192.168.0.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "64:ff9b::7f00:1",
            "fc00::1",
            "fe80::1",
            "ff02::1",
            "2002:7f00:1::",
            "2001:db8::1",
        ] {
            assert_eq!(is(private), Ok(false), "{private}");
        }
    }

    #[tokio::test]
    async fn names_are_pinned_and_no_other_name_has_an_address() {
        let sites = Sites::default().allow("127.0.0.1:8080");
        let error = sites.resolver_rules().await.map_err(|error| error.to_string());
        assert_eq!(error, Err("127.0.0.1 has a private address".to_owned()));
        let rules = sites.allow_private().allow("[::1]").resolver_rules().await;
        let expected = "MAP 127.0.0.1:8080 127.0.0.1:8080,MAP [::1]:80 [::1]:80,MAP [::1]:443 [::1]:443,MAP * ~NOTFOUND";
        assert_eq!(rules.ok().as_deref(), Some(expected));
    }
}
