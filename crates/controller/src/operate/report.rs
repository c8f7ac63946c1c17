//! What is known of a pool at this moment, asked afresh.

mod words;

use std::collections::BTreeMap;

use futures_util::future::join_all;
use ha_core::anchor::{Anchor, Transition};
use ha_core::drift::{Drift, drift};
use ha_core::fitness::{Unfit, drifted, unfit};
use ha_core::ids::{FollowerId, MemberId, PoolName, Term};
use ha_core::messages::{Answer, Workload};
use ha_core::seen::{CallFailure, Evidence, MemberSeen, Seen, Trouble};
use ha_core::time::WallTime;
use serde::Serialize;

pub use self::words::when;
use crate::clock::Clock;
use crate::config::{HookEvent, Members, PoolConfig};
use crate::hub::iot::IotHub;
use crate::hub::{Error, Hub, Opinions, Seat};
use crate::routing::Mode;
use crate::run::steer;

/// One pool.
#[derive(Clone, Debug, Serialize)]
pub struct PoolReport {
    /// Its name.
    pub pool: PoolName,
    /// Who holds, by the record.
    pub holder: Option<MemberId>,
    /// The newest term, by the record.
    pub term: Term,
    /// Since when.
    pub since: Option<WallTime>,
    /// Who paused it, if it is paused.
    pub paused_by: Option<String>,
    /// What the controller waits for, if that has lasted.
    pub status: Option<String>,
    /// Requests that are open.
    pub requests: usize,
    /// The last change of holder.
    pub last_change: Option<Transition>,
    /// What is done after a change of holder, by the record.
    pub followers: Vec<FollowerReport>,
    /// Its members, in the order of priority.
    pub members: Vec<MemberReport>,
}

/// Something that is done after a change of holder: a hook that is told, leaf devices that are moved.
#[derive(Clone, Debug, Serialize)]
pub struct FollowerReport {
    /// What.
    pub follower: FollowerId,
    /// Through which term it was done; `None`: never.
    pub through: Option<Term>,
    /// Whether something is left to do for the present term.
    pub behind: bool,
    /// For how long, counted from the change of holder.
    pub behind_ms: Option<u64>,
}

/// One member.
#[derive(Clone, Debug, Serialize)]
pub struct MemberReport {
    /// Its device id.
    pub member: MemberId,
    /// `active`, `standby` or `maintenance`, by the record.
    pub role: &'static str,
    /// What its agent says it does; `None`: it does not answer.
    pub state: Option<&'static str>,
    /// The term it runs or last ran.
    pub term: Option<Term>,
    /// Whether a lease keeps it from running when another does; a flag cannot.
    pub fenced: bool,
    /// How long its lease lasts.
    pub lease_left_ms: Option<u64>,
    /// How old its answer is.
    pub age_ms: Option<u64>,
    /// Whether it could hold.
    pub fit: bool,
    /// What speaks against it, or how it is.
    pub why: String,
    /// How it differs from what the pool runs, if it does.
    pub drift: Option<Drift>,
    /// Second opinions.
    pub evidence: Evidence,
}

/// Asks the record and every member.
pub async fn report(hub: &IotHub, config: &PoolConfig, clock: Clock) -> Result<PoolReport, Error> {
    let anchor = hub.read_anchor(&config.name).await?.map(|(anchor, _)| anchor);
    let mut members = members_of(hub, config).await?;
    let holder = anchor.as_ref().and_then(|anchor| anchor.holder.clone());
    members.extend(holder.filter(|holder| !members.contains(holder)));
    let asked = members.into_iter().map(|member| ask_member(hub, config, clock, member));
    let seen: Vec<(MemberId, MemberSeen)> = join_all(asked).await;
    let order: Vec<MemberId> = seen.iter().map(|(member, _)| member.clone()).collect();
    let view = Known { config, anchor: anchor.as_ref(), seen: &seen.into_iter().collect(), clock };
    let members = order.into_iter().map(|member| view.describe(member)).collect();
    Ok(PoolReport {
        pool: config.name.clone(),
        holder: anchor.as_ref().and_then(|anchor| anchor.holder.clone()),
        term: anchor.as_ref().map(|anchor| anchor.term).unwrap_or_default(),
        since: anchor.as_ref().map(|anchor| anchor.since),
        paused_by: anchor.as_ref().and_then(|anchor| anchor.paused.as_ref()).map(|mark| mark.by.clone()),
        status: anchor.as_ref().and_then(|anchor| anchor.status.clone()),
        requests: anchor.as_ref().map_or(0, |anchor| anchor.requests.len()),
        followers: followers(config, anchor.as_ref(), clock.now().wall),
        last_change: anchor.as_ref().and_then(|anchor| anchor.history.last().cloned()),
        members,
    })
}

