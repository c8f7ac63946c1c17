//! Certificates of devices: thumbprints, and authorities that sign for them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{CertificateError, RootCertStore};
use sha1::{Digest as _, Sha1};
use sha2::Sha256;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;

use super::Denied;
use crate::error::Error;
use crate::files;
use crate::hub::Id;

/// The authorities whose certificates devices may log in with.
#[derive(Debug, Default)]
pub(crate) struct Authorities(Option<Arc<dyn ClientCertVerifier>>);

impl Authorities {
    /// Reads PEM files, each with one authority or more.
    pub(crate) fn read(files: &[PathBuf]) -> Result<Self, Error> {
        let mut roots = RootCertStore::empty();
        for path in files {
            add(&mut roots, path)?;
        }
        if roots.is_empty() {
            return Ok(Self::default());
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let built = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
        let verifier = built.map_err(|e| Error::Option(format!("device authorities: {e}")))?;
        Ok(Self(Some(verifier)))
    }

    /// Whether an authority signed for exactly this identity.
    pub(super) fn check(&self, id: &Id, chain: &[CertificateDer<'_>], now: Timestamp) -> Result<(), Denied> {
        let (own, behind) = chain.split_first().ok_or(Denied::NoCertificate)?;
        let read = read(own)?;
        let verifier = self.0.as_ref().ok_or(Denied::NoAuthorities)?;
        let at = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds(now)));
        verifier.verify_client_cert(own, behind, at).map_err(|e| denied(e, &read))?;
        let (named, wanted) = (common_name(&read), id.to_string());
        if named != wanted {
            return Err(Denied::WrongName { named, wanted });
        }
        Ok(())
    }
}

/// Whether the certificate is one of those registered, by SHA-1 or SHA-256.
pub(super) fn check_thumbprint(
    registered: &[&str],
    chain: &[CertificateDer<'_>],
    now: Timestamp,
) -> Result<(), Denied> {
    let own = chain.first().ok_or(Denied::NoCertificate)?;
    let prints = [hex(&Sha1::digest(own)), hex(&Sha256::digest(own))];
    let known = |print: &String| registered.iter().any(|registered| registered.eq_ignore_ascii_case(print));
    if !prints.iter().any(known) {
        let [sha1, _] = prints;
        return Err(Denied::WrongThumbprint(sha1));
    }
    let read = read(own)?;
    let validity = &read.validity;
    let at = i64::try_from(seconds(now)).unwrap_or(i64::MAX);
    if at > validity.not_after.timestamp() {
        return Err(Denied::CertificateExpired(validity.not_after.to_string()));
    }
    if at < validity.not_before.timestamp() {
        return Err(Denied::CertificateNotYetValid(validity.not_before.to_string()));
    }
    Ok(())
}

fn add(roots: &mut RootCertStore, path: &Path) -> Result<(), Error> {
    let damaged = |reason: String| Error::Option(format!("device authority {}: {reason}", path.display()));
    let pem = files::read(path).map_err(Error::read(path))?.ok_or_else(|| damaged("no such file".into()))?;
    let before = roots.len();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|e| damaged(format!("{e:?}")))?;
        roots.add(certificate).map_err(|e| damaged(e.to_string()))?;
    }
    if roots.len() == before {
        return Err(damaged("no certificate in it; PEM is wanted".into()));
    }
    Ok(())
}

fn denied(error: rustls::Error, certificate: &X509Certificate<'_>) -> Denied {
    let validity = &certificate.validity;
    match error {
        rustls::Error::InvalidCertificate(CertificateError::Other(_)) if certificate.is_ca() => {
            Denied::BadCertificate("it is that of an authority (CA:TRUE), not of a device".into())
        }
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
            Denied::UnknownAuthority(shown(&certificate.issuer().to_string()))
        }
        rustls::Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            Denied::CertificateExpired(validity.not_after.to_string())
        }
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
        ) => Denied::CertificateNotYetValid(validity.not_before.to_string()),
        other => Denied::BadCertificate(other.to_string()),
    }
}

fn read<'a>(certificate: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, Denied> {
    let (_, read) = X509Certificate::from_der(certificate).map_err(|e| Denied::BadCertificate(e.to_string()))?;
    Ok(read)
}

/// `""` where there is none that is text.
fn common_name(certificate: &X509Certificate<'_>) -> String {
    let mut names = certificate.subject().iter_common_name();
    shown(names.next().and_then(|name| name.as_str().ok()).unwrap_or_default())
}

/// Strangers' words, fit for a line of the log.
fn shown(text: &str) -> String {
    text.chars().take(256).flat_map(char::escape_debug).collect()
}

fn seconds(now: Timestamp) -> u64 {
    u64::try_from(now.as_second()).unwrap_or(0)
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02X}");
        text
    })
}
