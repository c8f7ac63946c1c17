//! Which releases of the pool a newcomer is to run.

use std::collections::BTreeMap;

use futures_util::future::try_join_all;
use ha_core::ids::MemberId;
use ha_deployment::release::is_of_pool;
use ha_wire::{Map, Twin};
use serde_json::Value;

use super::twin::twin;
use crate::config::PoolConfig;
use crate::hub::iot::IotHub;
use crate::hub::{Error, Hub as _};
use crate::operate::report::members_of;

/// Tags that name releases, by their keys beside a member's role.
pub(super) type Releases = BTreeMap<String, String>;

/// What a new member of the pool is to run: what the holder does, for what the holder has been told is at work; else what the first of the others
/// does. A roll-out that is under way brings it the next release like all others.
pub(super) async fn of_pool(hub: &IotHub, pool: &PoolConfig) -> Result<Releases, Error> {
    let holder = hub.read_anchor(&pool.name).await?.and_then(|(anchor, _)| anchor.holder);
    let mut members = members_of(hub, pool).await?;
    members.sort_by_key(|member| Some(member) != holder.as_ref());
    let twins = try_join_all(members.iter().map(|member: &MemberId| twin(hub, member, None))).await?;
    let mut releases = Releases::new();
    for twin in twins.iter().flatten() {
        for (key, id) in of_twin(pool, twin) {
            releases.entry(key).or_insert(id);
        }
    }
    Ok(releases)
}

/// What a member's tags name.
pub(super) fn of_twin(pool: &PoolConfig, twin: &Twin) -> Releases {
    let name = pool.name.as_str();
    let ours = twin.tags.get("ha").and_then(|ha| ha.get(name)).and_then(Value::as_object);
    let texts = ours.into_iter().flat_map(Map::iter).filter_map(|(key, value)| Some((key, value.as_str()?)));
    let named = texts.filter(|(_, id)| is_of_pool(id, name));
    named.map(|(key, id)| (key.clone(), id.to_owned())).collect()
}
