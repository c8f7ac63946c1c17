//! As whom the agent speaks to the hub, and whom it trusts to be the hub.

mod workload;

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ha_wire::connection_string::{self, ConnectionString};
use ha_wire::sas::Unsigned;
use ha_wire::topics::{ClientId, Username};
use ha_wire::{API_VERSION, SharedAccessKey};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls_platform_verifier::ConfigVerifierExt as _;

pub use self::workload::{Workload, WorkloadEnvironment};

/// What can be wrong with an identity.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The connection string is no module's.
    #[error(
        "the connection string is not that of a module with a key; get it with `az iot hub module-identity connection-string show`"
    )]
    NoModuleKey,
    /// The module's environment is incomplete.
    #[error("the environment variable {0} is missing: IoT Edge sets it for every module")]
    Environment(&'static str),
    /// The workload socket does not help.
    #[error("the workload API did not {what}")]
    Workload {
        /// What was asked.
        what: &'static str,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// The workload socket answered nonsense.
    #[error("the workload API gave no usable {0}")]
    WorkloadAnswer(&'static str),
    /// A file with certificates cannot be read.
    #[error("the certificates in {path} cannot be read")]
    CaFile {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// There is no certificate in it.
    #[error("{0} holds no certificate in PEM form")]
    NoCertificate(String),
    /// TLS cannot be set up.
    #[error("TLS cannot be set up")]
    Tls(#[source] rustls::Error),
}

/// One module identity.
pub struct Identity {
    hub: String,
    gateway: Option<String>,
    device: String,
    module: String,
    signer: Signer,
    ca_file: Option<PathBuf>,
    token: Mutex<Option<(String, Instant)>>,
}

enum Signer {
    Key(SharedAccessKey),
    Workload(Workload),
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { hub, device, module, .. } = self;
        write!(f, "Identity({device}/{module} at {hub})")
    }
}

/// Told to the hub, for its operators.
const CLIENT_TYPE: &str = concat!("iotedge-ha-agent/", env!("CARGO_PKG_VERSION"));

impl Identity {
    /// From a module's connection string.
    pub fn from_connection(connection: &ConnectionString, ca_file: Option<PathBuf>) -> Result<Self, Error> {
        let (connection_string::Identity::Module { device, module }, Some(key)) =
            (connection.identity(), connection.key())
        else {
            return Err(Error::NoModuleKey);
        };
        Ok(Self {
            hub: connection.host_and_port(),
            gateway: connection.gateway_host().map(str::to_owned),
            device: device.clone(),
            module: module.clone(),
            signer: Signer::Key(key.clone()),
            ca_file,
            token: Mutex::new(None),
        })
    }

    /// From the environment that IoT Edge gives each module.
    pub fn from_workload(environment: WorkloadEnvironment, ca_file: Option<PathBuf>) -> Result<Self, Error> {
        let workload = Workload::new(&environment)?;
        let WorkloadEnvironment { hub, gateway, device, module, .. } = environment;
        Ok(Self { hub, gateway, device, module, signer: Signer::Workload(workload), ca_file, token: Mutex::new(None) })
    }

    /// The device's id.
    pub fn device(&self) -> &str {
        &self.device
    }

    /// The module.
    pub fn module(&self) -> &str {
        &self.module
    }

    /// The hub's name.
    pub fn hub(&self) -> &str {
        &self.hub
    }

    pub(super) fn client_id(&self) -> String {
        ClientId { device: self.device.clone(), module: Some(self.module.clone()) }.to_string()
    }

    pub(super) fn user_name(&self) -> String {
        let name = Username::new(&self.hub, &self.device, Some(&self.module), API_VERSION);
        name.with_client_type(CLIENT_TYPE).to_string()
    }

    /// The name to connect to: the gateway's if there is one.
    pub(super) fn host(&self) -> &str {
        let name = self.gateway.as_deref().unwrap_or(&self.hub);
        name.split(':').next().unwrap_or(name)
    }

    /// A token, and when to replace it. A fresh one if it can be had, else the last while it is good: the
    /// workload API may be away for a while.
    pub(super) async fn token(&self, ttl: Duration) -> Result<(String, Instant), Error> {
        let now = Instant::now();
        let made = self.make_token(ttl).await;
        let mut last = self.token.lock().unwrap_or_else(PoisonError::into_inner);
        match made {
            Ok(token) => {
                let renew_at = now + ttl.mul_f64(RENEW_AT);
                *last = Some((token.clone(), renew_at));
                Ok((token, renew_at))
            }
            Err(error) => last.clone().filter(|(_, renew_at)| now < *renew_at).ok_or(error),
        }
    }

    async fn make_token(&self, ttl: Duration) -> Result<String, Error> {
        let now_s = u64::try_from(crate::clock::wall_now().0 / 1_000).unwrap_or(0);
        let unsigned = Unsigned::module(&self.hub, &self.device, &self.module, now_s + ttl.as_secs());
        match &self.signer {
            Signer::Key(key) => Ok(unsigned.sign(key)),
            Signer::Workload(workload) => {
                let signature = workload.sign(unsigned.string_to_sign().as_bytes()).await?;
                Ok(unsigned.assemble(&signature))
            }
        }
    }

    pub(super) async fn tls(&self) -> Result<Arc<rustls::ClientConfig>, Error> {
        let pem = match (&self.ca_file, &self.signer, &self.gateway) {
            (Some(path), _, _) => {
                let pem = tokio::fs::read(path).await;
                Some((path.display().to_string(), pem.map_err(|source| Error::CaFile { path: path.clone(), source })?))
            }
            (None, Signer::Workload(workload), Some(_)) => {
                Some(("the trust bundle".to_owned(), workload.trust_bundle().await?))
            }
            _ => None,
        };
        let config = match pem {
            Some((from, pem)) => {
                rustls::ClientConfig::builder().with_root_certificates(roots(from, &pem)?).with_no_client_auth()
            }
            None => rustls::ClientConfig::with_platform_verifier().map_err(Error::Tls)?,
        };
        Ok(Arc::new(config))
    }
}

/// The rest of the lifetime is for trying, should renewal not work at once.
const RENEW_AT: f64 = 0.8;

fn roots(from: String, pem: &[u8]) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(CertificateDer::pem_slice_iter(pem).flatten());
    if added == 0 { Err(Error::NoCertificate(from)) } else { Ok(roots) }
}
