mod keyring;

use ha_wire::connection_string::Identity;
use ha_wire::{ConnectionString, Secret};

use self::keyring::Keyring;
pub use self::keyring::ReadStrings;
use crate::Error;
use crate::entra::{self, Entra};

const BEARER: &str = "Bearer ";

/// What the client proves itself with: the keys of connection strings, or tokens of Entra ID.
#[derive(Debug)]
pub(crate) enum Credential {
    Keys(Keyring),
    /// And the scope of the tokens.
    Entra(Entra, &'static str),
}

impl Credential {
    pub(crate) fn from_connection(connection: &ConnectionString) -> Result<Self, Error> {
        Ok(Self::Keys(Keyring::new(std::slice::from_ref(connection), None)?))
    }

    /// The first reading, and where the next ones come from.
    pub(crate) fn from_reader(strings: &[ConnectionString], read: ReadStrings) -> Result<Self, Error> {
        Ok(Self::Keys(Keyring::new(strings, Some(read))?))
    }

    /// The `Authorization` header, good at `now_unix_s` and for a while after.
    pub(crate) async fn authorization(&self, now_unix_s: u64) -> Result<Secret, entra::Error> {
        match self {
            Self::Keys(keyring) => Ok(keyring.authorization(now_unix_s)),
            Self::Entra(entra, scope) => {
                let token = entra.token(scope).await?;
                Ok(Secret::new(format!("{BEARER}{}", token.expose())))
            }
        }
    }

    /// The hub said 401 to this header. Whether there is another to try at once.
    pub(crate) fn refused(&self, authorization: &Secret) -> bool {
        match self {
            Self::Keys(keyring) => keyring.refused(authorization),
            Self::Entra(entra, scope) => {
                let token = authorization.expose().trim_start_matches(BEARER);
                entra.refused(scope, &Secret::new(token));
                false
            }
        }
    }
}

/// The one host that all strings name.
pub(crate) fn host_of(strings: &[ConnectionString]) -> Result<&ConnectionString, Error> {
    let Some(first) = strings.first() else {
        return Err(Error::Setup { reason: "there is no connection string" });
    };
    if strings.iter().any(|other| other.host_and_port() != first.host_and_port()) {
        return Err(Error::Setup { reason: "the connection strings are of different hubs" });
    }
    if strings.iter().any(|string| !matches!(string.identity(), Identity::Service { .. })) {
        return Err(Error::Setup { reason: "the connection string is a device's or module's, not a service's" });
    }
    Ok(first)
}
