use std::path::PathBuf;
use std::sync::Arc;

use ha_iothub::entra::{self, Entra, Settings, Source};
use ha_wire::Secret;
use serde::Serialize;

use super::{HubConfig, SecretPlace};

/// What the hub is shown.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HubAccess {
    /// A signature by a shared access policy's key.
    ConnectionString {
        /// Where the connection string is.
        place: SecretPlace,
        /// Who asks Azure Resource Manager, which takes no such signatures.
        management: Option<IdentityConfig>,
    },
    /// A token of this identity.
    Identity {
        /// The hub's host name, perhaps with a port.
        host: String,
        /// Whose token.
        identity: IdentityConfig,
    },
}

/// Who asks, by Microsoft Entra ID.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct IdentityConfig {
    /// Where tokens come from.
    #[serde(flatten)]
    pub source: IdentitySource,
    /// The token authority (for a managed identity: the metadata service), if not the usual one.
    pub authority: Option<String>,
}

/// Where tokens come from.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case", tag = "source")]
pub enum IdentitySource {
    /// The identity of the machine, App Service or Function.
    Managed {
        /// A user-assigned identity; `None`: the system-assigned one.
        client_id: Option<String>,
    },
    /// A Kubernetes service account; what is `None` comes from the environment that Kubernetes sets.
    Workload {
        /// The directory.
        tenant: Option<String>,
        /// The application.
        client_id: Option<String>,
        /// Where the service account's token is.
        token_file: Option<PathBuf>,
    },
    /// An application with a secret.
    ClientSecret {
        /// The directory.
        tenant: String,
        /// The application.
        client_id: String,
        /// Where its secret is.
        secret: SecretPlace,
    },
    /// Whoever has logged in with the Azure CLI.
    AzureCli {
        /// The directory; `None`: the login's own.
        tenant: Option<String>,
    },
}

impl HubConfig {
    /// Who asks Azure Resource Manager, and the hub unless there is a connection string.
    pub fn identity(&self) -> Option<&IdentityConfig> {
        match &self.access {
            HubAccess::ConnectionString { management, .. } => management.as_ref(),
            HubAccess::Identity { identity, .. } => Some(identity),
        }
    }
}

impl IdentityConfig {
    /// The identity, ready to be asked for tokens; `ca_pem` is trusted besides the system's certificates.
    ///
    /// # Errors
    /// When the authority is no usable address or the certificates cannot be read.
    pub fn entra(&self, ca_pem: Option<Vec<u8>>) -> Result<Entra, entra::Error> {
        Entra::new(Settings { source: source(&self.source), authority: self.authority.clone(), ca_pem })
    }
}

fn source(configured: &IdentitySource) -> Source {
    match configured.clone() {
        IdentitySource::Managed { client_id } => Source::Managed { client_id },
        IdentitySource::Workload { tenant, client_id, token_file } => {
            Source::Workload { tenant, client_id, token_file }
        }
        IdentitySource::ClientSecret { tenant, client_id, secret } => {
            let read = move || secret.read("client secret").map(Secret::new).map_err(|missing| missing.to_string());
            Source::ClientSecret { tenant, client_id, secret: Arc::new(read) }
        }
        IdentitySource::AzureCli { tenant } => Source::AzureCli { tenant },
    }
}
