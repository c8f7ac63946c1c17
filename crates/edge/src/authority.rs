//! The device's own certificate authority, what it has signed, and whom modules are to trust.

use std::path::Path;
use std::sync::Arc;

use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType, date_time_ymd,
};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::error::Error;
use crate::store::replace;

const CA_FILE: &str = "edge-ca.pem";
const CA_KEY_FILE: &str = "edge-ca.key";

/// The Edge CA of the device.
pub(crate) struct Authority {
    pub(crate) ca_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its key, both PEM; the certificate is the whole chain.
pub(crate) struct Issued {
    pub(crate) certificate: String,
    pub(crate) key: String,
    der: Vec<CertificateDer<'static>>,
    key_der: Vec<u8>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authority")
    }
}

impl Authority {
    /// Takes the authority from the state folder, or makes one there.
    pub(crate) fn open(state_dir: &Path) -> Result<Self, Error> {
        let (ca_path, key_path) = (state_dir.join(CA_FILE), state_dir.join(CA_KEY_FILE));
        if let (Ok(ca_pem), Ok(key)) = (std::fs::read_to_string(&ca_path), std::fs::read_to_string(&key_path)) {
            let damaged = |error: rcgen::Error| Error::Damaged { path: key_path.clone(), reason: error.to_string() };
            let issuer = Issuer::new(ca_params(), KeyPair::from_pem(&key).map_err(damaged)?);
            return Ok(Self { ca_pem, issuer });
        }
        let key = KeyPair::generate().map_err(Error::Certificates)?;
        let ca_pem = ca_params().self_signed(&key).map_err(Error::Certificates)?.pem();
        replace(&key_path, key.serialize_pem().as_bytes()).map_err(Error::file(&key_path))?;
        std::fs::write(&ca_path, &ca_pem).map_err(Error::file(&ca_path))?;
        Ok(Self { ca_pem, issuer: Issuer::new(ca_params(), key) })
    }

    /// Where the authority lies in a state folder.
    pub(crate) fn ca_path(state_dir: &Path) -> std::path::PathBuf {
        state_dir.join(CA_FILE)
    }

    /// A server's certificate for these names.
    pub(crate) fn server(&self, names: &[String]) -> Result<Issued, Error> {
        let mut params = CertificateParams::new(names.to_vec()).map_err(Error::Certificates)?;
        let title = names.first().map_or("edgeHub", String::as_str);
        params.distinguished_name.push(DnType::CommonName, title);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.issue(params)
    }

    /// A module's certificate, for TLS between modules and between devices whose authorities share a root.
    pub(crate) fn identity(&self, hub: &str, device: &str, module: &str) -> Result<Issued, Error> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, module);
        let uri = format!("azureiot://{hub}/devices/{device}/modules/{}", ha_wire::percent_encode(module));
        params.subject_alt_names = vec![SanType::URI(Ia5String::try_from(uri).map_err(Error::Certificates)?)];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(params)
    }

    fn issue(&self, mut params: CertificateParams) -> Result<Issued, Error> {
        params.not_before = date_time_ymd(2020, 1, 1);
        // As EXPIRATION says.
        params.not_after = date_time_ymd(2049, 1, 1);
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().map_err(Error::Certificates)?;
        let leaf = params.signed_by(&key, &self.issuer).map_err(Error::Certificates)?;
        Ok(Issued {
            certificate: format!("{}{}", leaf.pem(), self.ca_pem),
            key: key.serialize_pem(),
            der: vec![leaf.der().clone()],
            key_der: key.serialize_der(),
        })
    }
}

/// When everything that is issued here ends.
pub(crate) const EXPIRATION: &str = "2049-01-01T00:00:00Z";

impl Issued {
    /// A TLS server that shows this certificate.
    pub(crate) fn server_config(self) -> Result<Arc<ServerConfig>, Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key_der));
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(Error::Tls)?
            .with_no_client_auth()
            .with_single_cert(self.der, key)
            .map_err(Error::Tls)?;
        Ok(Arc::new(config))
    }
}

fn ca_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "iotedge-ha Edge CA (stand-in)");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2049, 1, 1);
    params
}