fn followers(config: &PoolConfig, anchor: Option<&Anchor>, now: WallTime) -> Vec<FollowerReport> {
    let told = config.hooks.iter().filter(|hook| hook.on == HookEvent::AfterHandover).map(crate::hook::follower_id);
    let moved = config.parents.iter().map(|_| crate::parents::follower_id());
    let steered = config.routing.iter().filter(|routing| routing.mode == Mode::Rules).map(|_| steer::follower_id());
    let report = |follower: FollowerId| {
        let through = anchor.and_then(|anchor| anchor.followed.get(&follower).copied());
        let behind = anchor.filter(|anchor| anchor.holder.is_some() && through < Some(anchor.term));
        let behind_ms = behind.map(|anchor| now.0.saturating_sub(anchor.since.0).max(0).unsigned_abs());
        FollowerReport { follower, through, behind: behind.is_some(), behind_ms }
    };
    told.chain(moved).chain(steered).map(report).collect()
}

async fn ask_member(hub: &IotHub, config: &PoolConfig, clock: Clock, member: MemberId) -> (MemberId, MemberSeen) {
    let seat = seat(config, &member);
    let timeout = config.policy.timings.call_timeout;
    let (answer, opinions) = tokio::join!(hub.peek(&seat, timeout), hub.gather(&seat));
    (member, seen(answer, opinions, clock))
}

/// Who belongs to a pool, by its configuration.
pub async fn members_of(hub: &IotHub, config: &PoolConfig) -> Result<Vec<MemberId>, Error> {
    match &config.members {
        Members::Listed(members) => Ok(members.clone()),
        Members::Selected(condition) => hub.select(condition).await,
    }
}

/// A seat to look at: nothing is written on its behalf.
pub(super) fn seat(config: &PoolConfig, member: &MemberId) -> Seat {
    Seat::new(config, member, [])
}

fn seen(answer: Result<Answer, CallFailure>, opinions: Opinions, clock: Clock) -> MemberSeen {
    let at = clock.mono();
    let evidence = crate::run::evidence(opinions, at);
    match answer {
        Ok(value) => MemberSeen { answer: Some(Seen { value, at }), evidence, ..MemberSeen::default() },
        Err(failure) => MemberSeen { trouble: Some(Trouble { failure, since: at }), evidence, ..MemberSeen::default() },
    }
}

/// What all members are described from.
struct Known<'a> {
    config: &'a PoolConfig,
    anchor: Option<&'a Anchor>,
    seen: &'a BTreeMap<MemberId, MemberSeen>,
    clock: Clock,
}

impl Known<'_> {
    fn describe(&self, member: MemberId) -> MemberReport {
        let (seen, now) = (&self.seen[&member], self.clock.mono());
        let against = self.against(&member, seen);
        let why = match (&against, &seen.answer, &seen.trouble) {
            (_, None, Some(trouble)) => trouble.failure.to_string(),
            (Some(against), _, _) if !against.is_empty() => {
                against.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
            }
            (_, Some(answer), _) => workload(&answer.value.workload),
            _ => "the pool has no record yet".to_owned(),
        };
        let holder = self.anchor.and_then(|anchor| anchor.holder.as_ref());
        let answer = seen.answer.as_ref();
        let fenced = self.config.flag.as_ref().is_none_or(|flag| !flag.tells(&member));
        MemberReport {
            fenced,
            role: self.role(&member),
            state: answer.map(|answer| answer.value.state.as_str()),
            // A flag says nothing of terms.
            term: answer.filter(|_| fenced).map(|answer| answer.value.term),
            lease_left_ms: answer.and_then(|answer| answer.value.lease_left).map(|left| left.0),
            age_ms: answer.map(|answer| answer.age(now).0),
            fit: against.as_ref().is_some_and(Vec::is_empty),
            why,
            drift: drift(&member, holder, self.seen),
            evidence: seen.evidence.clone(),
            member,
        }
    }

    fn role(&self, member: &MemberId) -> &'static str {
        let holds = self.anchor.is_some_and(|anchor| anchor.holder.as_ref() == Some(member));
        let resting = self.anchor.is_some_and(|anchor| anchor.maintenance.contains_key(member));
        match (holds, resting) {
            (true, _) => "active",
            (false, true) => "maintenance",
            (false, false) => "standby",
        }
    }

    /// Everything that speaks against `member`; `None`: there is no record that could say.
    fn against(&self, member: &MemberId, seen: &MemberSeen) -> Option<Vec<Unfit>> {
        let (anchor, policy) = (self.anchor?, &self.config.policy);
        let mut against = unfit(member, seen, anchor, &policy.timings, self.clock.mono());
        against.extend(drifted(member, anchor, policy.on_drift, self.seen));
        Some(against)
    }
}

fn workload(workload: &Workload) -> String {
    match workload {
        Workload::Unknown => "fit; the workload is not probed".to_owned(),
        Workload::Ready => "fit; the workload can be started".to_owned(),
        Workload::Running => "fit; the workload runs".to_owned(),
        Workload::Unready(why) => format!("the workload is not ready: {why}"),
        Workload::Failing(why) => format!("the workload fails: {why}"),
    }
}
