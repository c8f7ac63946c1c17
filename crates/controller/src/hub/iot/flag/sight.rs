//! What the twin that holds a flag says.

use std::time::Duration;

use ha_core::flag::FlagRead;
use ha_core::ids::{MemberId, Term};
use ha_core::seen::CallFailure;
use ha_deployment::EDGE_HUB;
use ha_iothub::Error;
use ha_protocol::twin as shape;
use ha_wire::identity::{ConnectionState, Status};
use ha_wire::twin::{Section, TwinPatch};
use ha_wire::{ETag, IfMatch, Map, Twin};
use serde_json::{Value, json};

use super::super::errors::call_failure;
use super::super::evidence;
use super::Asked;
use crate::clock::wall;

/// A member without an agent, as its twins show it.
pub(super) struct Sight {
    pub(super) read: FlagRead,
    /// What the device reports that it does.
    pub(super) reported: Option<bool>,
    connected: bool,
    enabled: bool,
    /// The version of the twin.
    pub(super) version: Option<ETag>,
}

impl Asked<'_> {
    /// `None`: there is no such device or module.
    pub(super) async fn see(&self, member: &MemberId) -> Result<Option<Sight>, CallFailure> {
        match self.client.twin(member.as_str(), self.config.module.as_deref(), &self.call()).await {
            Ok(twin) => Ok(Some(self.sight(&twin))),
            Err(Error::NotFound(_)) => Ok(None),
            Err(error) => Err(call_failure(&error)),
        }
    }

    fn sight(&self, twin: &Twin) -> Sight {
        let (path, desired) = (keys(&self.config.path), &twin.properties.desired);
        let set = at(desired, &path).is_some_and(|value| value == &Value::Bool(true));
        let confirm = self.config.confirm.as_deref().map(keys);
        let reported_at = confirm.as_ref().and_then(|confirm| twin.properties.reported.last_updated(confirm));
        let reported = confirm.as_ref().and_then(|confirm| at(&twin.properties.reported, confirm)?.as_bool());
        // Both instants are the hub's own.
        let newer = reported_at.zip(desired.last_updated(&path)).is_some_and(|(reported, desired)| reported > desired);
        Sight {
            read: FlagRead { set, confirmed: !set && newer && reported == Some(false) },
            reported,
            connected: twin.connection_state == Some(ConnectionState::Connected),
            enabled: twin.status != Some(Status::Disabled),
            version: twin.etag.clone(),
        }
    }

    /// The term in which the member is active by its tags: a flag bears none.
    pub(super) async fn tagged_term(&self) -> Result<Option<Term>, CallFailure> {
        let device = self.seat.member.as_str();
        let twin = self.client.twin(device, None, &self.call()).await.map_err(|error| call_failure(&error))?;
        let tag = shape::decode_roles(&Value::Object(twin.tags)).by_pool.get(&self.seat.pool).copied();
        Ok(tag.filter(|tag| tag.role == shape::Role::Active).map(|tag| tag.term))
    }

    /// Sets the flag over the `version` of the twin that was seen, and tells how the twin is then.
    pub(super) async fn set(&self, member: &MemberId, version: Option<ETag>) -> Result<Sight, Error> {
        let condition = version.map(IfMatch::Is);
        self.write(member, true, condition.as_ref()).await.map(|twin| self.sight(&twin))
    }

    /// Clears the flag, whatever has been written meanwhile.
    pub(super) async fn clear(&self, member: &MemberId) -> Result<(), CallFailure> {
        self.write(member, false, None).await.map(drop).map_err(|error| call_failure(&error))
    }

    async fn write(&self, member: &MemberId, set: bool, condition: Option<&IfMatch>) -> Result<Twin, Error> {
        let patch = self.config.path.iter().rev().fold(json!(set), |value, key| json!({ key: value }));
        let patch = TwinPatch::desired(patch.as_object().cloned().unwrap_or_default());
        self.client.patch_twin(member.as_str(), self.config.module.as_deref(), &patch, condition, &self.call()).await
    }

    /// The link of an IoT Edge device shows at `$edgeHub` alone, and lags; `$edgeAgent` can be asked.
    pub(super) async fn is_connected(&self, sight: &Sight) -> Result<bool, CallFailure> {
        if !sight.enabled {
            return Ok(false);
        }
        if sight.connected {
            return Ok(true);
        }
        let device = self.seat.member.as_str();
        match self.client.twin(device, Some(EDGE_HUB), &self.call()).await {
            Ok(twin) if twin.connection_state == Some(ConnectionState::Connected) => return Ok(true),
            Ok(_) => {}
            Err(Error::NotFound(_)) => return Ok(false),
            Err(error) => return Err(call_failure(&error)),
        }
        Ok(evidence::ping(self.client, device, self.call()).await?.is_ok())
    }

    /// Whether the registry says that the device was disconnected before: a pass on a timer has not watched it. It only hastens a suspicion, so a
    /// wall clock may tell.
    pub(super) async fn is_long_gone(&self, down_after: Duration) -> Result<bool, CallFailure> {
        let device = self.client.device(self.seat.member.as_str(), &self.call()).await.map_err(|e| call_failure(&e))?;
        let Some(changed) = device.connection_state_updated_time.filter(|at| !at.is_never()) else { return Ok(false) };
        let gone_ms = wall().0.saturating_sub(changed.unix_ms());
        let disconnected = device.connection_state == Some(ConnectionState::Disconnected);
        Ok(disconnected && u128::try_from(gone_ms).is_ok_and(|gone| gone >= down_after.as_millis()))
    }
}

fn keys(path: &[String]) -> Vec<&str> {
    path.iter().map(String::as_str).collect()
}

fn at<'a>(section: &'a Section, path: &[&str]) -> Option<&'a Value> {
    let (first, rest) = path.split_first()?;
    rest.iter().try_fold(section.get(first)?, |value, key| value.as_object().and_then(|map: &Map| map.get(*key)))
}
