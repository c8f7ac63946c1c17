//! Messages follow the holder: which routes a pool wants in its hub, and what is left to do until they are there.
//!
//! A *standing* route asks for the tag that every change of holder writes anyway; it is set up once. A *rule* names the holder, and the
//! controller rewrites it after each change of holder. Both are kept to by comparing with the hub's resource and changing nothing
//! but the pool's own routes. No clock and no network here.

mod condition;
mod consequence;
mod plan;

use ha_core::ids::{MemberId, PoolName};
use ha_iothub::management::Route;
use serde::Serialize;

pub use self::condition::{CHARS_MAX, belongs, holder, steered_to};
pub use self::consequence::{Consequence, consequences};
pub use self::plan::{Plan, Problem, Step, plan};

/// How a pool's messages follow its holder.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct RoutingConfig {
    /// By which kind of route.
    pub mode: Mode,
    /// The routes.
    pub routes: Vec<RouteConfig>,
}

/// By which kind of route messages follow the holder.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Routes that ask for the role in the sender's twin tags: set up once.
    Standing,
    /// Routes that name the holder: rewritten after each change of holder.
    Rules,
}

/// One route.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct RouteConfig {
    /// Its name in the hub.
    pub name: String,
    /// Where it leads; `events` is the built-in endpoint.
    pub endpoint: String,
    /// What it takes from.
    pub source: String,
    /// What else a message must fulfil.
    pub condition: Option<String>,
}

/// What a route may take from (ARM swagger 2023-06-30, `RoutingSource`, and `DigitalTwinChangeEvents` of later versions).
pub const SOURCES: [&str; 6] = [
    "DeviceMessages",
    "TwinChangeEvents",
    "DeviceLifecycleEvents",
    "DeviceJobLifecycleEvents",
    "DeviceConnectionStateEvents",
    "DigitalTwinChangeEvents",
];

/// Whether a name may be a route's (ARM swagger: `^[A-Za-z0-9-._]{1,64}$`).
pub fn is_route_name(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    (1..=64).contains(&name.len()) && name.chars().all(fits)
}

/// The name of a route that is given none.
pub fn default_name(pool: &PoolName, endpoint: &str) -> String {
    format!("ha-{pool}-{endpoint}")
}

impl RoutingConfig {
    /// The routes as they have to be in the hub. A rule needs somebody who holds.
    pub fn wanted(&self, pool: &PoolName, holder: Option<&MemberId>) -> Option<Vec<Route>> {
        self.routes
            .iter()
            .map(|config| {
                let extra = config.condition.as_deref();
                let condition = match self.mode {
                    Mode::Standing => condition::standing(pool, extra),
                    Mode::Rules => condition::rule(holder?, extra),
                };
                Some(Route {
                    name: config.name.clone(),
                    source: config.source.clone(),
                    condition,
                    endpoint_names: vec![config.endpoint.clone()],
                    is_enabled: true,
                })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests;
