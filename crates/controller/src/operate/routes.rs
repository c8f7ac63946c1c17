//! A pool's routes, for an operator: what is there, what is left to do, what would be routed.

use ha_core::ids::MemberId;
use ha_iothub::management::{self, Changed, Fallback, Hub as Resource, Management, Progress, Route};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::report::members_of;
use crate::config::PoolConfig;
use crate::hub::iot::{IotHub, error};
use crate::hub::{Error as HubError, Hub as _};
use crate::routing::{Consequence, Mode, Plan, Problem, RoutingConfig, consequences, plan};

/// Why a pool's routes cannot be seen or set.
#[derive(Debug, thiserror::Error)]
pub enum RouteError {
    /// The pool has no routes configured.
    #[error("the pool {0} has no routing configured")]
    NotConfigured(String),
    /// Rules name the holder, and there is none.
    #[error("nobody holds the pool {0}, and its routes name the holder")]
    NobodyHolds(String),
    /// The routes cannot be set like this.
    #[error(transparent)]
    Problem(#[from] Problem),
    /// Azure says that a condition does not compile.
    #[error("the condition of the route {route} does not compile: {}", problems.join("; "))]
    Condition {
        /// Which route.
        route: String,
        /// What Azure says.
        problems: Vec<String>,
    },
    /// Azure Resource Manager refuses, or is out of reach.
    #[error("the routes are out of reach")]
    Management(#[from] management::Error),
    /// The hub refuses, or is out of reach.
    #[error(transparent)]
    Hub(#[from] HubError),
}

/// A pool's routes, wanted and real.
#[derive(Clone, Debug)]
pub struct Look {
    /// By which kind of route messages follow the holder.
    pub mode: Mode,
    /// Who holds, by the pool's record.
    pub holder: Option<MemberId>,
    /// The routes as they have to be.
    pub wanted: Vec<Route>,
    /// The hub's resource.
    pub resource: Resource,
}

impl Look {
    /// What is left to do.
    pub fn plan(&self, pool: &PoolConfig, adopt: bool) -> Result<Plan, Problem> {
        plan(&self.resource, &pool.name, &self.wanted, adopt)
    }

    /// Whether all is as wanted and no write goes on.
    pub fn in_force(&self, pool: &PoolConfig) -> bool {
        self.resource.is_settled() && self.plan(pool, false).is_ok_and(|plan| plan.is_empty())
    }

    /// What follows from the routes and is easily overlooked.
    pub fn consequences(&self) -> Vec<Consequence> {
        consequences(&self.resource, &self.wanted)
    }
}

/// Reads record and resource.
pub async fn look(
    hub: &IotHub,
    management: &Management,
    pool: &PoolConfig,
    until: Instant,
) -> Result<Look, RouteError> {
    let routing = configured(pool)?;
    let holder = hub.read_anchor(&pool.name).await?.and_then(|(anchor, _)| anchor.holder);
    let nobody = || RouteError::NobodyHolds(pool.name.to_string());
    let wanted = routing.wanted(&pool.name, holder.as_ref()).ok_or_else(nobody)?;
    let resource = management.get(until).await?;
    Ok(Look { mode: routing.mode, holder, wanted, resource })
}

fn configured(pool: &PoolConfig) -> Result<&RoutingConfig, RouteError> {
    pool.routing.as_ref().ok_or_else(|| RouteError::NotConfigured(pool.name.to_string()))
}

/// Lets Azure compile the conditions that would be written. Changes nothing.
pub async fn compile(management: &Management, plan: &Plan, until: Instant) -> Result<(), RouteError> {
    for route in plan.steps.iter().filter_map(|step| step.after.as_ref()) {
        let trial = management.try_route(route, &json!({"body": ""}), &json!({}), until).await?;
        if !trial.problems.is_empty() {
            return Err(RouteError::Condition { route: route.name.clone(), problems: trial.problems });
        }
    }
    Ok(())
}

/// How routes are set.
#[derive(Clone, Copy, Debug, Default)]
pub struct Setting {
    /// Take over routes of our names whoever made them.
    pub adopt: bool,
    /// Turn the fallback route on or off in the same write.
    pub fallback: Option<Fallback>,
}

/// Sets the routes that `look` wants, and sees the write to its end.
pub async fn apply(
    management: &Management,
    pool: &PoolConfig,
    look: &Look,
    setting: Setting,
    until: Instant,
    told: &(dyn Fn(Progress) + Sync),
) -> Result<Changed, RouteError> {
    let edit = |resource: &mut Resource| -> Result<(), RouteError> {
        plan(resource, &pool.name, &look.wanted, setting.adopt)?.apply(resource);
        if let Some(fallback) = setting.fallback {
            resource.set_fallback(fallback);
        }
        Ok(())
    };
    management.change(until, edit, told).await
}

/// What becomes of a sample message of one member.
#[derive(Clone, Debug, Serialize)]
pub struct Trial {
    /// Whose message.
    pub member: MemberId,
    /// The module that sends it; `None`: the device itself.
    pub module: Option<String>,
    /// Its role, by the tags that routes see.
    pub role: Option<String>,
    /// The pool's routes that would take it.
    pub taken_by: Vec<String>,
    /// Whether that is as it should be: by all of them if it is the holder's, else by none.
    pub as_wanted: bool,
}

/// Tries the hub's routes in force with a message of each member, with the twin that it has at this moment.
///
/// `sample` is a message as ARM's schema has it; who sends it is filled in.
pub async fn try_members(
    hub: &IotHub,
    management: &Management,
    pool: &PoolConfig,
    look: &Look,
    sample: &Value,
    until: Instant,
) -> Result<Vec<Trial>, RouteError> {
    let mut trials = Vec::new();
    for member in members_of(hub, pool).await? {
        let module = pool.workload_module.as_deref();
        let call = ha_iothub::Call::until(until);
        let twin = hub.client().twin(member.as_str(), module, &call).await.map_err(|e| error(&e))?;
        let tags = Value::Object(twin.tags.clone());
        let role = tags["ha"][pool.name.as_str()]["role"].as_str().map(str::to_owned);
        let sender = json!({ "tags": tags, "properties": {
            "desired": twin.properties.desired.without_system_fields(),
            "reported": twin.properties.reported.without_system_fields(),
        }});
        let mut message = sample.clone();
        message["systemProperties"]["connectionDeviceId"] = json!(member.as_str());
        if let Some(module) = module {
            message["systemProperties"]["connectionModuleId"] = json!(module);
        }
        let names = management.matching("DeviceMessages", &message, &sender, until).await?;
        let ours: Vec<&Route> = look.wanted.iter().filter(|route| route.source == "DeviceMessages").collect();
        let ours_take = |name: &String| ours.iter().any(|route| route.name.eq_ignore_ascii_case(name));
        let taken_by: Vec<String> = names.into_iter().filter(ours_take).collect();
        let holds = look.holder.as_ref() == Some(&member);
        let as_wanted = taken_by.len() == if holds { ours.len() } else { 0 };
        trials.push(Trial { member, module: module.map(str::to_owned), role, taken_by, as_wanted });
    }
    Ok(trials)
}
