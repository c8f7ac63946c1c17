//! The reads, writes and calls that a change of a member's key is made of.

use std::time::Duration;

use ha_core::ids::{Epoch, GrantorId};
use ha_core::messages::{Hello, Request};
use ha_core::seen::CallFailure;
use ha_core::time::Millis;
use ha_protocol::key::{KeyRing, MemberKey};
use ha_protocol::twin::decode_desired;
use ha_wire::twin::TwinPatch;
use ha_wire::{ETag, IfMatch, Map};
use serde_json::Value;
use tokio::time::Instant;

use super::errors::error;
use super::keys::serves_another;
use super::{IotHub, routine_call};
use crate::hub::{Error, Seat};

/// The keys in a member's twin, and the version of what was read.
pub(crate) struct KeysRead {
    pub(crate) keys: KeyRing,
    etag: Option<ETag>,
}

impl IotHub {
    /// Reads the keys of a member.
    pub(crate) async fn read_keys(&self, seat: &Seat) -> Result<KeysRead, Error> {
        let (device, module) = (seat.member.as_str(), Some(seat.agent_module.as_str()));
        let twin = self.client.twin(device, module, &routine_call()).await.map_err(|e| error(&e))?;
        let desired = decode_desired(&Value::Object(twin.properties.desired.without_system_fields()));
        match serves_another(seat, &desired) {
            Some(why) => Err(Error::Refused(why)),
            None => Ok(KeysRead { keys: desired.keys, etag: twin.etag }),
        }
    }

    /// Writes keys where they were read. False: the twin has changed meanwhile, or it is not known what became of the write.
    pub(crate) async fn write_keys(&self, seat: &Seat, read: &KeysRead, patch: Value) -> Result<bool, Error> {
        let patch = TwinPatch::desired(if let Value::Object(patch) = patch { patch } else { Map::new() });
        let condition = read.etag.clone().map(IfMatch::Is);
        let (device, module) = (seat.member.as_str(), Some(seat.agent_module.as_str()));
        match self.client.patch_twin(device, module, &patch, condition.as_ref(), &routine_call()).await {
            Ok(_) => Ok(true),
            Err(ha_iothub::Error::PreconditionFailed(_)) => Ok(false),
            Err(e) if e.outcome_unknown() => Ok(false),
            Err(e) => Err(error(&e)),
        }
    }

    /// Whether the agent answers a request that is made with this key. Disturbs nothing.
    pub(crate) async fn takes_key(&self, seat: &Seat, key: &MemberKey, timeout: Millis) -> Result<(), CallFailure> {
        let hello = Hello { grantor: GrantorId::controller(), epoch: Epoch(0), wants_nonce: false };
        let deadline = Instant::now() + Duration::from_millis(timeout.0);
        let answered = self.call_once(seat, key, &Request::Hello(hello), Millis::ZERO, deadline).await;
        answered.map(drop).map_err(Into::into)
    }
}
