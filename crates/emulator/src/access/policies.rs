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

/// The five policies of a new hub. Their keys never show in `Debug`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Policies {
    policies: Vec<Policy>,
}

/// A policy with its two keys.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Policy {
    name: String,
    primary: Key,
    secondary: Key,
}

const NAMES: [&str; 5] = ["iothubowner", "service", "device", "registryRead", "registryReadWrite"];

impl Policies {
    /// The usual policies with keys from `key`.
    pub(crate) fn make(mut key: impl FnMut() -> Key) -> Self {
        let policy = |name: &str| Policy { name: name.to_owned(), primary: key(), secondary: key() };
        Self { policies: NAMES.into_iter().map(policy).collect() }
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
    pub(crate) fn keys(&self) -> Vec<&Key> {
        vec![&self.primary, &self.secondary]
    }

    /// Whether the policy allows it.
    pub(crate) fn has(&self, right: Right) -> bool {
        match self.name.as_str() {
            "iothubowner" => true,
            "service" => right == Right::ServiceConnect,
            "device" => right == Right::DeviceConnect,
            "registryRead" => right == Right::RegistryRead,
            "registryReadWrite" => matches!(right, Right::RegistryRead | Right::RegistryWrite),
            _ => false,
        }
    }
}
