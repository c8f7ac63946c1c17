use std::fmt;

use serde::{Deserialize, Serialize};

/// Who speaks through this device: one of its modules, or a leaf device behind it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Id {
    /// The device.
    pub device: String,
    /// The module, if it is a module's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module: Option<String>,
}

impl Id {
    /// A module's.
    pub fn module(device: impl Into<String>, module: impl Into<String>) -> Self {
        Self { device: device.into(), module: Some(module.into()) }
    }

    /// A device's.
    pub fn device(device: impl Into<String>) -> Self {
        Self { device: device.into(), module: None }
    }

    /// As in tokens and module methods: `devices/{device}[/modules/{module}]`.
    pub(crate) fn path(&self) -> Vec<&str> {
        let mut path = vec!["devices", self.device.as_str()];
        path.extend(self.module.iter().flat_map(|module| ["modules", module.as_str()]));
        path
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.module {
            Some(module) => write!(f, "{}/{module}", self.device),
            None => f.write_str(&self.device),
        }
    }
}
