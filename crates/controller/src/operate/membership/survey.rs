//! What is there already, and what is in the way.

use futures_util::future::try_join_all;
use ha_core::ids::MemberId;
use ha_protocol::anchor;
use ha_protocol::twin::{decode_desired, decode_roles};
use ha_wire::Twin;
use serde_json::Value;

use super::releases::{self, Releases};
use super::twin::twin;
use super::{JoinPlan, Problem, Step};
use crate::config::{Members, PoolConfig};
use crate::hub::Error;
use crate::hub::iot::{IotHub, error, routine_call};
use crate::selection::TagCondition;

/// Looks what is missing for `devices` to be members of `pool`. With `create`, devices that do not exist are missing rather than wrong.
pub async fn plan_join(hub: &IotHub, pool: &PoolConfig, devices: &[MemberId], create: bool) -> Result<JoinPlan, Error> {
    let mut plan = place_of_record(hub, pool).await?;
    let releases = releases::of_pool(hub, pool).await?;
    let surveys = devices.iter().map(|member| survey(hub, pool, &releases, member, create));
    for part in try_join_all(surveys).await? {
        plan.steps.extend(part.steps);
        plan.problems.extend(part.problems);
    }
    let given =
        |id: &&String| plan.steps.iter().any(|step| matches!(step, Step::TagRelease { id: tag, .. } if tag == *id));
    let evaluated: Vec<Step> = releases.values().filter(given).cloned().map(Step::Evaluate).collect();
    plan.steps.extend(evaluated);
    Ok(plan)
}

async fn place_of_record(hub: &IotHub, pool: &PoolConfig) -> Result<JoinPlan, Error> {
    let device = anchor::device_id(&pool.name);
    match hub.client().device(&device, &routine_call()).await {
        Ok(found) if found.is_edge() || found.is_enabled() => {
            let reason = "a device that may connect has the name of the pool's record".to_owned();
            let hint = "disable it, or give the pool another name".to_owned();
            Ok(JoinPlan {
                problems: vec![Problem { subject: MemberId::new(device), reason, hint }],
                ..JoinPlan::default()
            })
        }
        Ok(_) => Ok(JoinPlan::default()),
        Err(ha_iothub::Error::NotFound(_)) => {
            Ok(JoinPlan { steps: vec![Step::KeepPlace(pool.name.clone())], ..JoinPlan::default() })
        }
        Err(e) => Err(error(&e)),
    }
}

async fn survey(
    hub: &IotHub,
    pool: &PoolConfig,
    releases: &Releases,
    member: &MemberId,
    create: bool,
) -> Result<JoinPlan, Error> {
    let mut plan = JoinPlan::default();
    let mut complain = |reason: &str, hint: String| {
        plan.problems.push(Problem { subject: member.clone(), reason: reason.to_owned(), hint });
    };
    match hub.client().device(member.as_str(), &routine_call()).await {
        Ok(device) => {
            if !device.is_edge() {
                complain(
                    "it is no IoT Edge device",
                    "set the capability iotEdge of its identity, or make another device".to_owned(),
                );
            }
            if !device.is_enabled() {
                complain(
                    "it is disabled",
                    format!("az iot hub device-identity update --device-id {member} --status enabled"),
                );
            }
        }
        Err(ha_iothub::Error::NotFound(_)) if create => plan.steps.push(Step::CreateDevice(member.clone())),
        Err(ha_iothub::Error::NotFound(_)) => {
            complain("there is no such device in the hub", "check its name, or give --create to make it".to_owned());
        }
        Err(e) => return Err(error(&e)),
    }
    if plan.problems.is_empty() {
        let is_new = !plan.steps.is_empty();
        let twin = if is_new { None } else { twin(hub, member, None).await? };
        let agent = if is_new { None } else { twin_of_agent(hub, pool, member).await? };
        survey_agent(pool, member, agent.as_ref(), &mut plan);
        survey_tags(pool, member, twin.as_ref(), &mut plan);
        let own = twin.map(|twin| releases::of_twin(pool, &twin)).unwrap_or_default();
        for (key, id) in releases.iter().filter(|(key, _)| !own.contains_key(*key)) {
            plan.steps.push(Step::TagRelease { member: member.clone(), key: key.clone(), id: id.clone() });
        }
    }
    Ok(plan)
}

async fn twin_of_agent(hub: &IotHub, pool: &PoolConfig, member: &MemberId) -> Result<Option<Twin>, Error> {
    twin(hub, member, Some(&pool.agent_module)).await
}

fn survey_agent(pool: &PoolConfig, member: &MemberId, twin: Option<&Twin>, plan: &mut JoinPlan) {
    let module = &pool.agent_module;
    let Some(twin) = twin else {
        plan.steps.push(Step::CreateAgent(member.clone(), module.clone()));
        plan.steps.push(Step::InstallKey(member.clone(), module.clone()));
        return;
    };
    let desired = decode_desired(&Value::Object(twin.properties.desired.without_system_fields()));
    match desired.pool {
        Some(other) if other != pool.name => plan.problems.push(Problem {
            subject: member.clone(),
            reason: format!("its module {module} serves the pool {other}"),
            hint: format!(
                "take it out there first (`iotedge-ha leave {other} {member}`), or give this pool an agent_module of its own"
            ),
        }),
        _ if desired.keys.current.is_none() => plan.steps.push(Step::InstallKey(member.clone(), module.clone())),
        _ => {}
    }
}

fn survey_tags(pool: &PoolConfig, member: &MemberId, twin: Option<&Twin>, plan: &mut JoinPlan) {
    let tags = twin.map(|twin| twin.tags.clone()).unwrap_or_default();
    if !decode_roles(&Value::Object(tags.clone())).by_pool.contains_key(&pool.name) {
        plan.steps.push(Step::TagRole(member.clone(), pool.name.clone()));
    }
    let Members::Selected(text) = &pool.members else { return };
    match TagCondition::read(text) {
        Some(condition) if condition.fits(&tags) => {}
        Some(condition) => plan.steps.push(Step::TagSelected(member.clone(), condition.patch())),
        None => plan.problems.push(Problem {
            subject: member.clone(),
            reason: format!("whether it fits the pool's condition cannot be told: {text}"),
            hint: "a condition of tags alone, such as tags.site = 'm1', can; else tag the device by hand".to_owned(),
        }),
    }
}
