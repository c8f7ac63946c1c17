use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::anchor::Reason;
use crate::drift::Drift;
use crate::fitness::Unfit;
use crate::ids::{ControlId, Epoch, MemberId, Term};
use crate::messages::Refusal;
use crate::seen::CallFailure;
use crate::time::{Millis, Time};

/// Why a plan does not do more.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case", tag = "for")]
pub enum Waiting {
    /// Another controller is in charge, or none is proven to be.
    #[error("not in charge")]
    NotInCharge,
    /// The record has not been read yet.
    #[error("the record has not been read yet")]
    AnchorUnread,
    /// The record belongs to another control record.
    #[error("the record belongs to controllers under {control}, not to us")]
    ForeignControl {
        /// Which.
        control: ControlId,
    },
    /// A newer charge has written the record.
    #[error("a controller of epoch {epoch} has written the record; we must get a newer charge")]
    Outranked {
        /// Its epoch.
        epoch: Epoch,
    },
    /// The record is being written.
    #[error("the record is being claimed")]
    Claiming,
    /// There is no record: every member must say that it has stopped before the first term is given.
    #[error("no record yet: waiting for {} to say that nothing runs there, at most {left}", listed_names(.silent))]
    Founding {
        /// Who has not said so.
        silent: Vec<MemberId>,
        /// How long to wait at most.
        left: Millis,
    },
    /// The record was taken over, and its holder does not confirm it: a hub that failed over may have lost what was written last.
    #[error(
        "{member} does not say that it runs term {term}, and another may have been given a later one: waiting for everybody to say that nothing runs there, at most {left}"
    )]
    Unconfirmed {
        /// The recorded holder.
        member: MemberId,
        /// The recorded term.
        term: Term,
        /// How long to wait at most.
        left: Millis,
    },
    /// The pool is paused.
    #[error("paused by {by}")]
    Paused {
        /// By whom.
        by: String,
    },
    /// The holder, or one before it, may still run.
    #[error("{} may still run for {left}{}", member.as_ref().map_or("an earlier holder", MemberId::as_str), why.as_ref().map(|w| format!(": {w}")).unwrap_or_default())]
    HolderMayStillRun {
        /// Who; `None`: nobody knows.
        member: Option<MemberId>,
        /// Until when.
        until: Time,
        /// How long that is.
        left: Millis,
        /// What the calls to it say.
        why: Option<CallFailure>,
    },
    /// The holder has been asked to stop.
    #[error("{member} has been asked to stop: {wish}")]
    Release {
        /// Who.
        member: MemberId,
        /// What for.
        wish: Reason,
    },
    /// Those who are asked before a planned change have not answered yet.
    #[error("asking on site whether the holder may change: {wish}")]
    Consent {
        /// What for.
        wish: Reason,
    },
    /// They said no to a planned change.
    #[error("{by} says no to a change of holder ({wish}): {why}; asked again in {left}")]
    Vetoed {
        /// What it was for.
        wish: Reason,
        /// Who says no.
        by: String,
        /// Why.
        why: String,
        /// When they are asked again.
        left: Millis,
    },
    /// No member is fit.
    #[error("no fit standby: {}", listed(.against))]
    NoFitStandby {
        /// What speaks against each.
        against: BTreeMap<MemberId, Vec<Unfit>>,
    },
    /// Every member is silent: a whole-site event rather than a failure.
    #[error("every member is silent; nothing can be gained by a change")]
    EveryoneSilent,
    /// The best candidate has not answered lately.
    #[error("asking {member} whether it can take over")]
    FreshAnswer {
        /// Who.
        member: MemberId,
    },
    /// A standby is ready, but nobody could ask the former holder of late: it may be well.
    #[error("asking {member} whether it goes on before another takes over, at most {left}")]
    Hearing {
        /// Who held.
        member: MemberId,
        /// How long it is waited for.
        left: Millis,
    },
    /// Too many unplanned changes.
    #[error("{count} unplanned changes within {window}: a person is needed (switchover or failover moves the pool)")]
    FlapGuard {
        /// How many.
        count: u32,
        /// Within which time.
        window: Millis,
    },
    /// Too many pools look dead at once.
    #[error("the holders of {dead} of {of} pools look dead at once: failovers are held")]
    MassFailure {
        /// How many.
        dead: usize,
        /// Of how many.
        of: usize,
    },
    /// All decisions are switched off.
    #[error("all decisions are switched off")]
    AllOff,
    /// The holder refuses its own term.
    #[error("{member} refuses: {refusal}")]
    HolderRefuses {
        /// Who.
        member: MemberId,
        /// Why.
        refusal: Refusal,
    },
    /// The workload fails and nobody can take over, or the policy says to stay.
    #[error("the workload fails on {member}: {said}")]
    WorkloadFailing {
        /// Where.
        member: MemberId,
        /// What the probe said.
        said: String,
    },
    /// A member runs, or would run, something else.
    #[error("{member} {}: {drift}", if drift.is_meant() { "is ahead or behind" } else { "has drifted" })]
    Drifted {
        /// Who.
        member: MemberId,
        /// How.
        drift: Drift,
    },
    /// No higher term can be written.
    #[error("term {term} cannot be exceeded: the record needs a person")]
    TermExhausted {
        /// The newest term.
        term: Term,
    },
}

