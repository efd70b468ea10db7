//! Signature Version 4.

use core::error::Error;
use core::fmt;
use std::time::SystemTime;

use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;
use aws_smithy_runtime_api::client::identity::Identity;
use sha2::{Digest, Sha256};
use toolrunner_std::Secret;
use toolrunner_std::http::OutgoingRequest;

/// How requests are authenticated.
#[derive(Clone)]
pub(crate) enum Auth {
    Bearer(Secret),
    SigV4(SharedCredentialsProvider),
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bearer(_) => "Bearer(…)",
            Self::SigV4(_) => "SigV4(…)",
        })
    }
}

impl Auth {
    /// Adds the headers that authenticate the request.
    pub(crate) async fn apply(
        &self,
        request: &mut OutgoingRequest<'_>,
        region: &str,
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        request.remove_header("x-api-key");
        match self {
            Self::Bearer(key) => {
                request.set_header("authorization", &format!("Bearer {}", key.reveal()))?;
            }
            Self::SigV4(provider) => {
                let identity = provider.provide_credentials().await?.into();
                sign_at(request, &identity, region, "bedrock", SystemTime::now())?;
            }
        }
        Ok(())
    }
}

/// Signs the method, the URL, the body, `host`, `content-type` and the headers `x-amz-*`. Proxies
/// may change other headers.
fn sign_at(
    request: &mut OutgoingRequest<'_>,
    identity: &Identity,
    region: &str,
    service: &str,
    now: SystemTime,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    // Those of an earlier signature.
    for name in ["authorization", "x-amz-date", "x-amz-security-token"] {
        request.remove_header(name);
    }
    let params = SigningParams::builder()
        .identity(identity)
        .region(region)
        .name(service)
        .time(now)
        .settings(SigningSettings::default())
        .build()?
        .into();
    let mut hash = Sha256::new();
    request.body_pieces().for_each(|piece| hash.update(piece));
    let digest: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    let host = request.host();
    let headers = {
        let is_signed = |name: &str| name == "content-type" || name.starts_with("x-amz-");
        let headers = request.headers().filter(|(name, _)| is_signed(name));
        let headers = headers.chain([("host", host.as_str())]);
        let (method, url) = (request.method().as_str(), request.url());
        let signable =
            SignableRequest::new(method, url, headers, SignableBody::Precomputed(digest))?;
        sign(signable, &params)?.into_parts().0.into_parts().0
    };
    for header in headers {
        request.set_header(header.name(), header.value())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use aws_credential_types::Credentials;
    use toolrunner_core::transport::{Body, Head};

    use super::*;

    const TOKEN: &str = "6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267";

    /// Signs a request with the key, the time, the region and the service of AWS's published
    /// suite, and returns `authorization`.
    fn signed(method: http::Method, path: &str, token: Option<&str>) -> String {
        let head = Head { base_url: "https://example.amazonaws.com", path, headers: &[] };
        let body = Body::new(&[], b"", b"");
        let mut request = OutgoingRequest::new(&method, &head, &body);
        let secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
        let token = token.map(str::to_owned);
        let identity = Credentials::new("AKIDEXAMPLE", secret, token, None, "test").into();
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_440_938_160);
        sign_at(&mut request, &identity, "us-east-1", "service", now).unwrap();
        assert_eq!(request.header("x-amz-date"), Some("20150830T123600Z"));
        assert!(!format!("{request:?}").contains("Signature"));
        request.header("authorization").unwrap().to_owned()
    }

    /// The cases `get-vanilla`, `post-vanilla`, `get-vanilla-query-order-key-case` and
    /// `get-vanilla-with-session-token` of the suite `v4`.
    #[test]
    fn the_published_signatures_are_made() {
        let names = "host;x-amz-date";
        let scope = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders";
        for (method, path, signature) in [
            ("GET", "/", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
            ("POST", "/", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
            (
                "GET",
                "/?Param2=value2&Param1=value1",
                "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
            ),
        ] {
            let method = method.parse().unwrap();
            assert_eq!(
                signed(method, path, None),
                format!("{scope}={names}, Signature={signature}"),
                "{path}"
            );
        }
        assert_eq!(
            signed(http::Method::GET, "/", Some(TOKEN)),
            format!(
                "{scope}={names};x-amz-security-token, Signature=07ec1639c89043aa0e3e2de82b96708f198cceab042d4a97044c66dd9f74e7f8"
            )
        );
    }
}
