//! What the operator asks for: one TOML file, then the environment, then flags.
//!
//! A configuration is taken whole or refused whole. Every refusal names the place, shows the line and
//! says what to try; every value knows where it came from.

pub mod edit;
mod file;
mod gate;
mod hook;
mod identity;
mod listen;
mod origin;
mod overrides;
mod parents;
mod problem;
mod resolve;
mod routing;
mod schema;
mod secret;

use std::path::{Path, PathBuf};

use ha_core::brake::BrakePolicy;
use ha_core::charge::ChargeTimings;
use ha_core::ids::{ControlId, MemberId, PoolName};
use ha_core::policy::Policy;
use ha_core::time::Millis;
use ha_deployment::Ignore;
use ha_iothub::Cloud;
use serde::Serialize;

pub use self::gate::FlagConfig;
pub use self::hook::{Address, HookConfig, HookEvent, HookTarget, OnTimeout, SecretHeader, WebhookConfig};
pub use self::identity::{HubAccess, IdentityConfig, IdentitySource};
pub use self::listen::{ListenConfig, TokenConfig};
pub use self::overrides::{Override, environment, overridable};
pub use self::parents::{CHILDREN_MAX, ParentsConfig};
pub use self::problem::{Problem, Refused};
pub use self::routing::ResourceConfig;
pub use self::schema::config_schema;
pub use self::secret::{SecretMissing, SecretPlace};

use crate::routing::RoutingConfig;

/// Where the connection string is looked for when nothing is said.
pub const CONNECTION_STRING_ENV: &str = "IOTEDGE_HA_CONNECTION_STRING";

/// The agent module's id unless a pool says otherwise.
pub const AGENT_MODULE: &str = "ha-agent";

/// A configuration that can be used.
#[derive(Clone, Debug, Serialize)]
pub struct Config {
    /// The file it was read from.
    pub path: PathBuf,
    /// The hub.
    pub hub: HubConfig,
    /// The controller.
    pub controller: ControllerConfig,
    /// The pools, in the order of the file.
    pub pools: Vec<PoolConfig>,
    /// Each value and where it came from.
    pub settings: Vec<Setting>,
    /// What was given outside the file, to read the file again in the same way.
    #[serde(skip)]
    pub overrides: Vec<Override>,
}

/// How to reach the hub.
#[derive(Clone, Debug, Serialize)]
pub struct HubConfig {
    /// The cloud of Azure it is in.
    pub cloud: Cloud,
    /// What the hub is shown.
    pub access: HubAccess,
    /// Where it is in Azure Resource Manager, if somebody said.
    pub resource: Option<ResourceConfig>,
    /// Certificates to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// The hub's edition: `F1`, `B1` … `B3`, `S1` … `S3`.
    pub sku: String,
    /// How many units of it.
    pub units: u32,
}

/// How this controller behaves.
#[derive(Clone, Debug, Serialize)]
pub struct ControllerConfig {
    /// Its name in records and logs.
    pub name: String,
    /// Where it keeps its store.
    pub state_dir: PathBuf,
    /// The device identity that carries the control lease.
    pub control: ControlId,
    /// The clockwork of the control lease.
    pub charge: ChargeTimings,
    /// When to hold failovers.
    pub brake: BrakePolicy,
    /// Where events are taken.
    pub listen: Option<ListenConfig>,
    /// Decide nothing in any pool; go on renewing.
    pub decisions_off: bool,
    /// How long decisions are kept, in days.
    pub history_days: u32,
}

/// One pool.
#[derive(Clone, Debug, Serialize)]
pub struct PoolConfig {
    /// Its name.
    pub name: PoolName,
    /// Who belongs to it.
    pub members: Members,
    /// The agent's module id on each member.
    pub agent_module: String,
    /// The module that does the work, if it is a module.
    pub workload_module: Option<String>,
    /// How members without an agent are told that they are active; `None`: every member has one.
    pub flag: Option<FlagConfig>,
    /// How messages follow the holder, if by routes of the hub.
    pub routing: Option<RoutingConfig>,
    /// How fast a failover must be, if somebody said.
    pub rto: Option<Millis>,
    /// Whom to ask and to tell, in this order.
    pub hooks: Vec<HookConfig>,
    /// Which leaf devices follow the holder, if any do.
    pub parents: Option<ParentsConfig>,
    /// In which settings of their deployments members are meant to differ.
    pub ignore: Ignore,
    /// The rules.
    pub policy: Policy,
}

/// Who belongs to a pool.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Members {
    /// These, in the order of priority.
    Listed(Vec<MemberId>),
    /// Whoever this query condition finds, in the order of their names.
    Selected(String),
}

/// One value and where it came from.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Setting {
    /// Its key, with dots.
    pub key: String,
    /// Its value.
    pub value: serde_json::Value,
    /// `file:line`, `environment NAME`, `flag` or `default`.
    pub origin: String,
}

/// Reads, overrides and checks the configuration at `path`.
pub fn load(path: &Path, overrides: &[Override]) -> Result<Config, Refused> {
    let text = std::fs::read_to_string(path).map_err(|e| Refused::unreadable(path, &e))?;
    parse(path, &text, overrides)
}

/// Checks a configuration that is already in memory; `path` is for messages and relative paths.
pub fn parse(path: &Path, text: &str, overrides: &[Override]) -> Result<Config, Refused> {
    let config = parse_unfinished(path, text, overrides)?;
    if config.pools.is_empty() {
        return Err(Refused::because(vec![resolve::no_pool(&problem::Source::new(path, text))]));
    }
    Ok(config)
}

/// The same for a configuration that may have no pool yet.
pub fn parse_unfinished(path: &Path, text: &str, overrides: &[Override]) -> Result<Config, Refused> {
    let source = problem::Source::new(path, text);
    let mut raw = file::read(&source)?;
    let mut problems = overrides::apply(&mut raw, overrides);
    let config = resolve::resolve(&source, &raw, &mut problems);
    let config = Config { overrides: overrides.to_vec(), ..config };
    if problems.is_empty() { Ok(config) } else { Err(Refused::because(problems)) }
}

impl Config {
    /// The pool of that name.
    pub fn pool(&self, name: &str) -> Option<&PoolConfig> {
        self.pools.iter().find(|pool| pool.name.as_str() == name)
    }
}

#[cfg(test)]
mod tests;
