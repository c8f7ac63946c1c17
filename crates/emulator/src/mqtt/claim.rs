//! Who a CONNECT says it is.

use crate::hub::Id;

/// The identity that a CONNECT claims, before anything is proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) id: Id,
}

/// Why a CONNECT makes no sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Nonsense {
    #[error("the client id is not {{device}} or {{device}}/{{module}}")]
    ClientId,
    #[error("the user name is not {{hub}}/{{device}}[/{{module}}][/?…]")]
    UserName,
    #[error("client id and user name name different identities")]
    Mismatch,
}

impl Claim {
    /// Reads client id and user name; the part after `?` is free form.
    pub(super) fn read(client_id: &str, user_name: Option<&str>) -> Result<Self, Nonsense> {
        let id = identity(client_id).ok_or(Nonsense::ClientId)?;
        let user_name = user_name.ok_or(Nonsense::UserName)?;
        let path = user_name.split('?').next().unwrap_or_default();
        let (_hub, named) = path.trim_end_matches('/').split_once('/').ok_or(Nonsense::UserName)?;
        let named = identity(named).ok_or(Nonsense::UserName)?;
        if named != id {
            return Err(Nonsense::Mismatch);
        }
        Ok(Self { id })
    }
}

fn identity(text: &str) -> Option<Id> {
    let mut parts = text.split('/');
    let device = parts.next().filter(|d| !d.is_empty())?;
    let module = match parts.next() {
        None => None,
        Some("") => return None,
        Some(module) => Some(module.to_owned()),
    };
    parts.next().is_none().then(|| Id { device: device.to_owned(), module })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_by_table() {
        for (client, user, claim) in [
            ("d1", "localhost/d1/?api-version=2019-10-01&DeviceClientType=x", Ok(Id::device("d1"))),
            ("d1", "hub.azure-devices.net/d1", Ok(Id::device("d1"))),
            ("d1", "hub/d1/api?x", Err(Nonsense::Mismatch)),
            ("d1/$edgeAgent", "hub/d1/$edgeAgent/?api-version=2021-04-12", Ok(Id::module("d1", "$edgeAgent"))),
            ("d1", "hub/d2/?api-version=1", Err(Nonsense::Mismatch)),
            ("d1/m/x", "hub/d1/m/x", Err(Nonsense::ClientId)),
            ("", "hub/d1", Err(Nonsense::ClientId)),
            ("d1", "d1", Err(Nonsense::UserName)),
        ] {
            let read = Claim::read(client, Some(user)).map(|c| c.id);
            assert_eq!(read, claim, "{client} {user}");
        }
        assert_eq!(Claim::read("d1", None), Err(Nonsense::UserName));
    }
}
