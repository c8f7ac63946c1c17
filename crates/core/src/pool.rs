//! One pool, as the controller runs it.
//!
//! Feed every fact to [`Pool::observe`], carry out what [`Pool::next_effect`] gives until it is `None`,
//! and come back with [`Fact::Tick`] no later than [`Pool::next_wake`]. A `WriteAnchor` always comes, and
//! must have succeeded, before the `Call` that relies on it.

mod carry;
mod consult;
mod contact;
mod follow;
mod founding;
mod mirror;
mod proof;
mod record;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use self::contact::{Contact, OpenCall};
pub use self::mirror::{Mirror, Role};
use self::record::RecordState;
use crate::anchor::Anchor;
use crate::brake::Brake;
use crate::charge::Version;
use crate::grantor::{Grantor, Standing};
use crate::ids::{CallId, ControlId, Epoch, FollowerId, MemberId, PoolName, Term};
use crate::messages::{Answer, Request};
use crate::plan::{Consultation, Plan, Verdict, View, Wish, plan, sentence};
use crate::policy::Policy;
use crate::seen::{CallFailure, Evidence, MemberSeen};
use crate::time::{Millis, Now, Time};

/// What a pool is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PoolSpec {
    /// Its name.
    pub name: PoolName,
    /// The control record under which it is run.
    pub control: ControlId,
    /// Its members, in the order of priority.
    pub members: Vec<MemberId>,
    /// Its rules.
    pub policy: Policy,
}

/// Something the controller learnt.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fact {
    /// We are in charge until then.
    InCharge {
        /// The number of our charge.
        epoch: Epoch,
        /// Until when this is proven.
        valid_until: Time,
    },
    /// We are not in charge.
    NotInCharge,
    /// The members have changed.
    Members(Vec<MemberId>),
    /// The record as it is; `None`: there is none.
    AnchorRead(Option<(Anchor, Version)>),
    /// The record could not be read, or makes no sense.
    AnchorReadFailed,
    /// Our write of the record succeeded.
    AnchorWritten(Version),
    /// Somebody else wrote the record first; nothing of ours was written.
    AnchorConflict,
    /// Our write of the record surely failed.
    AnchorWriteFailed,
    /// Our write of the record may or may not have succeeded.
    AnchorUnsure,
    /// An agent answered.
    Answered {
        /// Which call.
        call: CallId,
        /// What.
        answer: Answer,
    },
    /// A call brought no answer.
    Failed {
        /// Which call.
        call: CallId,
        /// Why.
        failure: CallFailure,
    },
    /// Second opinions on a member.
    Gathered {
        /// Whom.
        member: MemberId,
        /// What.
        evidence: Evidence,
    },
    /// Flag and tags of a member were written, or not.
    Mirrored {
        /// Whose.
        member: MemberId,
        /// Whether it succeeded.
        done: bool,
    },
    /// Those who were asked about a planned change have answered.
    Consulted {
        /// The change.
        wish: Wish,
        /// The term that would end.
        term: Term,
        /// What they said.
        verdict: Verdict,
    },
    /// A follower has done what it does after a change of holder, for everything through a term.
    Followed {
        /// Which.
        follower: FollowerId,
        /// Through which term.
        term: Term,
    },
    /// Something may have happened to a member: it is asked at once. Nothing else follows from a hint.
    Hinted(MemberId),
    /// Failovers are held, or not, for all pools.
    Brake(Brake),
    /// Time has passed.
    Tick,
}

/// Something the controller must do.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Read the record.
    ReadAnchor,
    /// Write the record if it still has this version; `None`: if there is none.
    WriteAnchor {
        /// What to write.
        anchor: Anchor,
        /// The version it must still have.
        basis: Option<Version>,
    },
    /// Call an agent.
    Call {
        /// To answer it by.
        call: CallId,
        /// Whom.
        member: MemberId,
        /// What.
        request: Request,
        /// How long the agent may keep its answer back.
        hold: Millis,
        /// When to give up.
        timeout: Millis,
    },
    /// Gather second opinions on a member.
    Gather {
        /// Whom.
        member: MemberId,
    },
    /// Write flag and tags of a member.
    Mirror {
        /// Whose.
        member: MemberId,
        /// What.
        mirror: Mirror,
    },
    /// Ask whether a planned change may be made. [`Fact::Consulted`] must follow, whatever happens.
    Consult {
        /// The change.
        wish: Wish,
        /// Who holds.
        from: MemberId,
        /// Who would take over as things are.
        to: MemberId,
        /// The term that would end.
        term: Term,
    },
    /// An agent has heard of a higher epoch than ours: a newer charge is needed.
    EpochSeen(Epoch),
    /// Keep a decision with what it was made from.
    Record(Box<Decision>),
}

