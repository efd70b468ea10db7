//! Shared code of the programs that build and run firmware images.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Returns a command for Debian's cargo and compiler in the firmware's folder. It removes the
/// variables that rustup set for this process, because they do not apply to Debian's toolchain.
pub fn cargo(firmware: &Path) -> Command {
    let mut cargo = Command::new("/usr/bin/cargo");
    cargo.current_dir(firmware).env("RUSTC_BOOTSTRAP", "1").env("RUSTC", "/usr/bin/rustc");
    for name in ["RUSTUP_TOOLCHAIN", "CARGO", "CARGO_TARGET_DIR", "RUSTFLAGS"] {
        cargo.env_remove(name);
    }
    cargo
}

/// Returns the TLS configuration of the test server. `most` is the maximum size of its records in
/// bytes; by default that of TLS.
///
/// # Panics
/// Panics if the certificates or the key are missing: `examples/firmware/certificates/make.sh`
/// creates them.
pub fn tls_identity(firmware: &Path, most: Option<usize>) -> Arc<rustls::ServerConfig> {
    let folder = firmware.join("certificates");
    let chain = CertificateDer::pem_file_iter(folder.join("server.pem"))
        .expect("server.pem")
        .flatten()
        .collect();
    let key = PrivateKeyDer::from_pem_file(folder.join("server.key")).expect("server.key");
    let builder = rustls::ServerConfig::builder_with_provider(Arc::new(
        rustls::crypto::ring::default_provider(),
    ));
    let builder = builder.with_protocol_versions(&[&rustls::version::TLS13]).expect("TLS 1.3");
    let mut config =
        builder.with_no_client_auth().with_single_cert(chain, key).expect("an identity");
    config.max_fragment_size = most;
    // For servers that violate the protocol.
    config.enable_secret_extraction = true;
    Arc::new(config)
}
