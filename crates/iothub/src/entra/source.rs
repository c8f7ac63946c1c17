use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use azure_core::credentials::TokenCredential;
use azure_identity::{
    AzureCliCredential, AzureCliCredentialOptions, ClientAssertionCredentialOptions, ClientSecretCredential,
    ClientSecretCredentialOptions, ManagedIdentityCredential, ManagedIdentityCredentialOptions, UserAssignedId,
    WorkloadIdentityCredential, WorkloadIdentityCredentialOptions,
};
use ha_wire::Secret;

use super::Error;
use super::transport::{Endpoint, Transport};

/// Who asks for tokens, and with what proof.
#[derive(Clone)]
pub enum Source {
    /// The identity of the machine, App Service or Function this runs on.
    Managed {
        /// A user-assigned identity's client id; `None`: the system-assigned one.
        client_id: Option<String>,
    },
    /// A Kubernetes service account, by a token that Kubernetes keeps in a file.
    Workload {
        /// By default `AZURE_TENANT_ID`.
        tenant: Option<String>,
        /// By default `AZURE_CLIENT_ID`.
        client_id: Option<String>,
        /// By default `AZURE_FEDERATED_TOKEN_FILE`.
        token_file: Option<PathBuf>,
    },
    /// An application with a secret.
    ClientSecret {
        /// The directory it is registered in.
        tenant: String,
        /// Its application id.
        client_id: String,
        /// Reads its secret; asked each time, so a changed secret needs no restart.
        secret: ReadSecret,
    },
    /// Whoever has logged in with `az login`.
    AzureCli {
        /// The directory; by default the login's own.
        tenant: Option<String>,
    },
}

/// Reads a secret from its place, or says why it cannot.
pub type ReadSecret = Arc<dyn Fn() -> Result<Secret, String> + Send + Sync>;

impl Source {
    /// In words, for messages.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Managed { .. } => "the managed identity",
            Self::Workload { .. } => "the workload identity",
            Self::ClientSecret { .. } => "the client secret",
            Self::AzureCli { .. } => "the Azure CLI",
        }
    }

    /// Whether those asked are on this machine or its link, where no proxy leads.
    pub(super) fn is_near(&self) -> bool {
        matches!(self, Self::Managed { .. })
    }

    fn hint(&self) -> &'static str {
        match self {
            Self::Managed { .. } => {
                "assign an identity to this machine or app; a user-assigned one needs its client_id in [hub.identity]"
            }
            Self::Workload { .. } => {
                "look at the service account's annotation, the pod's label azure.workload.identity/use, and the \
                 federated credential's subject"
            }
            Self::ClientSecret { .. } => "look at tenant and client_id, and whether the secret has expired",
            Self::AzureCli { .. } => "run `az login`, with --tenant if there are several",
        }
    }

    /// Asks for a token; gives it with its end in Unix seconds.
    pub(super) async fn ask(&self, transport: &Transport, scope: &str) -> Result<(Secret, u64), Error> {
        let failed = |error: azure_core::Error| Error::of(self.name(), self.hint(), scope, &error);
        let credential = self.credential(transport)?.map_err(failed)?;
        let token = credential.get_token(&[scope], None).await.map_err(failed)?;
        let expiry_unix_s = u64::try_from(token.expires_on.unix_timestamp()).unwrap_or_default();
        Ok((Secret::new(token.token.secret()), expiry_unix_s))
    }

    /// A new one for each question: the library's own cache knows neither a refused token nor a changed secret.
    fn credential(&self, transport: &Transport) -> Result<azure_core::Result<Arc<dyn TokenCredential>>, Error> {
        let entra = || transport.options(Endpoint::Authority);
        Ok(match self.clone() {
            Self::Managed { client_id } => {
                let options = ManagedIdentityCredentialOptions {
                    user_assigned_id: client_id.map(UserAssignedId::ClientId),
                    client_options: transport.options(Endpoint::Metadata),
                };
                ManagedIdentityCredential::new(Some(options)).map(|found| found as _)
            }
            Self::Workload { tenant, client_id, token_file } => {
                let options = WorkloadIdentityCredentialOptions {
                    credential_options: ClientAssertionCredentialOptions { client_options: entra() },
                    client_id,
                    tenant_id: tenant,
                    token_file_path: token_file,
                };
                WorkloadIdentityCredential::new(Some(options)).map(|found| found as _)
            }
            Self::ClientSecret { tenant, client_id, secret } => {
                let secret = secret().map_err(|reason| Error::setup(self.name(), reason))?;
                let options = ClientSecretCredentialOptions { client_options: entra() };
                let secret = secret.expose().to_owned().into();
                ClientSecretCredential::new(&tenant, client_id, secret, Some(options)).map(|found| found as _)
            }
            Self::AzureCli { tenant } => {
                let options = AzureCliCredentialOptions { tenant_id: tenant, ..AzureCliCredentialOptions::default() };
                AzureCliCredential::new(Some(options)).map(|found| found as _)
            }
        })
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
