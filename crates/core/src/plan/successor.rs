use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::{Plan, Step, View, Waiting, Wish};
use crate::anchor::{Anchor, Reason, Verb};
use crate::brake::Brake;
use crate::drift::drift;
use crate::fitness::{Preference, Unfit, drifted, unfit};
use crate::grantor::Standing;
use crate::ids::MemberId;
use crate::policy::OnDrift;
use crate::seen::CallFailure;
use crate::time::Millis;

impl View {
    /// Everything that speaks against `member`.
    pub(super) fn against(&self, anchor: &Anchor, member: &MemberId) -> Vec<Unfit> {
        let mut against = match self.seen.get(member) {
            Some(seen) => unfit(member, seen, anchor, &self.policy.timings, self.now.mono),
            None => vec![Unfit::NotHeard],
        };
        against.extend(drifted(member, anchor, self.policy.on_drift, &self.seen));
        against
    }

    /// The same for a move that `wish` asks for: an operator's failover to a member takes it drifted.
    fn against_for(&self, anchor: &Anchor, member: &MemberId, wish: &Wish) -> Vec<Unfit> {
        let mut against = self.against(anchor, member);
        if wish.to.as_ref() == Some(member) && wish.is_failover(anchor) {
            against.retain(|reason| !matches!(reason, Unfit::Drifted(_)));
        }
        against
    }

    /// Says who has drifted, before it matters.
    pub(super) fn say_drift(&self, anchor: &Anchor, plan: &mut Plan) {
        if self.policy.on_drift == OnDrift::Ignore {
            return;
        }
        for member in &self.members {
            if let Some(drift) = drift(member, anchor.holder.as_ref(), &self.seen) {
                plan.waiting.push(Waiting::Drifted { member: member.clone(), drift });
            }
        }
    }

    /// Whether `member` has answered just now.
    pub(super) fn is_fresh(&self, member: &MemberId) -> bool {
        let seen = self.seen.get(member);
        let answer = seen.filter(|seen| seen.trouble.is_none()).and_then(|seen| seen.answer.as_ref());
        answer.is_some_and(|answer| answer.age(self.now.mono) <= self.policy.timings.fresh())
    }

    /// Whether a holder in no known trouble ought to have answered by now.
    pub(super) fn is_overdue(&self, holder: &MemberId) -> bool {
        let timings = &self.policy.timings;
        let answer = self.seen.get(holder).and_then(|seen| seen.answer.as_ref());
        answer.is_some_and(|answer| answer.age(self.now.mono) > timings.renew + timings.call_timeout)
    }

    /// Whether a holder whose lease has lapsed may be well: all that is against it is that it could not be asked,
    /// and it has not been waited for yet.
    pub(super) fn may_be_well(&self, anchor: &Anchor, holder: &MemberId) -> bool {
        let unasked = |reason: &Unfit| match reason {
            Unfit::NotHeard | Unfit::Stale { .. } => true,
            Unfit::Silent { why, .. } => !why.is_about_member(),
            _ => false,
        };
        self.patience.is_none_or(|until| self.now.mono < until)
            && self.members.contains(holder)
            && self.against(anchor, holder).iter().all(unasked)
    }

    /// Whether somebody else could be appointed at this moment.
    pub(super) fn is_ready_to_replace(&self, anchor: &Anchor, holder: &MemberId, wish: &Wish) -> bool {
        self.candidate(anchor, Some(holder), wish, &mut Plan::default()).is_some_and(|best| best != *holder)
    }

    /// Whether anybody but `holder` is fit, or may turn out to be.
    pub(super) fn somebody_may_be_fit(&self, anchor: &Anchor, holder: Option<&MemberId>, verb: &Verb) -> bool {
        let others = self.members.iter().filter(|member| Some(*member) != holder);
        others.map(|member| self.against(anchor, member)).any(|against| self.is_yet_to_say(&against, Some(verb)))
    }

    /// Whether a member may turn out to be fit for what was asked: it has not been heard yet, or it is starting while
    /// the holder runs and a switchover can wait for it.
    pub(super) fn is_yet_to_say(&self, against: &[Unfit], verb: Option<&Verb>) -> bool {
        let waits = matches!(verb, Some(Verb::Switchover { .. })) && matches!(self.standing, Standing::MayRunUntil(_));
        against.iter().all(|reason| *reason == Unfit::NotHeard || waits && *reason == Unfit::Starting)
    }

    /// Asks every standby for a fresh answer: one of them will be needed.
    pub(super) fn probe_standbys(&self, holder: &MemberId, plan: &mut Plan) {
        let stale = |member: &&MemberId| *member != holder && !self.is_fresh(member);
        let members: Vec<MemberId> = self.members.iter().filter(stale).cloned().collect();
        if !members.is_empty() {
            plan.steps.push(Step::Probe { members });
        }
    }

    /// Whether a revoke would help: somebody is ready to take over right now.
    pub(super) fn replaceable(&self, anchor: &Anchor, holder: &MemberId, wish: &Wish, plan: &mut Plan) -> bool {
        self.may_move(anchor, wish, plan)
            && (wish.lets_holder_stay() || self.candidate(anchor, Some(holder), wish, plan).is_some())
    }