impl Waiting {
    /// Which kind it is, in one word: for metrics and for telling whether anything has changed.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotInCharge => "not_in_charge",
            Self::AnchorUnread => "anchor_unread",
            Self::ForeignControl { .. } => "foreign_control",
            Self::Outranked { .. } => "outranked",
            Self::Claiming => "claiming",
            Self::Founding { .. } => "founding",
            Self::Unconfirmed { .. } => "unconfirmed",
            Self::Paused { .. } => "paused",
            Self::HolderMayStillRun { .. } => "holder_may_still_run",
            Self::Release { .. } => "release",
            Self::Consent { .. } => "consent",
            Self::Vetoed { .. } => "vetoed",
            Self::NoFitStandby { .. } => "no_fit_standby",
            Self::EveryoneSilent => "everyone_silent",
            Self::FreshAnswer { .. } => "fresh_answer",
            Self::Hearing { .. } => "hearing",
            Self::FlapGuard { .. } => "flap_guard",
            Self::MassFailure { .. } => "mass_failure",
            Self::AllOff => "all_off",
            Self::HolderRefuses { .. } => "holder_refuses",
            Self::WorkloadFailing { .. } => "workload_failing",
            Self::Drifted { drift, .. } if drift.is_meant() => "releasing",
            Self::Drifted { .. } => "drifted",
            Self::TermExhausted { .. } => "term_exhausted",
        }
    }

    /// Whether it may last, so that those who see only the hub should be told.
    pub const fn may_last(&self) -> bool {
        matches!(
            self,
            Self::NoFitStandby { .. }
                | Self::EveryoneSilent
                | Self::FlapGuard { .. }
                | Self::MassFailure { .. }
                | Self::AllOff
                | Self::HolderRefuses { .. }
                | Self::WorkloadFailing { .. }
                | Self::Vetoed { .. }
                | Self::Drifted { .. }
                | Self::TermExhausted { .. }
        )
    }
}

pub(super) fn listed_names(members: &[MemberId]) -> String {
    members.iter().map(MemberId::as_str).collect::<Vec<_>>().join(", ")
}

fn listed(against: &BTreeMap<MemberId, Vec<Unfit>>) -> String {
    if against.is_empty() {
        return "the pool has no other member".to_owned();
    }
    let said = |reasons: &Vec<Unfit>| reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    against.iter().map(|(member, reasons)| format!("{member} ({})", said(reasons))).collect::<Vec<_>>().join("; ")
}
