//! Whether a member may become or stay the holder, and who comes first.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::anchor::Anchor;
use crate::drift::{Drift, drift};
use crate::ids::MemberId;
use crate::messages::{HolderState, Refusal, Workload};
use crate::policy::{OnDrift, Timings};
use crate::seen::{CallFailure, MemberSeen};
use crate::time::{Millis, Time};

/// Why a member must not become the holder.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Unfit {
    /// Its agent has not been heard yet.
    #[error("its agent has not been heard yet")]
    NotHeard,
    /// Its agent does not answer.
    #[error("its agent has been silent for {silent}: {why}")]
    Silent {
        /// For how long.
        silent: Millis,
        /// What the calls say.
        why: CallFailure,
    },
    /// The last answer is too old.
    #[error("the last answer is {age} old")]
    Stale {
        /// How old.
        age: Millis,
    },
    /// It is in maintenance.
    #[error("in maintenance")]
    Maintenance,
    /// It is disabled in IoT Hub.
    #[error("disabled in IoT Hub")]
    Disabled,
    /// It does not exist in IoT Hub.
    #[error("not registered in IoT Hub")]
    NotRegistered,
    /// Its agent is being stopped.
    #[error("its agent is being stopped")]
    Leaving,
    /// Its agent has just started and is not sure that an earlier workload has ended.
    #[error("its agent has just started")]
    Starting,
    /// Its workload could not be started.
    #[error("its workload is not ready: {0}")]
    Unready(String),
    /// Its workload fails.
    #[error("its workload fails: {0}")]
    Failing(String),
    /// Its agent refuses to run.
    #[error("its agent refuses: {0}")]
    Refuses(Refusal),
    /// It would run something else, and the policy says to block that.
    #[error("drifted, {0} (`drift` shows it; `failover --to` takes it all the same)")]
    Drifted(Drift),
}

/// Everything that speaks against `member`; empty: it is fit.
pub fn unfit(member: &MemberId, seen: &MemberSeen, anchor: &Anchor, timings: &Timings, now: Time) -> Vec<Unfit> {
    let mut against = Vec::new();
    if anchor.maintenance.contains_key(member) {
        against.push(Unfit::Maintenance);
    }
    match &seen.evidence.registry {
        Some(registry) if registry.value.is_none() => against.push(Unfit::NotRegistered),
        Some(registry) if registry.value.as_ref().is_some_and(super::seen::Registry::is_disabled) => {
            against.push(Unfit::Disabled);
        }
        _ => {}
    }
    match (&seen.answer, &seen.trouble) {
        (None, None) => against.push(Unfit::NotHeard),
        (_, Some(trouble)) => {
            against.push(Unfit::Silent { silent: now.since(trouble.since), why: trouble.failure.clone() });
        }
        (Some(answer), None) if answer.age(now) > timings.silent_after() => {
            against.push(Unfit::Stale { age: answer.age(now) });
        }
        (Some(answer), None) => against.extend(said_unfit(&answer.value)),
    }
    against
}

/// What drift says against `member` by the policy. The holder goes on, whatever it is told: stopping it would make nothing more
/// alike.
pub fn drifted(
    member: &MemberId,
    anchor: &Anchor,
    policy: OnDrift,
    seen: &BTreeMap<MemberId, MemberSeen>,
) -> Option<Unfit> {
    if policy != OnDrift::Block || anchor.holder.as_ref() == Some(member) {
        return None;
    }
    drift(member, anchor.holder.as_ref(), seen).filter(|drift| !drift.is_meant()).map(Unfit::Drifted)
}

fn said_unfit(answer: &crate::messages::Answer) -> Vec<Unfit> {
    let mut against = Vec::new();
    if answer.leaving {
        against.push(Unfit::Leaving);
    }
    if answer.state == HolderState::Starting {
        against.push(Unfit::Starting);
    }
    match &answer.workload {
        Workload::Unready(why) => against.push(Unfit::Unready(why.clone())),
        Workload::Failing(why) => against.push(Unfit::Failing(why.clone())),
        Workload::Unknown | Workload::Ready | Workload::Running => {}
    }
    if let Some(refused @ (Refusal::UnknownGrantor | Refusal::TtlTooLong { .. } | Refusal::FlagInactive { .. })) =
        &answer.refused
    {
        against.push(Unfit::Refuses(refused.clone()));
    }
    against
}

/// Who comes first: the smallest.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Preference {
    /// Not the one who is to be left.
    pub is_former: bool,
    /// The place in the configured order.
    pub priority: usize,
    /// Longest fit first.
    pub fit_for: Reverse<Millis>,
    /// To leave no choice.
    pub member: MemberId,
}
