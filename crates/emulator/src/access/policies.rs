//! The hub's shared access policies.

use serde::{Deserialize, Serialize};

use crate::hub::Key;

/// What a policy may allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Right {
    /// Read identities.
    RegistryRead,
    /// Write identities.
    RegistryWrite,
    /// Twins, methods, queries, configurations.
    ServiceConnect,
    /// Sign for devices.
    DeviceConnect,
}

/// Rights in the order that Azure lists them in.
const RIGHTS: [(&str, Right); 4] = [
    ("RegistryRead", Right::RegistryRead),
    ("RegistryWrite", Right::RegistryWrite),
    ("ServiceConnect", Right::ServiceConnect),
    ("DeviceConnect", Right::DeviceConnect),
];

/// Several rights, written as Azure does: `RegistryWrite, ServiceConnect`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Rights(Vec<Right>);

impl Rights {
    /// Whether they hold it; the right to write implies that to read.
    pub(crate) fn hold(&self, right: Right) -> bool {
        self.0.contains(&right) || (right == Right::RegistryRead && self.0.contains(&Right::RegistryWrite))
    }
}

impl TryFrom<String> for Rights {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let right = |name: &str| {
            let found = RIGHTS.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name.trim()));
            found.map(|(_, right)| right).ok_or_else(|| {
                let known = RIGHTS.map(|(name, _)| name).join(", ");
                format!("'{}' is no right; there are {known}", name.trim().escape_debug())
            })
        };
        text.split(',').map(right).collect::<Result<_, _>>().map(Self)
    }
}

impl From<Rights> for String {
    fn from(rights: Rights) -> Self {
        rights.to_string()
    }
}

impl std::fmt::Display for Rights {
    /// The right to read is not listed where it is implied.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let writes = self.0.contains(&Right::RegistryWrite);
        let listed = RIGHTS.iter().filter(|(_, right)| self.0.contains(right));
        let listed = listed.filter(|(_, right)| !(writes && *right == Right::RegistryRead));
        f.write_str(&listed.map(|(name, _)| *name).collect::<Vec<_>>().join(", "))
    }
}

/// The shared access policies of a hub. Their keys never show in `Debug`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Policies {
    policies: Vec<Policy>,
}

/// A policy with its two keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Policy {
    pub(crate) name: String,
    pub(crate) primary: Key,
    pub(crate) secondary: Key,
    /// Absent for the policies of a new hub, whose names say what they may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rights: Option<Rights>,
}

const NAMES: [&str; 5] = ["iothubowner", "service", "device", "registryRead", "registryReadWrite"];

impl Policies {
    /// The usual policies with keys from `key`.
    pub(crate) fn make(mut key: impl FnMut() -> Key) -> Self {
        let policy = |name: &str| Policy { name: name.to_owned(), primary: key(), secondary: key(), rights: None };
        Self { policies: NAMES.into_iter().map(policy).collect() }
    }

    /// These and no others.
    pub(crate) fn of(policies: Vec<Policy>) -> Self {
        Self { policies }
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Policy> {
        self.policies.iter()
    }

    /// The policy of that name.
    pub(crate) fn find(&self, name: &str) -> Option<&Policy> {
        self.policies.iter().find(|policy| policy.name == name)
    }
}

impl Policy {
    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Primary, then secondary.
    pub(crate) fn keys(&self) -> [&Key; 2] {
        [&self.primary, &self.secondary]
    }

    /// Whether the policy allows it.
    pub(crate) fn has(&self, right: Right) -> bool {
        self.rights().hold(right)
    }

    /// What it allows.
    pub(crate) fn rights(&self) -> Rights {
        let named = |rights: &[Right]| Rights(rights.to_vec());
        match (&self.rights, self.name.as_str()) {
            (Some(rights), _) => rights.clone(),
            (None, "iothubowner") => named(&RIGHTS.map(|(_, right)| right)),
            (None, "service") => named(&[Right::ServiceConnect]),
            (None, "device") => named(&[Right::DeviceConnect]),
            (None, "registryRead") => named(&[Right::RegistryRead]),
            (None, "registryReadWrite") => named(&[Right::RegistryRead, Right::RegistryWrite]),
            (None, _) => named(&[]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_are_written_as_azure_does() {
        for (text, shown) in [
            ("RegistryWrite, ServiceConnect, DeviceConnect", "RegistryWrite, ServiceConnect, DeviceConnect"),
            ("registryread,RegistryWrite", "RegistryWrite"),
            ("DeviceConnect, ServiceConnect", "ServiceConnect, DeviceConnect"),
        ] {
            assert_eq!(Rights::try_from(text.to_owned()).map(|rights| rights.to_string()), Ok(shown.to_owned()));
        }
        assert!(Rights::try_from("ServiceConnect, Everything".to_owned()).is_err());
        assert!(Rights::try_from(String::new()).is_err());
    }
}
