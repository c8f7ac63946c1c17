//! From member to member: the standbys first, then the work changes hands, then the former holder.

use std::collections::BTreeSet;
use std::time::Duration;

use ha_core::anchor::Verb;
use ha_core::ids::MemberId;
use ha_core::messages::{Answer, HolderState, Workload};
use ha_core::seen::CallFailure;
use ha_core::time::WallTime;
use tokio::time::Instant;

use super::follow::{LOOK_EVERY, Progress, look};
use super::labels::Phase;
use super::steps::{note, tag};
use super::trial::{Trial, Verdict};
use super::{DeployError, Event, Release, Survey};
use crate::config::PoolConfig;
use crate::hub::iot::IotHub;
use crate::hub::{Error, Hub as _};
use crate::operate::report::seat;
use crate::operate::{AskError, ask, wait_active, wait_settled};

/// How a release goes from member to member.
pub struct Rolling<'a> {
    /// The hub.
    pub hub: &'a IotHub,
    /// The pool.
    pub pool: &'a PoolConfig,
    /// What members are to run. It is in the hub already.
    pub release: &'a Release,
    /// Whether they had it before, and are being taken back to it.
    pub is_way_back: bool,
    /// How long a member must be well before the next one's turn.
    pub settle: Duration,
    /// How long one member, or one handover, may take.
    pub patience: Duration,
    /// Who asks for the handover.
    pub by: &'a str,
}

/// Why a roll-out stopped. What was done stays; it can be resumed, or rolled back.
#[derive(Debug, thiserror::Error)]
pub enum Stopped {
    /// A member does not get well.
    #[error("{member} does not run {release} well: {why}")]
    Bad {
        /// Who.
        member: MemberId,
        /// What it should run.
        release: String,
        /// What is wrong.
        why: String,
    },
    /// A member did not get there in time.
    #[error("{member} does not run {release} yet: {why}")]
    Late {
        /// Who.
        member: MemberId,
        /// What it should run.
        release: String,
        /// What it waits for.
        why: String,
    },
    /// The work could not be handed over.
    #[error("the work was not handed over from {from} to {to}: {why}")]
    NotHandedOver {
        /// From whom.
        from: MemberId,
        /// To whom.
        to: MemberId,
        /// Why.
        why: String,
        /// Nobody said no: it took too long.
        late: bool,
    },
    /// There is no holder, or nobody to hand the work over to.
    #[error("{0}")]
    Impossible(String),
    /// A call failed.
    #[error(transparent)]
    Failed(#[from] DeployError),
}

impl Stopped {
    /// Whether it was a matter of time.
    pub fn is_late(&self) -> bool {
        matches!(self, Self::Late { .. } | Self::NotHandedOver { late: true, .. })
    }
}

impl From<Error> for Stopped {
    fn from(error: Error) -> Self {
        Self::Failed(error.into())
    }
}

/// Rolls a release out. Whoever calls it again after a stop, a crash or a failover goes on where the tags say it is: each member that
/// has the release is looked at anew, and is left alone if it is well.
///
/// # Errors
/// At the first member that is not well. The others stay as they are.
pub async fn roll(rolling: &Rolling<'_>, survey: &Survey, tell: &mut impl FnMut(&Event)) -> Result<(), Stopped> {
    let mut tagged: BTreeSet<MemberId> = BTreeSet::new();
    for member in &survey.members {
        if survey.tagged(member, &rolling.release.part) == Some(rolling.release.id()) {
            tagged.insert(member.clone());
        }
    }
    let mut done: BTreeSet<MemberId> = BTreeSet::new();
    while done.len() < survey.members.len() {
        let holder = rolling.holder().await?;
        // From the lowest priority up: the one that is to take over is the last to be touched.
        let standby = survey.members.iter().rev().find(|member| **member != holder && !done.contains(*member));
        let next = match standby {
            Some(standby) => standby,
            None if tagged.contains(&holder) => &holder,
            None => {
                rolling.hand_over(&holder, &survey.members, &done, tell).await?;
                continue;
            }
        };
        let before = survey.tagged(next, &rolling.release.part);
        if tagged.insert(next.clone()) {
            rolling.give(next, before, tell).await?;
        }
        rolling.wait_well(next, tell).await?;
        done.insert(next.clone());
    }
    Ok(())
}

impl Rolling<'_> {
    async fn holder(&self) -> Result<MemberId, Stopped> {
        let anchor = self.hub.read_anchor(&self.pool.name).await?.map(|(anchor, _)| anchor);
        let holder = anchor.and_then(|anchor| anchor.holder);
        holder.ok_or_else(|| Stopped::Impossible("nobody holds: there is no order in which to go".to_owned()))
    }

