//! The record of a pool, changed only by compare-and-swap.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::{ControlId, Epoch, FollowerId, MemberId, PoolName, RequestId, Term};
use crate::time::{Millis, WallTime};

/// How many transitions and settled requests the record remembers.
pub const HISTORY_MAX: usize = 12;

/// How many unplanned changes the record remembers for the flap guard.
pub const UNPLANNED_MAX: usize = 12;

/// How many followers the record remembers.
pub const FOLLOWERS_MAX: usize = 16;

/// The record of a pool.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Anchor {
    /// Which pool.
    pub pool: PoolName,
    /// The control record under which the pool is run.
    pub control: ControlId,
    /// The member that may be granted `term`.
    pub holder: Option<MemberId>,
    /// The newest term given to anybody.
    pub term: Term,
    /// The longest ttl that may have been granted.
    pub ttl: Millis,
    /// The charge under which it was last written.
    pub epoch: Epoch,
    /// Since when the holder holds.
    pub since: WallTime,
    /// Set while the pool is paused.
    pub paused: Option<Mark>,
    /// Members that must not hold.
    pub maintenance: BTreeMap<MemberId, Mark>,
    /// What operators asked for.
    pub requests: BTreeMap<RequestId, OperatorRequest>,
    /// What became of what they asked for, oldest first.
    pub settled: Vec<Settled>,
    /// The last changes of holder, oldest first.
    pub history: Vec<Transition>,
    /// When the last unplanned changes were, oldest first. The flap guard counts them here: from `history` they are
    /// crowded out by planned ones, and by large requests.
    #[serde(default)]
    pub unplanned: Vec<WallTime>,
    /// What the pool waits for, if that has lasted: one sentence for those who see only the hub.
    pub status: Option<String>,
    /// Through which term each follower has done what it does after a change of holder.
    #[serde(default)]
    pub followed: BTreeMap<FollowerId, Term>,
}

/// Who marked something, and when.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Mark {
    /// Who.
    pub by: String,
    /// When.
    pub at: WallTime,
}

/// One operator's request.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct OperatorRequest {
    /// What.
    pub verb: Verb,
    /// Who.
    pub by: String,
    /// When.
    pub at: WallTime,
}

/// What an operator can ask for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "verb")]
pub enum Verb {
    /// Move the active role in an orderly way.
    Switchover {
        /// To whom; the best standby if not said.
        to: Option<MemberId>,
    },
    /// Move the active role although the holder may not answer.
    Failover {
        /// To whom; the best standby if not said.
        to: Option<MemberId>,
        /// The operator vouches that the holder is not running.
        fenced: bool,
    },
    /// Decide nothing until further notice; go on renewing.
    Pause,
    /// Decide again.
    Resume,
    /// Take a member out, or back in.
    Maintenance {
        /// Whom.
        member: MemberId,
        /// Out, or back in.
        on: bool,
    },
}

/// What became of a request.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Settled {
    /// Which request.
    pub request: RequestId,
    /// When it was settled.
    pub at: WallTime,
    /// Why it was refused; `None`: it was done.
    pub refused: Option<String>,
}

/// One change of holder.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Transition {
    /// The term that began.
    pub term: Term,
    /// Who holds it.
    pub holder: MemberId,
    /// Who held before.
    pub from: Option<MemberId>,
    /// When.
    pub at: WallTime,
    /// Why.
    pub reason: Reason,
}

/// Why the holder changed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "why")]
pub enum Reason {
    /// The pool had no holder.
    First,
    /// The holder's lease ran out and it did not come back.
    HolderSilent,
    /// The holder's agent is being stopped.
    HolderLeaving,
    /// The holder is in maintenance.
    HolderInMaintenance,
    /// The holder is disabled in IoT Hub.
    HolderDisabled,
    /// The holder is no member any more.
    HolderRemoved,
    /// The workload does not work on the holder.
    WorkloadFailing {
        /// What the probe said.
        said: String,
    },
    /// The term was used up (released, or refused by the agent) and a new one was needed.
    TermSpent,
    /// Back to a member of higher priority.
    Failback,
    /// An operator asked for it.
    Asked {
        /// Who.
        by: String,
        /// Which request.
        request: RequestId,
        /// The operator vouched that the old holder was not running.
        fenced: bool,
    },
    /// The record was gone and was built anew.
    Rebuilt,
}

impl Reason {
    /// Whether the flap guard counts it.
    pub fn is_unplanned(&self) -> bool {
        matches!(self, Self::HolderSilent | Self::WorkloadFailing { .. })
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::First => f.write_str("the pool had no holder"),
            Self::HolderSilent => f.write_str("the holder fell silent and its lease ran out"),
            Self::HolderLeaving => f.write_str("the holder's agent is being stopped"),
            Self::HolderInMaintenance => f.write_str("the holder is in maintenance"),
            Self::HolderDisabled => f.write_str("the holder is disabled in IoT Hub"),
            Self::HolderRemoved => f.write_str("the holder is no member of the pool any more"),
            Self::WorkloadFailing { said } => write!(f, "the workload fails on the holder: {said}"),
            Self::TermSpent => f.write_str("the term was used up"),
            Self::Failback => f.write_str("a member of higher priority is fit again"),
            Self::Asked { by, fenced: false, .. } => write!(f, "asked for by {by}"),
            Self::Asked { by, fenced: true, .. } => {
                write!(f, "asked for by {by}, who vouched that the old holder was not running")
            }
            Self::Rebuilt => f.write_str("the record was gone and was built anew"),
        }
    }
}

