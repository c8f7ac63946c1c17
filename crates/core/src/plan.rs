//! What to do next, and why not more.
//!
//! [`plan`] is a pure function of what was asked for and what was seen. It leaves its execution no
//! choice; what it does not do it explains by a [`Waiting`].

mod consent;
mod successor;
mod waiting;
mod wish;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use self::consent::{Consultation, Verdict};
pub use self::waiting::Waiting;
pub use self::wish::Wish;
use crate::anchor::{Anchor, Reason, Verb};
use crate::brake::Brake;
use crate::grantor::{Free, Standing};
use crate::ids::{ControlId, Epoch, MemberId, NUMBER_MAX, RequestId, Term};
use crate::policy::Policy;
use crate::seen::MemberSeen;
use crate::time::{Now, Time};

/// Everything that a decision is made from.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct View {
    /// The rules.
    pub policy: Policy,
    /// The members, in the order of priority.
    pub members: Vec<MemberId>,
    /// The control record under which we act.
    pub control: ControlId,
    /// The charge under which we act; `None`: we are not in charge.
    pub epoch: Option<Epoch>,
    /// The record of the pool.
    pub anchor: Option<Anchor>,
    /// Whether the last holder may still run.
    pub standing: Standing,
    /// Who that is, and in which term.
    pub given: Option<(MemberId, Term)>,
    /// The record is known to be what was written last. Until then its term is not gone on with, and the next one leaps.
    #[serde(default = "proven")]
    pub proven: bool,
    /// A revoke has been sent to the holder and not been answered yet: for this wish.
    pub revoking: Option<Wish>,
    /// Until when the former holder is given the chance to answer before another takes over; `None`: not begun.
    #[serde(default)]
    pub patience: Option<Time>,
    /// What those say who are asked before a planned change.
    #[serde(default)]
    pub consultation: Option<Consultation>,
    /// What was seen.
    pub seen: BTreeMap<MemberId, MemberSeen>,
    /// The newest term heard of from anybody.
    pub term_seen: Term,
    /// Whether failovers are held for all pools.
    pub brake: Brake,
    /// The present.
    pub now: Now,
}

/// Views that were kept without it are of records that nobody doubted.
fn proven() -> bool {
    true
}

/// What to do, and what is waited for.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Plan {
    /// To be done now, in this order.
    pub steps: Vec<Step>,
    /// Why not more.
    pub waiting: Vec<Waiting>,
}

/// Something to do.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "step")]
pub enum Step {
    /// Put our epoch, and a longer ttl if there is one, into the record.
    Claim,
    /// Renew the holder's lease.
    Renew {
        /// Who holds.
        member: MemberId,
        /// Which term.
        term: Term,
    },
    /// Ask members for a fresh answer.
    Probe {
        /// Whom.
        members: Vec<MemberId>,
    },
    /// Ask a holder whose lease has lapsed whether it goes on, before another takes over.
    Hear {
        /// Whom.
        member: MemberId,
    },
    /// Ask whether a planned change may be made.
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
    /// Take the holder's term back.
    Revoke {
        /// Who holds.
        member: MemberId,
        /// Which term.
        term: Term,
        /// What for.
        wish: Wish,
    },
    /// Take an operator's word that the holder is not running.
    Fence,
    /// Write a new holder into the record.
    Appoint {
        /// Whom.
        member: MemberId,
        /// The new term.
        term: Term,
        /// Why.
        reason: Reason,
    },
    /// Carry out or refuse an operator's request that moves nobody.
    Settle {
        /// Which.
        request: RequestId,
        /// Why it is refused; `None`: it is done.
        refused: Option<String>,
    },
}

/// What to do next.
pub fn plan(view: &View) -> Plan {
    let mut plan = Plan::default();
    let Some(anchor) = standing_to_act(view, &mut plan) else { return plan };
    view.settle_requests(anchor, &mut plan);
    match &anchor.holder {
        Some(holder) => view.with_holder(anchor, holder, &mut plan),
        None => view.without_holder(anchor, &mut plan),
    }
    view.say_drift(anchor, &mut plan);
    plan
}

/// The record, if we may act on it.
fn standing_to_act<'a>(view: &'a View, plan: &mut Plan) -> Option<&'a Anchor> {
    let Some(epoch) = view.epoch else {
        plan.waiting.push(Waiting::NotInCharge);
        return None;
    };
    let Some(anchor) = &view.anchor else {
        plan.waiting.push(Waiting::AnchorUnread);
        return None;
    };
    if anchor.control != view.control {
        plan.waiting.push(Waiting::ForeignControl { control: anchor.control.clone() });
        return None;
    }
    if anchor.epoch > epoch {
        plan.waiting.push(Waiting::Outranked { epoch: anchor.epoch });
        return None;
    }
    if anchor.epoch < epoch || anchor.ttl < view.policy.timings.ttl {
        plan.steps.push(Step::Claim);
        plan.waiting.push(Waiting::Claiming);
        return None;
    }
    Some(anchor)
}

