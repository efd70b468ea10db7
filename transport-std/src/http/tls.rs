//! TLS set-up. The platform's root certificates are read once per process, at the first `https`
//! request.

use core::error::Error;
use core::fmt;
use std::sync::{Arc, OnceLock};

use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use toolrunner_core::error::TransportKind;

use super::http2::OFFERED;
use super::{HttpError, HttpSettings};

/// A root certificate to trust in addition to the platform's.
#[derive(Clone, PartialEq, Eq)]
pub struct RootCertificate(CertificateDer<'static>);

/// The error for data that is not a certificate.
#[derive(Clone, PartialEq, Eq)]
pub struct BadCertificate(String);

impl RootCertificate {
    /// Reads one certificate in DER format.
    ///
    /// # Errors
    /// Returns an error if it is not an X.509 certificate.
    pub fn from_der(der: &[u8]) -> Result<Self, BadCertificate> {
        let der = CertificateDer::from(der.to_vec());
        RootCertStore::empty().add(der.clone()).map_err(|e| BadCertificate(e.to_string()))?;
        Ok(Self(der))
    }

    /// Reads all certificates of a PEM text and ignores everything else in it.
    ///
    /// # Errors
    /// Returns an error if one of them is not an X.509 certificate, or if there are none.
    pub fn from_pem(pem: &[u8]) -> Result<Vec<Self>, BadCertificate> {
        let mut found = Vec::new();
        for der in CertificateDer::pem_slice_iter(pem) {
            found.push(Self::from_der(&der.map_err(|e| BadCertificate(e.to_string()))?)?);
        }
        if found.is_empty() {
            Err(BadCertificate("the PEM text contains no certificate".to_owned()))
        } else {
            Ok(found)
        }
    }
}

impl fmt::Debug for RootCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RootCertificate({} bytes)", self.0.len())
    }
}

impl fmt::Display for BadCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a certificate: {}", self.0)
    }
}

/// Writes the message, because `main` prints an error that it returns with `Debug`.
impl fmt::Debug for BadCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Error for BadCertificate {}

/// Returns the TLS configuration. Transports without TLS settings of their own share one
/// configuration per process, including its session tickets.
pub(super) fn client_config(settings: &HttpSettings) -> Result<Arc<ClientConfig>, HttpError> {
    static PLATFORM: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    if let Some(config) = &settings.tls {
        return Ok(with_protocols(config));
    }
    if !settings.root_certificates.is_empty() {
        return build(&settings.root_certificates);
    }
    if let Some(config) = PLATFORM.get() {
        return Ok(Arc::clone(config));
    }
    let config = build(&[])?;
    Ok(Arc::clone(PLATFORM.get_or_init(|| config)))
}

/// Returns the caller's configuration, limited to ALPN protocols that this transport supports.
fn with_protocols(config: &Arc<ClientConfig>) -> Arc<ClientConfig> {
    let is_offered = |protocol: &Vec<u8>| OFFERED.contains(&protocol.as_slice());
    if !config.alpn_protocols.is_empty() && config.alpn_protocols.iter().all(is_offered) {
        return Arc::clone(config);
    }
    let mut own = ClientConfig::clone(config);
    own.alpn_protocols.retain(is_offered);
    if own.alpn_protocols.is_empty() {
        own.alpn_protocols = offered();
    }
    Arc::new(own)
}

fn offered() -> Vec<Vec<u8>> {
    OFFERED.iter().map(|protocol| protocol.to_vec()).collect()
}

fn build(extra: &[RootCertificate]) -> Result<Arc<ClientConfig>, HttpError> {
    let failed = |text: &str| HttpError::new(TransportKind::Tls, text);
    let mut roots = RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(native.certs);
    #[cfg(feature = "webpki-roots")]
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    roots.add_parsable_certificates(extra.iter().map(|root| root.0.clone()));
    if roots.is_empty() {
        let error = failed(
            "this machine has no root certificates to verify servers with: install them (package ca-certificates), \
             set SSL_CERT_FILE, add one to the client, or enable the feature `webpki-roots` of toolrunner-std",
        );
        return Err(match native.errors.into_iter().next() {
            Some(cause) => error.with_source(cause),
            None => error,
        });
    }
    let builder = ClientConfig::builder_with_provider(provider()?)
        .with_safe_default_protocol_versions()
        .map_err(|e| failed("TLS could not be set up").with_source(e))?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = offered();
    Ok(Arc::new(config))
}

/// Returns the cryptography provider: the program's default if one is installed, else the one that
/// this crate was built with. Installs nothing.
fn provider() -> Result<Arc<CryptoProvider>, HttpError> {
    if let Some(installed) = CryptoProvider::get_default() {
        return Ok(Arc::clone(installed));
    }
    #[cfg(feature = "aws-lc-rs")]
    return Ok(Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    #[cfg(all(feature = "ring", not(feature = "aws-lc-rs")))]
    return Ok(Arc::new(rustls::crypto::ring::default_provider()));
    #[cfg(not(any(feature = "ring", feature = "aws-lc-rs")))]
    Err(HttpError::new(
        TransportKind::Setup,
        "no cryptography provider for TLS: enable the feature `ring` or `aws-lc-rs` of toolrunner-std, \
         or install a default CryptoProvider of rustls",
    ))
}
