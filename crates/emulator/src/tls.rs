//! Our own certificate authority and a certificate for the hub's names.

mod clients;

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::error::Error;
use crate::files::{self, Readers};

const CA_FILE: &str = "ca.pem";
const CA_KEY_FILE: &str = "ca.key";

/// What the listeners need, and what clients must trust.
pub(crate) struct Identity {
    /// The names of the certificate.
    pub(crate) names: Vec<String>,
    pub(crate) ca_pem: String,
    pub(crate) config: Arc<ServerConfig>,
}

/// Takes the authority from the state folder, or makes one there (or in memory), and signs a certificate for `names`.
pub(crate) fn identity(state_dir: Option<&Path>, bind: IpAddr, names: &[String]) -> Result<Identity, Error> {
    let (ca_pem, key) = authority(state_dir)?;
    let issuer = Issuer::new(authority_params(), key);
    let mut sans = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    for name in [bind.to_string()].iter().chain(names) {
        let name = host_of(name).to_owned();
        if !sans.contains(&name) {
            sans.push(name);
        }
    }
    let mut params = CertificateParams::new(sans.clone()).map_err(Error::Certificates)?;
    let title = "IoT Hub emulator";
    params.distinguished_name.push(DnType::CommonName, title);
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2049, 1, 1);
    params.use_authority_key_identifier_extension = true;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let leaf_key = KeyPair::generate().map_err(Error::Certificates)?;
    let leaf = params.signed_by(&leaf_key, &issuer).map_err(Error::Certificates)?;
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(leaf_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(Error::Tls)?
        .with_client_cert_verifier(Arc::new(clients::Verifier::new(&provider)))
        .with_single_cert(vec![leaf.der().clone()], private)
        .map_err(Error::Tls)?;
    Ok(Identity { names: sans, ca_pem, config: Arc::new(config) })
}

/// Where the authority lies in a state folder.
pub(crate) fn ca_path(state_dir: &Path) -> std::path::PathBuf {
    state_dir.join(CA_FILE)
}

/// A host without its port.
pub(crate) fn host_of(name: &str) -> &str {
    match name.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') && port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => name,
    }
}

fn authority(state_dir: Option<&Path>) -> Result<(String, KeyPair), Error> {
    let Some(folder) = state_dir else {
        return new_authority();
    };
    let (ca_path, key_path) = (folder.join(CA_FILE), folder.join(CA_KEY_FILE));
    let ca = files::read(&ca_path).map_err(Error::read(&ca_path))?;
    let key = files::read(&key_path).map_err(Error::read(&key_path))?;
    if let (Some(ca), Some(key)) = (ca, key) {
        let damaged = |path: &Path, reason: String| Error::Damaged { path: path.to_owned(), reason };
        let pem = String::from_utf8_lossy(&key);
        let key = KeyPair::from_pem(&pem).map_err(|e| damaged(&key_path, e.to_string()))?;
        let ca = String::from_utf8(ca).map_err(|e| damaged(&ca_path, e.to_string()))?;
        return Ok((ca, key));
    }
    let (ca, key) = new_authority()?;
    files::write(&key_path, key.serialize_pem().as_bytes(), Readers::Owner).map_err(Error::write(&key_path))?;
    files::write(&ca_path, ca.as_bytes(), Readers::Everyone).map_err(Error::write(&ca_path))?;
    Ok((ca, key))
}

fn new_authority() -> Result<(String, KeyPair), Error> {
    let key = KeyPair::generate().map_err(Error::Certificates)?;
    let certificate = authority_params().self_signed(&key).map_err(Error::Certificates)?;
    Ok((certificate.pem(), key))
}

/// The same at every start: a leaf names its issuer by these.
fn authority_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    let title = "IoT Hub emulator authority";
    params.distinguished_name.push(DnType::CommonName, title);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2049, 1, 1);
    params
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_authority_survives_a_restart_and_its_key_is_private() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().expect("a folder");
        let bind = IpAddr::from([127, 0, 0, 1]);
        let first = identity(Some(folder.path()), bind, &[]).expect("made");
        let names = ["hub.example".to_owned()];
        let second = identity(Some(folder.path()), bind, &names).expect("reused");
        assert_eq!(first.ca_pem, second.ca_pem);
        let key = folder.path().join(CA_KEY_FILE);
        let mode = std::fs::metadata(&key).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        std::fs::write(&key, "nonsense").expect("written");
        let error = identity(Some(folder.path()), bind, &[]).err().expect("refused");
        assert!(error.to_string().contains("ca.key is damaged"), "{error}");
    }

    #[test]
    fn ports_are_no_part_of_a_name() {
        assert_eq!(host_of("localhost:8443"), "localhost");
        assert_eq!(host_of("localhost"), "localhost");
        assert_eq!(host_of("::1"), "::1");
    }
}