impl View {
    fn with_holder(&self, anchor: &Anchor, holder: &MemberId, plan: &mut Plan) {
        let term = anchor.term;
        let ended = self.term_ended(term);
        let under_way = self.revoking.is_some() || ended;
        self.say_unconfirmed(anchor, holder, plan);
        if let (Some(mark), false) = (&anchor.paused, under_way) {
            plan.waiting.push(Waiting::Paused { by: mark.by.clone() });
            self.go_on(anchor, holder, plan);
            return;
        }
        if let Some(wish) = self.fenced_request(anchor, plan) {
            // Nothing is granted on top of an operator's word: it could not cover that.
            self.replace(anchor, holder, &wish, plan);
            return;
        }
        let wish = match &self.revoking {
            Some(revoking) => Some(revoking.clone()),
            None => self.wish(anchor, holder, plan).and_then(|wish| self.cleared(anchor, holder, wish, plan)),
        };
        match &self.standing {
            Standing::Free(_) if ended => {
                let wish = wish.unwrap_or_else(Wish::term_spent);
                self.replace(anchor, holder, &wish, plan);
            }
            Standing::Free(_) if self.revoking.is_some() => {
                let wish = wish.unwrap_or_else(Wish::term_spent);
                self.replace(anchor, holder, &wish, plan);
            }
            Standing::Free(_) => self.after_lapse(anchor, holder, wish, plan),
            Standing::MayRunUntil(until) => self.during_lease(anchor, holder, *until, wish, plan),
        }
    }

    /// Says why a holder that answers is not renewed.
    fn say_unconfirmed(&self, anchor: &Anchor, holder: &MemberId, plan: &mut Plan) {
        if let (Standing::MayRunUntil(until), false, true) = (&self.standing, self.proven, self.is_fresh(holder)) {
            let left = self.now.mono.until(*until);
            plan.waiting.push(Waiting::Unconfirmed { member: holder.clone(), term: anchor.term, left });
        }
    }

    /// Whether `term` is over for good. What was released before it began says nothing about it: its holder
    /// is yet to be granted.
    fn term_ended(&self, term: Term) -> bool {
        match &self.standing {
            Standing::Free(Free::Released { term: released, .. }) => *released >= term,
            Standing::Free(Free::Fenced) => true,
            Standing::Free(Free::Lapsed) | Standing::MayRunUntil(_) => false,
        }
    }

    /// The holder may be running.
    fn during_lease(&self, anchor: &Anchor, holder: &MemberId, until: Time, wish: Option<Wish>, plan: &mut Plan) {
        let under_way = self.revoking.is_some();
        if let Some(wish) = wish {
            if under_way || self.replaceable(anchor, holder, &wish, plan) {
                self.revoke(anchor, holder, wish, plan);
                return;
            }
            if let Reason::WorkloadFailing { said } = wish.reason {
                plan.waiting.push(Waiting::WorkloadFailing { member: holder.clone(), said });
            }
        }
        self.keep(holder, anchor.term, plan);
        if let Some(trouble) = self.seen.get(holder).and_then(|seen| seen.trouble.as_ref()) {
            plan.waiting.push(Waiting::HolderMayStillRun {
                member: Some(holder.clone()),
                until,
                left: self.now.mono.until(until),
                why: Some(trouble.failure.clone()),
            });
            self.probe_standbys(holder, plan);
        } else if self.is_overdue(holder) {
            plan.steps.push(Step::Probe { members: vec![holder.clone()] });
        }
    }

    /// Takes back what was given, from whom it was given to.
    fn revoke(&self, anchor: &Anchor, holder: &MemberId, wish: Wish, plan: &mut Plan) {
        let member = self.given.as_ref().map_or(holder, |(member, _)| member).clone();
        let term = anchor.term.max(self.term_seen);
        plan.waiting.push(Waiting::Release { member: member.clone(), wish: wish.reason.clone() });
        plan.steps.push(Step::Revoke { member, term, wish });
        self.probe_standbys(holder, plan);
    }

