//! Who a CONNECT says it is.

use ha_wire::topics::{ClientId, Username};

use crate::hub::Id;

/// The identity that a CONNECT claims, before anything is proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) id: Id,
    /// The name of the hub that it means.
    pub(super) hub: String,
    /// The model that the client says it implements.
    pub(super) model: Option<String>,
}

/// Why a CONNECT makes no sense.
#[derive(Debug, thiserror::Error)]
pub(super) enum Nonsense {
    #[error(transparent)]
    Login(#[from] ha_wire::Error),
    #[error("no user name")]
    NoUserName,
    #[error("client id and user name name different identities")]
    Mismatch,
}

impl Claim {
    /// Reads client id and user name; the part after `?` is free form.
    pub(super) fn read(client_id: &str, user_name: Option<&str>) -> Result<Self, Nonsense> {
        let client: ClientId = client_id.parse()?;
        let user: Username = user_name.ok_or(Nonsense::NoUserName)?.parse()?;
        if !user.matches(&client) {
            return Err(Nonsense::Mismatch);
        }
        let id = Id { device: client.device, module: client.module };
        let model = user.parameter("model-id").map(str::to_owned);
        Ok(Self { id, hub: user.hub, model })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_by_table() {
        for (client, user, claim) in [
            ("d1", "localhost/d1/?api-version=2019-10-01", "d1"),
            ("d1", "hub.azure-devices.net/d1", "d1"),
            ("d1/$edgeAgent", "hub/d1/$edgeAgent/?x=1", "d1/$edgeAgent"),
            ("d1", "hub/d2/?api-version=1", "different identities"),
            ("d1/m/x", "hub/d1/m/x", "client id"),
            ("", "hub/d1", "client id"),
            ("d1", "d1", "user name"),
        ] {
            let read = match Claim::read(client, Some(user)) {
                Ok(claim) => claim.id.to_string(),
                Err(e) => e.to_string(),
            };
            assert!(read.contains(claim), "{client} {user}: {read}");
        }
    }
}