/// A decision and what it was made from. [`plan`] makes the same plan of the same view again.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Decision {
    /// What was known.
    pub view: View,
    /// What was decided.
    pub plan: Plan,
    /// The same in one sentence.
    pub sentence: String,
}

/// One pool, as the controller runs it.
#[derive(Clone, Debug)]
pub struct Pool {
    spec: PoolSpec,
    charge: Option<Charged>,
    record: RecordState,
    grantor: Option<Grantor>,
    /// In this charge the record has proven to be what was written last: its holder said that it runs, or we wrote it.
    proven: bool,
    revoking: Option<Wish>,
    /// Until when the former holder is waited for before another takes over. Begun once per lapse.
    patience: Option<Time>,
    consultation: Option<Consultation>,
    /// What followers have done and the record does not say yet.
    followed: BTreeMap<FollowerId, Term>,
    /// Members that have released everything, where that is asked of all.
    released: BTreeSet<MemberId>,
    seen: BTreeMap<MemberId, MemberSeen>,
    contacts: BTreeMap<MemberId, Contact>,
    calls: BTreeMap<CallId, OpenCall>,
    next_call: CallId,
    term_seen: Term,
    brake: Brake,
    plan: Plan,
    status: Status,
    effects: VecDeque<Effect>,
    wake: Option<Time>,
}

#[derive(Clone, Copy, Debug)]
struct Charged {
    epoch: Epoch,
    since: Time,
    valid_until: Time,
}

/// What was last recorded as decision and shown as status.
#[derive(Clone, Debug, Default)]
struct Status {
    codes: Vec<&'static str>,
    since: Time,
}

impl Pool {
    /// A pool of which nothing is known yet.
    ///
    /// `first_call` numbers the calls: two runs that share a transport should start apart.
    pub fn new(spec: PoolSpec, first_call: CallId) -> Self {
        Self {
            spec,
            charge: None,
            record: RecordState::default(),
            grantor: None,
            proven: false,
            revoking: None,
            patience: None,
            consultation: None,
            followed: BTreeMap::new(),
            released: BTreeSet::new(),
            seen: BTreeMap::new(),
            contacts: BTreeMap::new(),
            calls: BTreeMap::new(),
            next_call: first_call,
            term_seen: Term(0),
            brake: Brake::Off,
            plan: Plan::default(),
            status: Status::default(),
            effects: VecDeque::new(),
            wake: None,
        }
    }

    /// Takes in one fact. Never waits, never fails; afterwards drain [`Pool::next_effect`].
    pub fn observe(&mut self, now: Now, fact: Fact) {
        match fact {
            Fact::InCharge { epoch, valid_until } => self.in_charge(now.mono, epoch, valid_until),
            Fact::NotInCharge => self.out_of_charge(),
            Fact::Members(members) => self.spec.members = members,
            Fact::AnchorRead(read) => self.anchor_read(now, read),
            Fact::AnchorReadFailed => self.anchor_read_failed(now.mono),
            Fact::AnchorWritten(version) => self.anchor_written(now.mono, version),
            Fact::AnchorConflict => self.anchor_write_ended(now.mono),
            Fact::AnchorWriteFailed => self.anchor_write_ended(now.mono + self.spec.policy.timings.retry),
            Fact::AnchorUnsure => self.anchor_unsure(now.mono),
            Fact::Answered { call, answer } => self.answered(now.mono, call, answer),
            Fact::Failed { call, failure } => self.failed(now.mono, call, failure),
            Fact::Gathered { member, evidence } => self.gathered(&member, evidence),
            Fact::Mirrored { member, done } => self.mirrored(now.mono, &member, done),
            Fact::Consulted { wish, term, verdict } => self.consulted(now.mono, &wish, term, verdict),
            Fact::Followed { follower, term } => self.followed(follower, term),
            Fact::Hinted(member) => self.hinted(now.mono, &member),
            Fact::Brake(brake) => self.brake = brake,
            Fact::Tick => {}
        }
        self.drive(now);
    }

    /// What to do next.
    pub fn next_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When to come back at the latest.
    pub fn next_wake(&self) -> Option<Time> {
        self.wake
    }

    /// Everybody who is talked to: the members, and whoever was granted something.
    pub fn met(&self) -> impl Iterator<Item = &MemberId> {
        self.contacts.keys()
    }

    /// The last plan.
    pub fn last_plan(&self) -> &Plan {
        &self.plan
    }

    /// What is known, as a decision would see it.
    pub fn view(&self, now: Now) -> View {
        View {
            policy: self.spec.policy.clone(),
            members: self.spec.members.clone(),
            control: self.spec.control.clone(),
            epoch: self.charge.map(|charge| charge.epoch),
            anchor: self.record.certain().cloned(),
            standing: self.standing(now.mono),
            given: self.grantor.as_ref().and_then(Grantor::given).map(|(member, term)| (member.clone(), term)),
            proven: self.proven,
            revoking: self.revoking.clone(),
            patience: self.patience,
            consultation: self.consultation.clone(),
            seen: self.seen.clone(),
            term_seen: self.term_seen,
            brake: self.brake,
            now,
        }
    }

