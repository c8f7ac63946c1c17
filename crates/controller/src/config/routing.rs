//! The hub as a resource of Azure, and a pool's routes there: as written.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::origin::At;

/// Where the hub is in Azure Resource Manager.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct ResourceConfig {
    /// The subscription's id.
    pub subscription: String,
    /// The resource group.
    pub group: String,
    /// The hub's name.
    pub name: String,
    /// The manager's address.
    pub endpoint: String,
}

/// Where the hub is in Azure Resource Manager: for routes. Needs `[hub.identity]`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawResource {
    /// The subscription's id.
    pub(super) subscription: Option<At<String>>,
    /// The resource group.
    pub(super) group: Option<At<String>>,
    /// The hub's name: the first label of its host name.
    pub(super) name: Option<At<String>>,
    /// The manager's address. Default: the one of `hub.cloud`, `https://management.azure.com` in the public one.
    pub(super) endpoint: Option<At<String>>,
}

/// How messages follow the holder: routes of the hub.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRouting {
    /// `standing`: routes ask for the role in the sender's tags and are set up once, by `route apply`. `rules`: routes name the holder, and
    /// the controller rewrites them after each change of holder, which takes Azure minutes. Default: standing.
    pub(super) mode: Option<At<String>>,
    /// The routes.
    #[schemars(length(min = 1))]
    pub(super) route: At<Vec<RawRoute>>,
}

/// One route.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRoute {
    /// Where it leads; `events` is the built-in endpoint.
    pub(super) endpoint: At<String>,
    /// What it takes from: `DeviceMessages`, `TwinChangeEvents`, `DeviceLifecycleEvents`, `DeviceJobLifecycleEvents`,
    /// `DeviceConnectionStateEvents` or `DigitalTwinChangeEvents`. Default: DeviceMessages.
    pub(super) source: Option<At<String>>,
    /// Its name in the hub. Default: `ha-POOL-ENDPOINT`.
    #[schemars(regex(pattern = "^[A-Za-z0-9._-]{1,64}$"))]
    pub(super) name: Option<At<String>>,
    /// What else a message must fulfil, in IoT Hub's language for routes.
    pub(super) condition: Option<At<String>>,
}
