//! Certificates of devices: thumbprints, and authorities that sign for them.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
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
#[derive(Debug)]
pub(crate) struct Authorities {
    /// Those of the command line.
    named: RootCertStore,
    verifier: RwLock<Option<Arc<dyn ClientCertVerifier>>>,
}

impl Default for Authorities {
    fn default() -> Self {
        Self { named: RootCertStore::empty(), verifier: RwLock::default() }
    }
}

impl Authorities {
    /// Reads PEM files, each with one authority or more.
    pub(crate) fn read(files: &[PathBuf]) -> Result<Self, Error> {
        let mut named = RootCertStore::empty();
        for path in files {
            add(&mut named, path)?;
        }
        let authorities = Self { named, verifier: RwLock::default() };
        authorities.trust(&[]).map_err(|e| Error::Option(format!("device authorities: {e}")))?;
        Ok(authorities)
    }

    /// Goes by these, besides those of the command line, from here on. Connections that are open stay so.
    pub(super) fn trust(&self, registered: &[CertificateDer<'static>]) -> Result<(), String> {
        let mut roots = self.named.clone();
        for certificate in registered {
            roots.add(certificate.clone()).map_err(|e| e.to_string())?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let built = || WebPkiClientVerifier::builder_with_provider(Arc::new(roots.clone()), provider).build();
        let verifier = if roots.is_empty() { None } else { Some(built().map_err(|e| e.to_string())?) };
        *self.verifier.write().unwrap_or_else(PoisonError::into_inner) = verifier;
        Ok(())
    }

    /// Whether an authority signed for exactly this identity.
    pub(super) fn check(&self, id: &Id, chain: &[CertificateDer<'_>], now: Timestamp) -> Result<(), Denied> {
        let (own, behind) = chain.split_first().ok_or(Denied::NoCertificate)?;
        let read = read(own)?;
        let verifier = self.verifier.read().unwrap_or_else(PoisonError::into_inner).clone();
        let verifier = verifier.ok_or(Denied::NoAuthorities)?;
        let at = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds(now)));
        verifier.verify_client_cert(own, behind, at).map_err(|e| denied(e, &read))?;
        let (named, wanted) = (common_name(&read), id.to_string());
        if named != wanted {
            return Err(Denied::WrongName { named, wanted });
        }
        Ok(())
    }
}

/// An authority's certificate, and what it says of itself.
pub(crate) struct Described {
    pub(crate) der: CertificateDer<'static>,
    pub(crate) subject: String,
    pub(crate) expiry: Timestamp,
    /// SHA-1, in hexadecimal digits.
    pub(crate) thumbprint: String,
}

impl Described {
    /// Reads PEM, or base64 of PEM or DER.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        let bytes = match text.contains(PEM_BEGIN) {
            true => text.as_bytes().to_vec(),
            false => STANDARD.decode(text.trim()).map_err(|e| format!("neither PEM nor base64: {e}"))?,
        };
        let der = match bytes.windows(PEM_BEGIN.len()).any(|window| window == PEM_BEGIN.as_bytes()) {
            true => CertificateDer::from_pem_slice(&bytes).map_err(|e| format!("the PEM cannot be read: {e:?}"))?,
            false => CertificateDer::from(bytes),
        };
        let read = read(&der).map_err(|denied| denied.to_string())?;
        let expiry = Timestamp::from_second(read.validity.not_after.timestamp()).map_err(|e| e.to_string())?;
        let (subject, thumbprint) = (shown(&read.subject().to_string()), hex(&Sha1::digest(&der)));
        Ok(Self { der, subject, expiry, thumbprint })
    }
}

/// Why the proof is no certificate that the authority has signed for this code.
pub(crate) fn proves(
    proof: &CertificateDer<'static>,
    authority: &CertificateDer<'static>,
    code: &str,
    now: Timestamp,
) -> Result<(), String> {
    let one = Authorities::default();
    one.trust(std::slice::from_ref(authority))?;
    one.check(&Id::device(code), std::slice::from_ref(proof), now).map_err(|denied| denied.to_string())
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

const PEM_BEGIN: &str = "-----BEGIN ";

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
