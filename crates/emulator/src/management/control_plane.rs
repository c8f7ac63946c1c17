//! Where the hub is in Azure's order of things, and how slow that is.

use std::time::Duration;

/// How the control plane shows the hub, and how slow it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlPlane {
    /// The subscription's id.
    pub subscription: String,
    /// The resource group.
    pub resource_group: String,
    /// The hub's name. Default: the first label of its first host name, else `emulator`.
    pub hub: Option<String>,
    /// Its region.
    pub location: String,
    /// How long a write takes. In Azure: minutes.
    pub takes: Duration,
    /// What `Retry-After` says to those who wait. Azure says 15.
    pub retry_after_s: u64,
}

impl ControlPlane {
    /// Takes the name of a region.
    ///
    /// # Errors
    /// When it is no name.
    pub fn region(text: &str) -> Result<String, String> {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, ' ' | '-');
        let named = text.trim() == text && (1..=64).contains(&text.len()) && text.chars().all(fits);
        match named {
            true => Ok(text.to_owned()),
            false => Err(format!("'{}' is no region; one is such as westeurope or 'West US'", text.escape_debug())),
        }
    }
}

impl Default for ControlPlane {
    fn default() -> Self {
        Self {
            subscription: "00000000-0000-0000-0000-000000000000".to_owned(),
            resource_group: "emulator".to_owned(),
            hub: None,
            location: "local".to_owned(),
            takes: Duration::from_secs(2),
            retry_after_s: 1,
        }
    }
}

/// The region that a failover leads to.
pub(crate) const PAIRED_LOCATION: &str = "local paired";

/// `West US` and `westus` are one.
pub(crate) fn same_region(left: &str, right: &str) -> bool {
    let bare = |text: &str| text.replace(' ', "").to_ascii_lowercase();
    bare(left) == bare(right)
}
