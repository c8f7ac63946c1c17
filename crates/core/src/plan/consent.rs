//! Asking before a planned change.
//!
//! A planned change can wait for a word of those on site. What is not planned never does.

use serde::{Deserialize, Serialize};

use super::{Plan, Step, View, Waiting, Wish};
use crate::anchor::{Anchor, Reason, Verb};
use crate::grantor::Standing;
use crate::ids::{MemberId, Term};
use crate::seen::Seen;
use crate::time::{Millis, Time};

/// How long an answer counts. After a no the question is put again, unless an operator's request was refused with it.
const ANSWER_HOLDS: Millis = Millis(60_000);

/// What those say who are asked before a planned change.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Consultation {
    /// The change in question.
    pub wish: Wish,
    /// The term that would end.
    pub term: Term,
    /// Since when they have been asked.
    pub since: Time,
    /// What they said; `None`: nothing yet.
    pub verdict: Option<Seen<Verdict>>,
}

/// The answer of those who were asked.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "verdict")]
pub enum Verdict {
    /// The holder may change.
    Go,
    /// It must not.
    Veto {
        /// Who says so.
        by: String,
        /// Why.
        why: String,
    },
}

impl Consultation {
    /// Whether it is about that change, and neither answered too long ago nor still to be begun.
    pub(crate) fn is_about(&self, wish: &Wish, term: Term, now: Time) -> bool {
        let expired = self.verdict.as_ref().is_some_and(|verdict| verdict.age(now) > ANSWER_HOLDS);
        self.wish == *wish && self.term == term && !expired
    }
}

impl View {
    /// What may be done of `wish`: itself, if nobody needs to be asked or all have agreed. Otherwise they are asked,
    /// and only what is not planned is left to wish for.
    pub(super) fn cleared(&self, anchor: &Anchor, holder: &MemberId, wish: Wish, plan: &mut Plan) -> Option<Wish> {
        if !self.policy.consults || !is_planned(anchor, &wish.reason) {
            return Some(wish);
        }
        let consultation = self.consultation.as_ref().filter(|it| it.is_about(&wish, anchor.term, self.now.mono));
        if let Some(Verdict::Go) = consultation.and_then(|it| it.verdict.as_ref()).map(|verdict| &verdict.value) {
            return Some(wish);
        }
        let unplanned = self.unplanned(anchor, holder, plan);
        let moves = |wish: &Wish| self.replaceable(anchor, holder, wish, &mut Plan::default());
        if !unplanned.as_ref().is_some_and(moves) {
            self.consult(anchor, holder, wish, consultation, plan);
        }
        unplanned
    }

    fn consult(
        &self,
        anchor: &Anchor,
        holder: &MemberId,
        wish: Wish,
        consultation: Option<&Consultation>,
        plan: &mut Plan,
    ) {
        // Nobody is asked while the holder may be gone: then it is no planned change any more.
        if !matches!(self.standing, Standing::MayRunUntil(_)) {
            return;
        }
        match consultation.map(|it| it.verdict.as_ref()) {
            Some(Some(Seen { value: Verdict::Veto { by, why }, at })) => match &wish.reason {
                Reason::Asked { request, .. } => {
                    let refused = Some(format!("{by} says no: {why}"));
                    plan.steps.push(Step::Settle { request: request.clone(), refused });
                }
                _ => {
                    let left = self.now.mono.until(*at + ANSWER_HOLDS);
                    let (by, why) = (by.clone(), why.clone());
                    plan.waiting.push(Waiting::Vetoed { wish: wish.reason, by, why, left });
                }
            },
            Some(_) => plan.waiting.push(Waiting::Consent { wish: wish.reason }),
            // Nor about a change that cannot be made.
            None => {
                if self.may_move(anchor, &wish, plan)
                    && let Some(to) = self.candidate(anchor, Some(holder), &wish, plan)
                {
                    plan.waiting.push(Waiting::Consent { wish: wish.reason.clone() });
                    plan.steps.push(Step::Consult { wish, from: holder.clone(), to, term: anchor.term });
                }
            }
        }
    }
}

/// Whether a change for this reason can wait. A failover that was asked for cannot: it is how an operator overrules.
fn is_planned(anchor: &Anchor, reason: &Reason) -> bool {
    match reason {
        Reason::Failback | Reason::HolderInMaintenance => true,
        Reason::Asked { request, .. } => {
            anchor.requests.get(request).is_some_and(|asked| matches!(asked.verb, Verb::Switchover { .. }))
        }
        _ => false,
    }
}
