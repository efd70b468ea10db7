//! TLS set-up: the platform's roots, read once per process and not before the first `https` request.

use core::error::Error;
use core::fmt;
use std::sync::{Arc, OnceLock};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use toolrunner_core::error::TransportKind;

use super::HttpError;

/// A root certificate to trust beside the platform's.
#[derive(Clone, PartialEq, Eq)]
pub struct RootCertificate(CertificateDer<'static>);

/// What was given as a certificate is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadCertificate(String);

impl RootCertificate {
    /// One certificate as DER.
    ///
    /// # Errors
    /// If it is no X.509 certificate.
    pub fn from_der(der: &[u8]) -> Result<Self, BadCertificate> {
        let der = CertificateDer::from(der.to_vec());
        RootCertStore::empty().add(der.clone()).map_err(|e| BadCertificate(e.to_string()))?;
        Ok(Self(der))
    }

    /// All certificates of a PEM text; what else is in it is passed over.
    ///
    /// # Errors
    /// If one is no X.509 certificate, or there is none.
    pub fn from_pem(pem: &[u8]) -> Result<Vec<Self>, BadCertificate> {
        let mut found = Vec::new();
        for der in CertificateDer::pem_slice_iter(pem) {
            found.push(Self::from_der(&der.map_err(|e| BadCertificate(e.to_string()))?)?);
        }
        if found.is_empty() { Err(BadCertificate("the PEM text holds none".to_owned())) } else { Ok(found) }
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

impl Error for BadCertificate {}

/// What to open a session with. Without extra roots it is shared by the whole process, session tickets included.
pub(super) fn client_config(extra: &[RootCertificate]) -> Result<Arc<ClientConfig>, HttpError> {
    static PLATFORM: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    if !extra.is_empty() {
        return build(extra);
    }
    if let Some(config) = PLATFORM.get() {
        return Ok(Arc::clone(config));
    }
    let config = build(&[])?;
    Ok(Arc::clone(PLATFORM.get_or_init(|| config)))
}

fn build(extra: &[RootCertificate]) -> Result<Arc<ClientConfig>, HttpError> {
    let mut roots = RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(native.certs);
    roots.add_parsable_certificates(extra.iter().map(|root| root.0.clone()));
    if roots.is_empty() {
        let text = "this machine has no root certificates to check a server by: install them (package ca-certificates), \
                    set SSL_CERT_FILE, or add one to the client";
        let error = HttpError::new(TransportKind::Tls, text);
        return Err(match native.errors.into_iter().next() {
            Some(cause) => error.with_source(cause),
            None => error,
        });
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| HttpError::new(TransportKind::Tls, "TLS could not be set up").with_source(e))?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
