//! How a server proves who it is.

use std::path::Path;
use std::sync::Arc;

use drs_backend::BackendError;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres_rustls::MakeRustlsConnect;

/// What verifies a server: the authorities of a file, or those of the machine.
pub(crate) fn verifier(
    ca_file: Option<&Path>,
    what: &str,
) -> Result<MakeRustlsConnect, BackendError> {
    let roots = match ca_file {
        Some(path) => of_file(path).map_err(|reason| BackendError::Refused {
            what: what.to_owned(),
            reason: format!("{}: {reason}", path.display()),
            remedy: "Name a PEM file with the certificate of the server's authority.".into(),
        })?,
        None => of_machine(),
    };
    // Not the provider of the process: this crate does not depend on who sets that, or when.
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| BackendError::Unavailable {
            what: what.to_owned(),
            reason: error.to_string(),
        })?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

fn of_file(path: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| error.to_string())? {
        let certificate = certificate.map_err(|error| error.to_string())?;
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    if roots.is_empty() { Err("it holds no certificate".into()) } else { Ok(roots) }
}

/// Without any authority no certificate is trusted, and the handshake says so.
fn of_machine() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}
