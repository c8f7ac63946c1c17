//! Changes members' keys while their leases go on; see [`ha_protocol::rotation`] for the order of the writes.
//!
//! Needs no controller: it is the twins that change. A change that was broken off is finished by the next one.

use std::time::Duration;

use ha_core::ids::MemberId;
use ha_core::seen::CallFailure;
use ha_core::time::Millis;
use ha_protocol::key::MemberKey;
use ha_protocol::rotation::{self, Stage};
use serde::Serialize;
use tokio::time::Instant;

use super::report::seat;
use crate::config::PoolConfig;
use crate::hub::Error;
use crate::hub::iot::IotHub;

/// How often an agent that does not take the next key yet is asked.
const ASK_EVERY: Duration = Duration::from_millis(500);

/// How a member's key was changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyChange {
    /// From the first step to the last.
    Changed,
    /// An earlier change had been broken off, and is finished now.
    Finished,
    /// There is no key yet: the controller makes one when it first calls the agent.
    NoKey,
}

/// Why a key was not changed. Leases go on, and another run takes it up where it stands.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotRotated {
    /// The hub does not work.
    #[error("the twin of its agent cannot be used")]
    Hub(#[from] Error),
    /// The agent has not shown that it takes the next key.
    #[error("its agent does not take the new key yet, so the old one stays: {0}")]
    NotTaken(CallFailure),
}

/// Where a change of the member's key stands; `None`: it has no key yet.
pub async fn key_stage(hub: &IotHub, pool: &PoolConfig, member: &MemberId) -> Result<Option<Stage>, Error> {
    let keys = hub.read_keys(&seat(pool, member)).await?.keys;
    Ok(keys.taken().next().map(|_| Stage::of(&keys)))
}

/// Changes the key of one member, or finishes a change that was broken off. Each stage reached is told to `seen`.
///
/// Waits up to `patience` for the agent to answer a request that is made with the new key.
pub async fn rotate_key(
    hub: &IotHub,
    pool: &PoolConfig,
    member: &MemberId,
    patience: Duration,
    mut seen: impl FnMut(Stage),
) -> Result<KeyChange, NotRotated> {
    let seat = seat(pool, member);
    let deadline = Instant::now() + patience;
    let (mut began, mut change) = (false, KeyChange::Finished);
    loop {
        let read = hub.read_keys(&seat).await?;
        if read.keys.taken().next().is_none() {
            return Ok(KeyChange::NoKey);
        }
        let stage = Stage::of(&read.keys);
        seen(stage);
        let patch = match (stage, &read.keys.next) {
            (Stage::Settled, _) if began => return Ok(change),
            (Stage::Announced, Some(next)) => {
                until_taken(hub, &seat, next, pool.policy.timings.call_timeout, deadline).await?;
                rotation::promote(&read.keys).unwrap_or_default()
            }
            (Stage::Promoted, _) => rotation::retire(),
            _ => {
                change = KeyChange::Changed;
                rotation::announce(&seat.pool, &MemberKey::from_bytes(rand::random()))
            }
        };
        // Written or not, what is there by then says how to go on.
        began |= hub.write_keys(&seat, &read, patch).await?;
    }
}

async fn until_taken(
    hub: &IotHub,
    seat: &crate::hub::Seat,
    key: &MemberKey,
    timeout: Millis,
    deadline: Instant,
) -> Result<(), NotRotated> {
    while let Err(failure) = hub.takes_key(seat, key, timeout).await {
        if Instant::now() + ASK_EVERY >= deadline {
            return Err(NotRotated::NotTaken(failure));
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
    Ok(())
}
