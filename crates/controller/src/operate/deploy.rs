//! Brings a release to the members of a pool.
//!
//! A release is an automatic deployment whose target condition asks for one tag: `tags.ha.POOL.release`, which names the release that
//! a member is to run. The tags of the members are therefore all the state that a roll-out has; whoever resumes it reads them.

mod follow;
mod labels;
mod rolling;
mod steps;
mod survey;
mod trial;

use ha_core::ids::MemberId;
use ha_deployment::release::{self, Part};
use ha_deployment::{Applied, Manifest, manifest};
use ha_wire::configuration::{Configuration, ConfigurationContent, ConfigurationMetrics};
use ha_wire::{ErrorCode, Map};
use serde::Serialize;
use serde_json::{Value, json};

pub use self::follow::{Progress, follow};
pub use self::labels::Phase;
pub use self::rolling::{Rolling, Stopped, roll};
pub use self::steps::{Step, carry_out, evaluate, prune, rolling_steps, steps};
pub use self::survey::{Survey, survey};
use crate::config::PoolConfig;
use crate::hub::Error;

/// The priority of a release that nobody has given one.
pub const PRIORITY: i64 = 10;

/// What is to be deployed.
#[derive(Clone, Debug)]
pub struct Order {
    /// The content.
    pub manifest: Manifest,
    /// All that members run, or a layer over it.
    pub part: Part,
    /// What tells the release apart; its content's digest if not said.
    pub name: Option<String>,
    /// Of two deployments that apply, the one with the larger number wins.
    pub priority: i64,
}

/// A release of the pool, and how far it is from being what the hub has.
#[derive(Clone, Debug)]
pub struct Release {
    /// The configuration as it is, or is to be made.
    pub configuration: Configuration,
    /// Its content, read.
    pub manifest: Manifest,
    /// All that members run, or a layer over it.
    pub part: Part,
    /// Whether the hub has it already.
    pub exists: bool,
    /// Those of the pool's other deployments that win over it where they say something.
    pub layers: Vec<Applied>,
}

/// Something that happened on the way.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum Event {
    /// A call was made.
    Made {
        /// Which.
        step: String,
    },
    /// A member is on its way.
    Waiting {
        /// Who.
        member: MemberId,
        /// What for.
        said: String,
    },
    /// A member runs the release.
    Runs {
        /// Who.
        member: MemberId,
    },
    /// A member runs the release and could hold; it is watched for a while.
    Settling {
        /// Who.
        member: MemberId,
        /// For how long, in seconds.
        settle_s: u64,
    },
    /// The work is being handed over.
    Switching {
        /// From whom.
        from: MemberId,
        /// To whom.
        to: MemberId,
        /// What the request waits for; `None`: it has just been made.
        said: Option<String>,
    },
    /// The work has been handed over.
    Switched {
        /// To whom.
        holder: MemberId,
        /// In which term.
        term: u64,
    },
}

/// Why nothing is deployed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeployError {
    /// The hub does not work.
    #[error(transparent)]
    Hub(#[from] Error),
    /// The hub has room for no more deployments.
    #[error("IoT Hub has as many deployments as it takes (100, on the free tier 10)")]
    Full,
    /// The content would harm an agent.
    #[error("the manifest would overwrite what the controller writes into the agent's twin\n{0}")]
    Flag(ha_deployment::Error),
    /// A full manifest was given as a layer, or the other way round.
    #[error("the manifest is {}, and was to be {}", word(*.0), word(other(*.0)))]
    Kind(manifest::Kind),
    /// The name cannot be one.
    #[error("{0:?} cannot name a release or a layer")]
    Name(String),
    /// Members cannot be deployed to.
    #[error("{} cannot be deployed to: {}", if .0.len() == 1 { "a member" } else { "members" }, .0.join("; "))]
    Members(Vec<String>),
    /// A configuration of that id has other content, and content cannot be changed.
    #[error("there is a deployment {0} already, with other content")]
    Taken(String),
    /// Another deployment would win.
    #[error("{by} (priority {priority}) applies to {} and would win", .members.join(", "))]
    Overruled {
        /// The other deployment.
        by: String,
        /// Its priority.
        priority: i64,
        /// Whom it applies to.
        members: Vec<String>,
    },
    /// There is nothing to go on with, or to go back to.
    #[error("{0}")]
    NoRollout(String),
    /// The release is no deployment that can be read.
    #[error("the deployment {id} cannot be read\n{source}")]
    Unreadable {
        /// Which.
        id: String,
        /// What is wrong with it.
        source: ha_deployment::Error,
    },
}

