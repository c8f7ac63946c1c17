//! Flag and tags: for people, queries and routes. Written only where they differ.

use ha_core::holder::Flag;
use ha_core::pool::{Mirror, Role};
use ha_iothub::Client;
use ha_protocol::twin::{self as shape, RoleTag};
use ha_wire::twin::{PropertiesPatch, TwinPatch};
use ha_wire::{Map, Twin};
use serde_json::Value;

use super::errors::error;
use super::routine_call;
use crate::hub::{Error, Seat};

/// Writes flag and tags of a member.
pub(super) async fn write(client: &Client, seat: &Seat, mirror: &Mirror) -> Result<(), Error> {
    // The flag first: it alone can do something on the member, and that is to close its gate.
    let flag = match seat.told_by_flag() {
        Some(_) => Ok(()),
        None => write_agent(client, seat, mirror).await,
    };
    let tags = write_role(client, seat, None, mirror).await;
    let workload = match &seat.workload_module {
        Some(workload) => write_role(client, seat, Some(workload), mirror).await,
        None => Ok(()),
    };
    forgive_absence(flag, mirror).and(forgive_absence(tags, mirror)).and(forgive_absence(workload, mirror))
}

/// Who is no member any more may be gone altogether.
fn forgive_absence(result: Result<(), Error>, mirror: &Mirror) -> Result<(), Error> {
    match result {
        Err(Error::NotFound(_)) if mirror.role == Role::Removed => Ok(()),
        other => other,
    }
}

/// Flag and role in one write: routes judge what the agent sends for the workload by the agent's own tags.
async fn write_agent(client: &Client, seat: &Seat, mirror: &Mirror) -> Result<(), Error> {
    let module = Some(seat.agent_module.as_str());
    let twin = read(client, seat, module).await?;
    let desired = shape::decode_desired(&Value::Object(twin.properties.desired.without_system_fields()));
    let flag = Flag { active: mirror.active, term: mirror.term };
    let patch = TwinPatch {
        tags: role_change(&twin, seat, mirror),
        properties: (desired.flag != Some(flag))
            .then(|| PropertiesPatch { desired: Some(object(shape::flag_patch(&seat.pool, flag))) }),
    };
    if patch == TwinPatch::default() {
        return Ok(());
    }
    patch_twin(client, seat, module, &patch).await
}

async fn write_role(client: &Client, seat: &Seat, module: Option<&str>, mirror: &Mirror) -> Result<(), Error> {
    let twin = read(client, seat, module).await?;
    match role_change(&twin, seat, mirror) {
        Some(tags) => patch_twin(client, seat, module, &TwinPatch::tags(tags)).await,
        None => Ok(()),
    }
}

/// What has to change in the tags of a twin, if anything has to.
fn role_change(twin: &Twin, seat: &Seat, mirror: &Mirror) -> Option<Map> {
    let tag = role(mirror.role).map(|role| RoleTag { role, term: mirror.term });
    let roles = shape::decode_roles(&Value::Object(twin.tags.clone()));
    let same = roles.nonsense.is_empty() && roles.by_pool.get(&seat.pool).copied() == tag;
    (!same).then(|| object(shape::role_patch(&seat.pool, tag)))
}

fn role(role: Role) -> Option<shape::Role> {
    match role {
        Role::Active => Some(shape::Role::Active),
        Role::Standby => Some(shape::Role::Standby),
        Role::Maintenance => Some(shape::Role::Maintenance),
        Role::Removed => None,
    }
}

async fn read(client: &Client, seat: &Seat, module: Option<&str>) -> Result<Twin, Error> {
    client.twin(seat.member.as_str(), module, &routine_call()).await.map_err(|e| error(&e))
}

async fn patch_twin(client: &Client, seat: &Seat, module: Option<&str>, patch: &TwinPatch) -> Result<(), Error> {
    let done = client.patch_twin(seat.member.as_str(), module, patch, None, &routine_call()).await;
    done.map(drop).map_err(|e| error(&e))
}

fn object(value: Value) -> Map {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}