    /// The pool's state in one sentence.
    pub fn sentence(&self, now: Now) -> String {
        sentence(&self.view(now), &self.plan)
    }

    /// Whether the pool has a holder that does not answer: what the mass-failure brake counts.
    pub fn looks_dead(&self) -> bool {
        let holder = self.record.known().and_then(|anchor| anchor.holder.as_ref());
        let trouble = holder.and_then(|holder| self.seen.get(holder)).and_then(|seen| seen.trouble.as_ref());
        self.charge.is_some() && trouble.is_some_and(|trouble| trouble.failure.is_about_member())
    }

    fn push(&mut self, effect: Effect) {
        self.effects.push_back(effect);
    }

    fn standing(&self, now: Time) -> Standing {
        self.grantor.as_ref().map_or(Standing::MayRunUntil(Time::from_ms(u64::MAX)), |grantor| grantor.standing(now))
    }

    fn in_charge(&mut self, now: Time, epoch: Epoch, valid_until: Time) {
        match &mut self.charge {
            Some(charge) if charge.epoch == epoch => charge.valid_until = valid_until,
            _ => {
                self.out_of_charge();
                self.charge = Some(Charged { epoch, since: now, valid_until });
            }
        }
    }

    /// Whatever was promised, somebody else may be promising next: start from nothing when in charge again.
    fn out_of_charge(&mut self) {
        self.charge = None;
        self.record.out_of_charge();
        self.grantor = None;
        self.proven = false;
        self.revoking = None;
        self.patience = None;
        self.consultation = None;
        self.followed.clear();
        self.released.clear();
        self.calls.clear();
        for contact in self.contacts.values_mut() {
            *contact = Contact::default();
        }
    }

    fn drive(&mut self, now: Now) {
        if self.charge.is_some_and(|charge| now.mono >= charge.valid_until) {
            self.out_of_charge();
        }
        self.expire_calls(now.mono);
        self.meet_members();
        self.note_fitness(now.mono);
        if matches!(self.standing(now.mono), Standing::MayRunUntil(_)) {
            self.patience = None;
        }
        self.prove_record();
        if self.charge.is_some() {
            self.read_record_in_time(now.mono);
            self.found(now);
            self.clear_up(now.mono);
        }
        let view = self.view(now);
        self.plan = self.founding_plan(now.mono).unwrap_or_else(|| plan(&view));
        self.carry_out(now, view);
        if self.charge.is_some() {
            self.keep_contact(now.mono);
            self.mirror(now.mono);
            self.gather(now.mono);
        }
        self.wake = Some(self.wake_at(now.mono));
    }

    /// Everybody who is to be talked to: the members, and whoever was granted something.
    fn meet_members(&mut self) {
        let holder = self.record.known().and_then(|anchor| anchor.holder.clone());
        let given = self.grantor.as_ref().and_then(Grantor::given).map(|(member, _)| member.clone());
        let met: BTreeSet<MemberId> = self.spec.members.iter().cloned().chain(holder).chain(given).collect();
        self.part_with(&met);
        self.seen.retain(|member, _| met.contains(member));
        for member in met {
            self.contacts.entry(member.clone()).or_default();
            self.seen.entry(member).or_default();
        }
    }

    fn note_fitness(&mut self, now: Time) {
        let Some(anchor) = self.record.known() else { return };
        for (member, seen) in &mut self.seen {
            let fit = crate::fitness::unfit(member, seen, anchor, &self.spec.policy.timings, now).is_empty();
            seen.fit_since = fit.then(|| seen.fit_since.unwrap_or(now));
        }
    }

    fn wake_at(&self, now: Time) -> Time {
        let timings = &self.spec.policy.timings;
        let quiet = match self.standing(now) {
            Standing::MayRunUntil(until) => Some(until),
            Standing::Free(_) => None,
        };
        let calls = self.calls.values().map(|call| call.due);
        let charge = self.charge.map(|charge| charge.valid_until);
        let contacts = self.contacts.iter().filter_map(|(member, contact)| self.next_contact(now, member, contact));
        // What has passed has just been acted on, as far as it could be.
        let soonest = calls
            .chain(quiet)
            .chain(charge)
            .chain(contacts)
            .chain(self.record.next_read())
            .chain(self.patience)
            .filter(|at| *at > now)
            .min();
        let latest = now + timings.renew;
        soonest.map_or(latest, |soonest| soonest.min(latest))
    }
}

#[cfg(test)]
mod tests;
