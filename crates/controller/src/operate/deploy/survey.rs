//! What the hub has: deployments, and what each member is told.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use ha_core::ids::MemberId;
use ha_deployment::release::{self, Part};
use ha_deployment::{Applied, Member};
use ha_wire::configuration::Configuration;
use serde_json::Value;

use super::labels::Phase;
use super::{DeployError, Release, labels};
use crate::config::PoolConfig;
use crate::hub::iot::{self, IotHub};
use crate::hub::{Error, chain};
use crate::operate::drift::{applied, read_member};
use crate::operate::report::members_of;

/// What the hub has.
#[derive(Debug)]
pub struct Survey {
    pool: String,
    configurations: Vec<Configuration>,
    /// The pool's members, in the order of priority.
    pub members: Vec<MemberId>,
    states: BTreeMap<MemberId, Result<State, String>>,
}

#[derive(Debug)]
struct State {
    /// Our tags on the device, beside role and term.
    tags: BTreeMap<String, String>,
    /// Which deployments apply to it.
    deployments: BTreeMap<String, String>,
}

/// Looks at the deployments and at every member.
///
/// # Errors
/// If the deployments or the list of members cannot be read; what is wrong with a member comes up in [`super::prepare`].
pub async fn survey(hub: &IotHub, pool: &PoolConfig) -> Result<Survey, Error> {
    let configurations = hub.client().configurations(&iot::routine_call()).await.map_err(|e| iot::error(&e))?;
    let members = members_of(hub, pool).await?;
    let states = join_all(members.iter().map(|member| state(hub, pool, member))).await;
    let states = members.iter().cloned().zip(states).collect();
    Ok(Survey { pool: pool.name.to_string(), configurations, members, states })
}

async fn state(hub: &IotHub, pool: &PoolConfig, member: &MemberId) -> Result<State, String> {
    let twin = hub.client().twin(member.as_str(), None, &iot::routine_call()).await;
    let twin = twin.map_err(|error| chain(&iot::error(&error)))?;
    if !twin.capabilities.as_ref().is_some_and(|capabilities| capabilities.iot_edge) {
        return Err("it is no IoT Edge device".to_owned());
    }
    let ours = twin.tags.get("ha").and_then(|ha| ha.get(pool.name.as_str())).and_then(Value::as_object);
    let texts = ours.into_iter().flatten().filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())));
    let tags = texts.collect();
    let read: Result<Member, Error> = read_member(hub, member).await;
    let deployments = read.map_err(|error| chain(&error))?.deployments;
    Ok(State { tags, deployments })
}

impl Survey {
    /// The configuration of that id.
    pub fn configuration(&self, id: &str) -> Option<&Configuration> {
        self.configurations.iter().find(|configuration| configuration.id == id)
    }

    /// The release that a member's tag names.
    pub fn tagged(&self, member: &MemberId, part: &Part) -> Option<&str> {
        let state = self.states.get(member)?.as_ref().ok()?;
        state.tags.get(&part.tag()).map(String::as_str)
    }

    /// What members had before `release`: the first other that a member's tag names.
    pub(super) fn before(&self, release: &Release) -> Option<&str> {
        let mut tagged = self.members.iter().filter_map(|member| self.tagged(member, &release.part));
        tagged.find(|id| *id != release.id())
    }

    /// The release that was rolled out last, and how far it is.
    pub fn rollout(&self, part: &Part) -> Option<(&Configuration, Phase)> {
        let ours =
            self.configurations.iter().filter(|configuration| release::is_of(&configuration.id, &self.pool, part));
        let phases = ours.filter_map(|configuration| Some((configuration, labels::phase(configuration)?)));
        phases.max_by_key(|(configuration, _)| configuration.last_updated_time_utc.map(ha_wire::Timestamp::unix_ms))
    }

    /// The pool's deployments of this part that no member is to run any more, `kept` excepted.
    pub fn superseded(&self, part: &Part, kept: &str) -> Vec<&Configuration> {
        let named: Vec<&str> = self.members.iter().filter_map(|member| self.tagged(member, part)).collect();
        let ours =
            self.configurations.iter().filter(|configuration| release::is_of(&configuration.id, &self.pool, part));
        ours.filter(|configuration| configuration.id != kept && !named.contains(&configuration.id.as_str())).collect()
    }

    /// The pool's other deployments that win over one of this part and priority.
    pub(super) fn layers_over(&self, part: &Part, priority: i64) -> Vec<Applied> {
        let others = self.configurations.iter().filter(|other| {
            let is_other = release::is_of_pool(&other.id, &self.pool) && !release::is_of(&other.id, &self.pool, part);
            is_other && other.priority > priority
        });
        others.filter_map(applied).collect()
    }

    pub(super) fn check_members(&self) -> Result<(), DeployError> {
        let bad: Vec<String> = self
            .states
            .iter()
            .filter_map(|(member, state)| state.as_ref().err().map(|why| format!("{member}: {why}")))
            .collect();
        if bad.is_empty() { Ok(()) } else { Err(DeployError::Members(bad)) }
    }

    /// Of all full deployments that match a device one applies. Ours replace each other by tag; anybody else's must be below.
    pub(super) fn check_priority(&self, id: &str, priority: i64) -> Result<(), DeployError> {
        let foreign = self.configurations.iter().filter(|other| {
            let is_base = other.modules_content().is_some_and(|modules| {
                modules.get(ha_deployment::EDGE_AGENT).is_some_and(|agent| agent.get("properties.desired").is_some())
            });
            is_base
                && other.id != id
                && other.priority > priority
                && !release::is_of(&other.id, &self.pool, &Part::Base)
        });
        for other in foreign {
            let applies = |state: &Result<State, String>| {
                state.as_ref().is_ok_and(|state| state.deployments.contains_key(&other.id))
            };
            let members = self.states.iter().filter(|(_, state)| applies(state)).map(|(member, _)| member.to_string());
            let members: Vec<String> = members.collect();
            if !members.is_empty() {
                return Err(DeployError::Overruled { by: other.id.clone(), priority: other.priority, members });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
impl Survey {
    /// What the hub has, without members.
    pub(super) fn of(pool: &str, configurations: Vec<Configuration>) -> Self {
        Self { pool: pool.to_owned(), configurations, members: Vec::new(), states: BTreeMap::new() }
    }
}
