use ha_wire::ConnectionString;

use crate::Error;
use crate::link::identity::{Identity, WorkloadEnvironment};
use crate::settings::{Credentials, Settings};

/// The module's identity, from where the settings say.
pub(crate) fn identity(settings: &Settings) -> Result<Identity, Error> {
    let variable = |name: &str| std::env::var(name).ok();
    let ca_file = settings.ca_file.clone();
    let text = match &settings.credentials {
        Credentials::Workload if WorkloadEnvironment::is_given(variable) => {
            let environment = WorkloadEnvironment::read(variable).map_err(Error::Identity)?;
            return Identity::from_workload(environment, ca_file).map_err(Error::Identity);
        }
        Credentials::Workload => return Err(Error::NoIdentity),
        Credentials::Variable(name) => {
            variable(name).ok_or_else(|| Error::CredentialVariable { name: name.clone() })?
        }
        Credentials::File(path) => {
            std::fs::read_to_string(path).map_err(|source| Error::CredentialFile { path: path.clone(), source })?
        }
    };
    let connection: ConnectionString = text.trim().parse().map_err(Error::ConnectionString)?;
    Identity::from_connection(&connection, ca_file).map_err(Error::Identity)
}