fn word(kind: manifest::Kind) -> &'static str {
    match kind {
        manifest::Kind::Full => "full",
        manifest::Kind::Layered => "layered",
    }
}

fn other(kind: manifest::Kind) -> manifest::Kind {
    match kind {
        manifest::Kind::Full => manifest::Kind::Layered,
        manifest::Kind::Layered => manifest::Kind::Full,
    }
}

impl DeployError {
    pub(super) fn of(error: &ha_iothub::Error) -> Self {
        match error.code() {
            Some(ErrorCode::ConfigurationCountLimitExceeded) => Self::Full,
            _ => Self::Hub(crate::hub::iot::error(error)),
        }
    }

    /// What to try.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Hub(_) => return None,
            Self::Full => {
                "delete what nobody needs; `deploy --prune` deletes the pool's superseded ones after a success"
            }
            Self::Flag(_) => "leave the agent's twin out of the manifest",
            Self::Kind(manifest::Kind::Layered) => {
                "give --layered, or add what makes it full: the runtime and system modules"
            }
            Self::Kind(manifest::Kind::Full) => {
                "leave --layered out, or keep only keys like properties.desired.modules.NAME"
            }
            Self::Name(_) => "use 1 to 32 of a-z, 0-9 and _",
            Self::Members(_) => "make the devices IoT Edge devices, or take them out of the pool",
            Self::Taken(_) => "leave --id out, or choose another: a new content is a new deployment",
            Self::Overruled { .. } => {
                "give a larger --priority, or take the members out of the other's target condition"
            }
            Self::NoRollout(_) => "give the manifest: `iotedge-ha deploy POOL MANIFEST --rolling`",
            Self::Unreadable { .. } => "give the manifest instead",
        })
    }
}

/// What is to be done for `order`, without doing any of it.
///
/// # Errors
/// If it cannot be done, or would do harm.
pub fn prepare(order: Order, survey: &Survey, pool: &PoolConfig) -> Result<Release, DeployError> {
    let is_layer = matches!(order.part, Part::Layer(_));
    if is_layer != (order.manifest.kind() == manifest::Kind::Layered) {
        return Err(DeployError::Kind(order.manifest.kind()));
    }
    for name in order.name.iter().chain(layer_name(&order.part)) {
        if !release::is_name(name) {
            return Err(DeployError::Name(name.clone()));
        }
    }
    order.manifest.spare(&[&pool.agent_module]).map_err(DeployError::Flag)?;
    survey.check_members()?;
    let name = order.name.clone().unwrap_or_else(|| release::name(order.manifest.digest()));
    let id = release::id(pool.name.as_str(), &order.part, &name);
    let found = survey.configuration(&id);
    if let Some(found) = found {
        let content = found.modules_content().map(|modules| json!(modules));
        if content.as_ref().map(ha_deployment::Digest::of) != Some(order.manifest.digest()) {
            return Err(DeployError::Taken(id));
        }
    }
    let configuration = found.cloned().unwrap_or_else(|| configuration(&id, &order, pool));
    if !is_layer {
        survey.check_priority(&id, configuration.priority)?;
    }
    let layers = survey.layers_over(&order.part, configuration.priority);
    Ok(Release { configuration, manifest: order.manifest, part: order.part, exists: found.is_some(), layers })
}

/// A release that the hub has.
///
/// # Errors
/// If it has none of that id, or one that cannot be read.
pub fn existing(id: &str, part: Part, survey: &Survey) -> Result<Release, DeployError> {
    let found = survey.configuration(id);
    let found = found.ok_or_else(|| DeployError::NoRollout(format!("there is no deployment {id} any more")))?;
    let content = json!({ "modulesContent": found.modules_content() });
    let manifest =
        Manifest::from_content(&content).map_err(|source| DeployError::Unreadable { id: id.to_owned(), source })?;
    let layers = survey.layers_over(&part, found.priority);
    Ok(Release { configuration: found.clone(), manifest, part, exists: true, layers })
}