    /// Whether the guards let the active role move for this wish.
    pub(super) fn may_move(&self, anchor: &Anchor, wish: &Wish, plan: &mut Plan) -> bool {
        if self.brake == Brake::AllOff {
            plan.waiting.push(Waiting::AllOff);
            return false;
        }
        if !wish.reason.is_unplanned() {
            return true;
        }
        if let Brake::Held { dead, of } = self.brake {
            plan.waiting.push(Waiting::MassFailure { dead, of });
            return false;
        }
        let guard = self.policy.flap_guard;
        let count = anchor.unplanned_within(self.now.wall, guard.window);
        if count >= guard.max {
            plan.waiting.push(Waiting::FlapGuard { count, window: guard.window });
            return false;
        }
        true
    }

    /// The old term is over: gives a new one to the best member. Tells whether it did.
    pub(super) fn replace(&self, anchor: &Anchor, holder: &MemberId, wish: &Wish, plan: &mut Plan) -> bool {
        if self.appoint_successor(anchor, Some(holder), wish, plan) {
            return true;
        }
        // Somebody better is being asked, or an operator has said that the old holder is not there.
        let asked = plan.waiting.iter().any(|waiting| matches!(waiting, Waiting::FreshAnswer { .. }));
        if asked || matches!(wish.reason, Reason::Asked { fenced: true, .. }) {
            return false;
        }
        // The old holder is better than nobody, in a new term; unless it must not hold at all.
        let fenced = matches!(self.standing, Standing::MayRunUntil(_));
        let spent = fenced || self.term_ended(anchor.term) || self.revoking.is_some();
        let fit = self.members.contains(holder) && self.against(anchor, holder).is_empty();
        if spent && fit && self.is_fresh(holder) {
            return self.appoint(anchor, holder, &Wish::term_spent(), plan);
        }
        if spent && fit {
            plan.steps.push(Step::Probe { members: vec![holder.clone()] });
        }
        false
    }

    /// Gives a new term to the best member that is fit and has answered just now. Tells whether it did.
    pub(super) fn appoint_successor(
        &self,
        anchor: &Anchor,
        holder: Option<&MemberId>,
        wish: &Wish,
        plan: &mut Plan,
    ) -> bool {
        match self.candidate(anchor, holder, wish, plan) {
            Some(member) => self.appoint(anchor, &member, wish, plan),
            None => false,
        }
    }

    pub(super) fn appoint(&self, anchor: &Anchor, member: &MemberId, wish: &Wish, plan: &mut Plan) -> bool {
        let Some(term) = self.next_term(anchor, plan) else { return false };
        plan.steps.push(Step::Appoint { member: member.clone(), term, reason: wish.reason.clone() });
        true
    }

    /// The best fit member, if it has answered just now; otherwise it is asked.
    pub(super) fn candidate(
        &self,
        anchor: &Anchor,
        holder: Option<&MemberId>,
        wish: &Wish,
        plan: &mut Plan,
    ) -> Option<MemberId> {
        if let Some(to) = self.yet_to_say(anchor, wish) {
            // Nobody else is taken before the one asked for has had its say.
            if !self.is_fresh(to) {
                plan.steps.push(Step::Probe { members: vec![to.clone()] });
            }
            plan.waiting.push(Waiting::FreshAnswer { member: to.clone() });
            return None;
        }
        let mut against = BTreeMap::new();
        let mut fit = Vec::new();
        for (priority, member) in self.members.iter().enumerate() {
            if Some(member) == holder && !wish.lets_holder_stay() {
                continue;
            }
            let reasons = self.against_for(anchor, member, wish);
            if reasons.is_empty() {
                fit.push(self.preference(member, priority, holder, wish));
            } else {
                against.insert(member.clone(), reasons);
            }
        }
        let Some(best) = fit.into_iter().min() else {
            self.explain_nobody(against, plan);
            return None;
        };
        if self.is_fresh(&best.member) {
            return Some(best.member);
        }
        plan.steps.push(Step::Probe { members: vec![best.member.clone()] });
        plan.waiting.push(Waiting::FreshAnswer { member: best.member });
        None
    }

    /// The one asked for, if it is neither fit nor certain not to be.
    pub(super) fn yet_to_say<'a>(&self, anchor: &Anchor, wish: &'a Wish) -> Option<&'a MemberId> {
        let verb = wish.request(anchor).map(|asked| &asked.verb);
        let to = wish.to.as_ref()?;
        let against = self.against_for(anchor, to, wish);
        (!against.is_empty() && self.is_yet_to_say(&against, verb)).then_some(to)
    }

    fn preference(&self, member: &MemberId, priority: usize, holder: Option<&MemberId>, wish: &Wish) -> Preference {
        let fit_since = self.seen.get(member).and_then(|seen| seen.fit_since);
        let asked_for = wish.to.as_ref() == Some(member);
        Preference {
            is_former: holder == Some(member) && !asked_for && !matches!(wish.reason, Reason::TermSpent),
            priority: if asked_for { 0 } else { priority + 1 },
            fit_for: Reverse(fit_since.map_or(Millis::ZERO, |since| self.now.mono.since(since))),
            member: member.clone(),
        }
    }

    fn explain_nobody(&self, against: BTreeMap<MemberId, Vec<Unfit>>, plan: &mut Plan) {
        let silent = |reasons: &Vec<Unfit>| {
            reasons.iter().any(|reason| {
                matches!(reason, Unfit::Silent { why, .. } if *why != CallFailure::NotFound)
                    || matches!(reason, Unfit::Stale { .. })
            })
        };
        let everyone = against.len() == self.members.len() && against.len() > 1 && against.values().all(silent);
        plan.waiting.push(if everyone { Waiting::EveryoneSilent } else { Waiting::NoFitStandby { against } });
    }
}
