//! Takes what made a device a member from it.

use std::time::Duration;

use ha_core::ids::MemberId;
use ha_protocol::twin::{decode_desired, decode_roles, role_patch};
use ha_wire::twin::TwinPatch;
use serde::Serialize;
use serde_json::{Value, json};

use super::twin::twin;
use crate::config::{Members, PoolConfig};
use crate::hub::iot::{IotHub, error, routine_call};
use crate::hub::{Error, Hub};
use crate::selection::TagCondition;

/// How often is looked whether the controller has dropped a member.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What still makes a device a member.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Leftovers {
    /// The pool's record names it as holder.
    pub holds: bool,
    /// The tag that the controller writes for members.
    pub role_tag: bool,
    /// The pool's key and flag in its agent's twin.
    pub key: bool,
    /// The tags that the pool's condition demands.
    pub selected: bool,
}

impl Leftovers {
    /// Whether nothing is left.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// Looks what still makes a device a member.
pub async fn leftovers(hub: &IotHub, pool: &PoolConfig, member: &MemberId) -> Result<Leftovers, Error> {
    let anchor = hub.read_anchor(&pool.name).await?.map(|(anchor, _)| anchor);
    let device = twin(hub, member, None).await?;
    let agent = if device.is_some() { twin(hub, member, Some(&pool.agent_module)).await? } else { None };
    let tags = device.map(|twin| twin.tags).unwrap_or_default();
    let desired = agent.map(|twin| twin.properties.desired.without_system_fields()).unwrap_or_default();
    let selected = match &pool.members {
        Members::Selected(condition) => TagCondition::read(condition).is_some_and(|condition| condition.fits(&tags)),
        Members::Listed(_) => false,
    };
    Ok(Leftovers {
        holds: anchor.is_some_and(|anchor| anchor.holder.as_ref() == Some(member)),
        role_tag: decode_roles(&Value::Object(tags)).by_pool.contains_key(&pool.name),
        key: decode_desired(&Value::Object(desired)).pool.as_ref() == Some(&pool.name),
        selected,
    })
}

/// Makes a device fit the condition of a pool that selects its members no more. Nothing is done for a pool that lists them.
pub async fn withdraw(hub: &IotHub, pool: &PoolConfig, member: &MemberId) -> Result<(), Error> {
    let Members::Selected(text) = &pool.members else { return Ok(()) };
    match TagCondition::read(text) {
        Some(condition) => hub.patch_tags(member, condition.removal()).await,
        None => Err(Error::Refused(format!(
            "no tag can be found in the condition {text} whose removal would take {member} out: remove it by hand"
        ))),
    }
}

/// Waits until the controller in charge counts a device as a member no more: it then clears the role in its tags.
/// At once where no controller has ever run the pool. `false`: not within `timeout`.
pub async fn until_dropped(
    hub: &IotHub,
    pool: &PoolConfig,
    member: &MemberId,
    timeout: Duration,
) -> Result<bool, Error> {
    let dropped = async {
        loop {
            match look(hub, pool, member).await {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(error) if error.is_transient() => {}
                Err(error) => return Err(error),
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    tokio::time::timeout(timeout, dropped).await.map_or(Ok(false), |done: Result<(), Error>| done.map(|()| true))
}

async fn look(hub: &IotHub, pool: &PoolConfig, member: &MemberId) -> Result<bool, Error> {
    if hub.read_anchor(&pool.name).await?.is_none() {
        return Ok(true);
    }
    let left = leftovers(hub, pool, member).await?;
    Ok(!left.holds && !left.role_tag)
}

/// Removes tags, key and flag. The module stays: it is the deployment's, or the host's.
pub async fn forget(hub: &IotHub, pool: &PoolConfig, member: &MemberId) -> Result<(), Error> {
    let Value::Object(tags) = role_patch(&pool.name, None) else { return Ok(()) };
    patch(hub, member, None, &TwinPatch::tags(tags.clone())).await?;
    if let Some(workload) = &pool.workload_module {
        patch(hub, member, Some(workload), &TwinPatch::tags(tags)).await?;
    }
    if leftovers(hub, pool, member).await?.key {
        let Value::Object(desired) = json!({ "ha": null }) else { return Ok(()) };
        patch(hub, member, Some(&pool.agent_module), &TwinPatch::desired(desired)).await?;
    }
    Ok(())
}

/// Who leaves may be gone altogether.
async fn patch(hub: &IotHub, member: &MemberId, module: Option<&str>, patch: &TwinPatch) -> Result<(), Error> {
    match hub.client().patch_twin(member.as_str(), module, patch, None, &routine_call()).await {
        Ok(_) | Err(ha_iothub::Error::NotFound(_)) => Ok(()),
        Err(e) => Err(error(&e)),
    }
}
