//! The members' keys: in the agent modules' twins, made here when they are missing.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ha_core::seen::CallFailure;
use ha_iothub::Client;
use ha_protocol::key::MemberKey;
use ha_protocol::twin::{Desired, decode_desired, install_patch};
use ha_wire::twin::TwinPatch;
use ha_wire::{IfMatch, Twin};
use serde_json::Value;

use super::errors::call_failure;
use super::record_call;
use crate::hub::{Seat, chain};

/// What to do where there is no key yet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    /// Make one.
    Install,
    /// Leave it to the controller.
    Fail,
}

#[derive(Default)]
pub(super) struct Keys {
    known: Mutex<HashMap<Seat, MemberKey>>,
}

impl Keys {
    /// The key of a member.
    pub(super) async fn of(&self, client: &Client, seat: &Seat, missing: Missing) -> Result<MemberKey, CallFailure> {
        if let Some(key) = self.lock().get(seat) {
            return Ok(key.clone());
        }
        let key = match read_or_install(client, seat, missing).await? {
            Some(key) => key,
            // Somebody else wrote between our read and our write: what is there by then counts.
            None => read_or_install(client, seat, missing).await?.ok_or(CallFailure::TimedOut)?,
        };
        self.lock().insert(seat.clone(), key.clone());
        Ok(key)
    }

    /// The agent did not take the key: it may have been changed in the twin.
    pub(super) fn forget(&self, seat: &Seat) {
        self.lock().remove(seat);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Seat, MemberKey>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `None`: the twin has changed meanwhile.
async fn read_or_install(client: &Client, seat: &Seat, missing: Missing) -> Result<Option<MemberKey>, CallFailure> {
    let (device, module) = (seat.member.as_str(), Some(seat.agent_module.as_str()));
    let twin = client.twin(device, module, &record_call()).await.map_err(|e| call_failure(&e))?;
    let desired = Value::Object(twin.properties.desired.without_system_fields());
    let read = decode_desired(&desired);
    if let Some(why) = serves_another(seat, &read) {
        return Err(CallFailure::Rejected(why));
    }
    match (read.keys.current, missing) {
        (Some(key), _) => Ok(Some(key)),
        (None, Missing::Fail) => {
            Err(CallFailure::Rejected("no key has been installed yet: a running controller does it".to_owned()))
        }
        (None, Missing::Install) => install(client, seat, &twin, &desired, &read.settings).await,
    }
}

/// Why this twin is none of ours, if it says that it belongs to another pool.
pub(super) fn serves_another(seat: &Seat, read: &Desired) -> Option<String> {
    let other = read.pool.as_ref().filter(|pool| **pool != seat.pool)?;
    Some(format!(
        "the twin of {} says that it serves the pool {other}: remove the key ha from its desired properties to let it serve {}",
        seat.agent_module, seat.pool
    ))
}

async fn install(
    client: &Client,
    seat: &Seat,
    twin: &Twin,
    desired: &Value,
    settings: &ha_wire::Map,
) -> Result<Option<MemberKey>, CallFailure> {
    let key = MemberKey::from_bytes(rand::random());
    let bad = |e: ha_protocol::Error| CallFailure::Rejected(chain(&e));
    let Value::Object(patch) = install_patch(desired, &seat.pool, &key, settings).map_err(bad)? else {
        return Err(CallFailure::Rejected("a key cannot be written".to_owned()));
    };
    let condition = twin.etag.clone().map(IfMatch::Is);
    let (device, module) = (seat.member.as_str(), Some(seat.agent_module.as_str()));
    let patch = TwinPatch::desired(patch);
    match client.patch_twin(device, module, &patch, condition.as_ref(), &record_call()).await {
        Ok(_) => {
            tracing::info!(pool = %seat.pool, member = %seat.member, "a new key has been installed");
            Ok(Some(key))
        }
        Err(e) if e.outcome_unknown() => Ok(None),
        Err(ha_iothub::Error::PreconditionFailed(_)) => Ok(None),
        Err(e) => Err(call_failure(&e)),
    }
}