/// A roll-out that goes on.
#[derive(Clone, Debug)]
pub struct Rollout {
    /// What members are to run.
    pub release: Release,
    /// Whether they had it before, and are being taken back to it.
    pub is_way_back: bool,
}

/// The pool's last roll-out, to go on with; with `back`, the way back to what its members had before. A way back that has been begun is
/// gone on with in either case.
///
/// # Errors
/// If nothing was rolled out, or there is nothing to go on with or back to.
pub fn rollout(survey: &Survey, part: Part, back: bool) -> Result<Rollout, DeployError> {
    let nothing = |why: String| Err(DeployError::NoRollout(why));
    let Some((last, phase)) = survey.rollout(&part) else {
        return nothing("no release of the pool was rolled out member by member".to_owned());
    };
    let id = &last.id;
    let (id, is_way_back) = match (phase, back) {
        (Phase::RollingBack, _) => (id.as_str(), true),
        (Phase::RolledBack, true) => return nothing(format!("the members have been taken back to {id} already")),
        (Phase::Rolling | Phase::Stopped, false) => (id.as_str(), false),
        (Phase::Done | Phase::RolledBack, false) => {
            return nothing(format!("the roll-out of {id} is over: there is nothing to resume"));
        }
        (Phase::Rolling | Phase::Stopped | Phase::Done, true) => match labels::before(last) {
            Some(before) => (before, true),
            None => {
                let why = "the members had no release of the pool: there is none to go back to";
                return nothing(format!("before {id} {why}"));
            }
        },
    };
    Ok(Rollout { release: existing(id, part, survey)?, is_way_back })
}

fn layer_name(part: &Part) -> Option<&String> {
    match part {
        Part::Base => None,
        Part::Layer(name) => Some(name),
    }
}

fn configuration(id: &str, order: &Order, pool: &PoolConfig) -> Configuration {
    let name = pool.name.as_str();
    let content = ConfigurationContent {
        modules_content: Some(order.manifest.modules_content().clone()),
        ..ConfigurationContent::default()
    };
    Configuration {
        id: id.to_owned(),
        schema_version: None,
        labels: Some(labels::new(name, &order.manifest)),
        content: Some(content),
        target_condition: Some(release::target_condition(name, &order.part, id)),
        created_time_utc: None,
        last_updated_time_utc: None,
        priority: order.priority,
        system_metrics: None,
        metrics: Some(metrics(id, order, pool)),
        etag: None,
        other: Map::new(),
    }
}

/// Beside what the hub counts itself: whom the pool means, who of them is active, and where the agent runs.
fn metrics(id: &str, order: &Order, pool: &PoolConfig) -> ConfigurationMetrics {
    let target = release::target_condition(pool.name.as_str(), &order.part, id);
    let (name, agent) = (&pool.name, &pool.agent_module);
    let queries = json!({
        "ha_members": format!("SELECT deviceId FROM devices WHERE {target}"),
        "ha_active": format!("SELECT deviceId FROM devices WHERE {target} AND tags.ha.{name}.role = 'active'"),
        "ha_agents": format!(
            "SELECT deviceId FROM devices.modules WHERE moduleId = '$edgeAgent' AND configurations.[[{id}]].status = 'Applied' \
             AND properties.reported.modules.[[{agent}]].runtimeStatus = 'running'"
        ),
    });
    ConfigurationMetrics { results: None, queries: queries.as_object().cloned() }
}

impl Release {
    /// The id of its configuration.
    pub fn id(&self) -> &str {
        &self.configuration.id
    }

    /// The tag that names it on its members, as a patch; `None` takes it away.
    fn tag(&self, pool: &str, id: Option<&str>) -> Map {
        let patch = json!({ "ha": { pool: { self.part.tag(): id } } });
        match patch {
            Value::Object(patch) => patch,
            _ => Map::new(),
        }
    }
}

#[cfg(test)]
mod tests;