    /// Names the release in a member's tags, and has the hub look at them.
    async fn give(
        &self,
        member: &MemberId,
        before: Option<&str>,
        tell: &mut impl FnMut(&Event),
    ) -> Result<(), Stopped> {
        tag(self.hub, self.pool, self.release, member).await?;
        // What came before the release that is gone back to stays what it was.
        let (phase, before) = if self.is_way_back { (Phase::RollingBack, None) } else { (Phase::Rolling, before) };
        note(self.hub, self.release.id(), &phase, before).await?;
        tell(&Event::Made { step: super::Step::Tag(member.clone()).shown(self.pool, self.release).to_string() });
        Ok(())
    }

    /// Waits until a member runs the release and its agent is well, and has been for the settling time.
    async fn wait_well(&self, member: &MemberId, tell: &mut impl FnMut(&Event)) -> Result<(), Stopped> {
        let mut trial = Trial::begin(self.settle, self.patience, Instant::now());
        let mut said = String::new();
        loop {
            let progress = self.well(member).await;
            match trial.take(&progress, Instant::now()) {
                Verdict::Passed => {
                    tell(&Event::Runs { member: member.clone() });
                    return Ok(());
                }
                Verdict::Failed(why) => return Err(self.bad(member, why)),
                Verdict::Late(why) => {
                    let (member, release) = (member.clone(), self.release.id().to_owned());
                    return Err(Stopped::Late { member, release, why });
                }
                Verdict::Settling => {
                    tell(&Event::Settling { member: member.clone(), settle_s: self.settle.as_secs() });
                }
                Verdict::Open => {}
            }
            if let Progress::Waiting(why) | Progress::Unknown(why) = progress
                && why != said
            {
                tell(&Event::Waiting { member: member.clone(), said: why.clone() });
                said = why;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Whether it runs the release and could hold, or holds.
    async fn well(&self, member: &MemberId) -> Progress {
        match look(self.hub, self.release, member).await {
            Progress::Runs => {}
            other => return other,
        }
        let answer = self.hub.peek(&seat(self.pool, member), self.pool.policy.timings.call_timeout).await;
        agent_is_well(answer)
    }

    fn bad(&self, member: &MemberId, why: String) -> Stopped {
        Stopped::Bad { member: member.clone(), release: self.release.id().to_owned(), why }
    }

    /// Asks for a switchover to the first of those that have the release, again while it is refused: what the controller knows of a
    /// member that has just changed is up to a round of evidence old. A failover that comes first does as well.
    async fn hand_over(
        &self,
        from: &MemberId,
        members: &[MemberId],
        done: &BTreeSet<MemberId>,
        tell: &mut impl FnMut(&Event),
    ) -> Result<(), Stopped> {
        let to = members.iter().find(|member| done.contains(*member));
        let to = to.ok_or_else(|| {
            let alone = format!("{from} is the only member: there is nobody to hand the work over to");
            Stopped::Impossible(alone)
        })?;
        let deadline = Instant::now() + self.patience;
        let switching = |said| Event::Switching { from: from.clone(), to: to.clone(), said };
        let failed = |why: String, late| Stopped::NotHandedOver { from: from.clone(), to: to.clone(), why, late };
        tell(&switching(None));
        let mut told = String::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let verb = Verb::Switchover { to: Some(to.clone()) };
            let now = WallTime(jiff::Timestamp::now().as_millisecond());
            let asked = async {
                let id = ask(self.hub, &self.pool.name, verb, self.by, now).await?;
                wait_settled(self.hub, &self.pool.name, &id, left, |_| {}).await
            };
            let (settled, _) = asked.await.map_err(|error| late(&error, &failed))?;
            let Some(why) = settled.refused else { break };
            if self.holder().await? != *from {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(failed(why, false));
            }
            if why != told {
                tell(&switching(Some(why.clone())));
                told = why;
            }
            tokio::time::sleep(LOOK_EVERY * 2).await;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let missing = |missing: &_| tell(&switching(Some(format!("{missing}"))));
        let active = wait_active(self.hub, self.pool, Some(from), left, missing).await;
        let active = active.map_err(|error| late(&error, &failed))?;
        tell(&Event::Switched { holder: active.holder, term: active.term.0 });
        Ok(())
    }
}

fn late(error: &AskError, failed: &impl Fn(String, bool) -> Stopped) -> Stopped {
    let is_late = matches!(error, AskError::TimedOut | AskError::NotActive(_));
    failed(crate::hub::chain(error), is_late)
}

fn agent_is_well(answer: Result<Answer, CallFailure>) -> Progress {
    match answer {
        Err(failure) if failure == CallFailure::TimedOut || !failure.is_about_member() => {
            Progress::Unknown(format!("its agent cannot be asked: {failure}"))
        }
        Err(failure) => Progress::Waiting(format!("its agent does not answer: {failure}")),
        Ok(answer) => match &answer.workload {
            Workload::Failing(why) | Workload::Unready(why) => Progress::Waiting(format!("its workload: {why}")),
            _ if answer.leaving => Progress::Waiting("its agent is being stopped".to_owned()),
            _ if answer.state == HolderState::Starting => Progress::Waiting("its agent has just started".to_owned()),
            Workload::Unknown | Workload::Ready | Workload::Running => Progress::Runs,
        },
    }
}