impl Anchor {
    /// The record of a pool that nobody holds.
    pub fn vacant(pool: PoolName, control: ControlId, term: Term, ttl: Millis, epoch: Epoch, since: WallTime) -> Self {
        Self {
            pool,
            control,
            holder: None,
            term,
            ttl,
            epoch,
            since,
            paused: None,
            maintenance: BTreeMap::new(),
            requests: BTreeMap::new(),
            settled: Vec::new(),
            history: Vec::new(),
            unplanned: Vec::new(),
            status: None,
            followed: BTreeMap::new(),
        }
    }

    /// Who holds, and which term.
    pub fn held(&self) -> Option<(MemberId, Term)> {
        self.holder.clone().map(|holder| (holder, self.term))
    }

    /// Whether holder or term were changed by hand: the last change on record says otherwise. The recorded holder is
    /// then nobody's word for who may be running, and the recorded term may have been run by another member.
    pub fn is_edited(&self) -> bool {
        let (Some(holder), Some(last)) = (&self.holder, self.history.last()) else { return false };
        last.holder != *holder || last.term > self.term
    }

    /// How long the holder has held, by wall clocks.
    pub fn held_for(&self, now: WallTime) -> Millis {
        Millis(u64::try_from(now.0.saturating_sub(self.since.0)).unwrap_or(0))
    }

    /// Gives `term` to `member`.
    pub fn appoint(&mut self, member: MemberId, term: Term, reason: Reason, at: WallTime) {
        if let Reason::Asked { request, .. } = &reason {
            let request = request.clone();
            self.settle(&request, None, at);
        }
        self.settle_vouchers(at);
        let from = self.holder.replace(member.clone());
        self.term = term;
        self.since = at;
        self.status = None;
        if reason.is_unplanned() {
            self.unplanned.push(at);
            keep_latest(&mut self.unplanned, UNPLANNED_MAX);
        }
        self.history.push(Transition { term, holder: member, from, at, reason });
        keep_latest(&mut self.history, HISTORY_MAX);
    }

    /// An operator's word that the holder is not running was about the holder of that moment, not about the next one.
    fn settle_vouchers(&mut self, at: WallTime) {
        let vouches = |asked: &OperatorRequest| matches!(asked.verb, Verb::Failover { fenced: true, .. });
        let given: Vec<RequestId> =
            self.requests.iter().filter(|(_, asked)| vouches(asked)).map(|(request, _)| request.clone()).collect();
        for request in given {
            self.settle(&request, Some("the holder has changed since".to_owned()), at);
        }
    }

    /// Takes a request off the list and remembers what became of it.
    pub fn settle(&mut self, request: &RequestId, refused: Option<String>, at: WallTime) {
        if self.requests.remove(request).is_some() {
            self.settled.push(Settled { request: request.clone(), at, refused });
            keep_latest(&mut self.settled, HISTORY_MAX);
        }
    }

    /// Notes that `follower` has done what it does for everything through `term`. Whoever has not been heard of for the
    /// longest is forgotten for it, if there are too many: followers that nobody configures any more.
    pub fn follow(&mut self, follower: FollowerId, term: Term) {
        let through = self.followed.entry(follower.clone()).or_default();
        *through = term.max(*through);
        while self.followed.len() > FOLLOWERS_MAX {
            let others = self.followed.iter().filter(|(other, _)| **other != follower);
            let Some(oldest) = others.min_by_key(|(_, term)| **term).map(|(other, _)| other.clone()) else { return };
            self.followed.remove(&oldest);
        }
    }

    /// How many unplanned changes lie within `window` before `now`.
    pub fn unplanned_within(&self, now: WallTime, window: Millis) -> u32 {
        let from = now.0.saturating_sub_unsigned(window.0);
        let counted = self.unplanned.iter().filter(|at| at.0 >= from).count();
        u32::try_from(counted).unwrap_or(u32::MAX)
    }
}

fn keep_latest<T>(list: &mut Vec<T>, max: usize) {
    let surplus = list.len().saturating_sub(max);
    list.drain(..surplus);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planned_changes_do_not_crowd_out_what_the_flap_guard_counts() {
        let at = WallTime(1_000);
        let pool = "press_1".parse().expect("a pool name");
        let mut anchor = Anchor::vacant(pool, ControlId::new("control"), Term(0), Millis(15_000), Epoch(1), at);
        for round in 0..9 {
            anchor.appoint(MemberId::new("b"), Term(2 * round + 1), Reason::HolderSilent, at);
            anchor.appoint(MemberId::new("a"), Term(2 * round + 2), Reason::Failback, at);
        }
        assert_eq!(anchor.history.len(), HISTORY_MAX);
        assert_eq!(anchor.unplanned_within(at, Millis(60_000)), 9);
    }
}