    /// The holder's lease has run out without a word.
    fn after_lapse(&self, anchor: &Anchor, holder: &MemberId, wish: Option<Wish>, plan: &mut Plan) {
        if self.is_back(anchor, holder) && wish.is_none() {
            self.go_on(anchor, holder, plan);
            return;
        }
        let unasked = wish.is_none() && self.may_be_well(anchor, holder);
        let wish = wish.unwrap_or_else(Wish::holder_silent);
        if self.may_move(anchor, &wish, plan) {
            if unasked && self.is_ready_to_replace(anchor, holder, &wish) {
                let left = self.patience.map_or(self.policy.timings.patience(), |until| self.now.mono.until(until));
                plan.waiting.push(Waiting::Hearing { member: holder.clone(), left });
                plan.steps.push(Step::Hear { member: holder.clone() });
                return;
            }
            if self.replace(anchor, holder, &wish, plan) {
                return;
            }
        }
        // A holder that comes back goes on in its own term.
        self.keep(holder, anchor.term, plan);
    }

    fn without_holder(&self, anchor: &Anchor, plan: &mut Plan) {
        if let Some(mark) = &anchor.paused {
            plan.waiting.push(Waiting::Paused { by: mark.by.clone() });
            return;
        }
        let fenced = self.fenced_request(anchor, plan);
        if let (Standing::MayRunUntil(until), None) = (&self.standing, &fenced) {
            let until = *until;
            let left = self.now.mono.until(until);
            plan.waiting.push(Waiting::HolderMayStillRun { member: None, until, left, why: None });
            return;
        }
        let wish = fenced.or_else(|| self.asked(anchor, None, plan)).unwrap_or_else(Wish::first);
        if !self.may_move(anchor, &wish, plan) {
            return;
        }
        self.appoint_successor(anchor, None, &wish, plan);
    }

    /// Goes on with the holder; in a new term if nobody knows whether the recorded one is the last.
    fn go_on(&self, anchor: &Anchor, holder: &MemberId, plan: &mut Plan) {
        let lost = !self.proven && matches!(self.standing, Standing::Free(_));
        if !(lost && self.is_back(anchor, holder) && self.appoint(anchor, holder, &Wish::term_spent(), plan)) {
            self.keep(holder, anchor.term, plan);
        }
    }

    /// Whether the holder answers and could run.
    fn is_back(&self, anchor: &Anchor, holder: &MemberId) -> bool {
        self.members.contains(holder) && self.is_fresh(holder) && self.against(anchor, holder).is_empty()
    }

    /// Goes on with the holder, and says what is wrong with it.
    fn keep(&self, holder: &MemberId, term: Term, plan: &mut Plan) {
        let refusal = self.seen.get(holder).and_then(|seen| seen.answer.as_ref()).and_then(|a| a.value.refused.clone());
        if let Some(refusal) = refusal.filter(|refusal| !refusal.is_passing()) {
            plan.waiting.push(Waiting::HolderRefuses { member: holder.clone(), refusal });
        }
        plan.steps.push(Step::Renew { member: holder.clone(), term });
    }

    /// Requests that move nobody.
    fn settle_requests(&self, anchor: &Anchor, plan: &mut Plan) {
        for (request, asked) in &anchor.requests {
            let refused = match &asked.verb {
                Verb::Maintenance { member, .. } if !self.members.contains(member) => {
                    Some(format!("{member} is no member of the pool"))
                }
                Verb::Pause | Verb::Resume | Verb::Maintenance { .. } => None,
                Verb::Switchover { .. } | Verb::Failover { .. } => continue,
            };
            plan.steps.push(Step::Settle { request: request.clone(), refused });
        }
    }

    /// The next term, above everything seen.
    fn next_term(&self, anchor: &Anchor, plan: &mut Plan) -> Option<Term> {
        let newest = anchor.term.max(self.term_seen);
        let next = newest.above(self.proven, anchor.held_for(self.now.wall));
        if next.0 > NUMBER_MAX {
            plan.waiting.push(Waiting::TermExhausted { term: newest });
            return None;
        }
        Some(next)
    }
}

/// One sentence on the pool, for the log and the tables.
pub fn sentence(view: &View, plan: &Plan) -> String {
    let holding = match view.anchor.as_ref().and_then(Anchor::held) {
        Some((holder, term)) => format!("{holder} holds term {term}"),
        None => "nobody holds".to_owned(),
    };
    match plan.waiting.as_slice() {
        [] => holding,
        waiting => {
            let said: Vec<String> = waiting.iter().map(ToString::to_string).collect();
            format!("{holding}; {}", said.join("; "))
        }
    }
}

#[cfg(test)]
mod tests;
