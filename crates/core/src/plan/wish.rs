use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Plan, Step, View, Waiting};
use crate::anchor::{Anchor, OperatorRequest, Reason, Verb};
use crate::brake::Brake;
use crate::fitness::Unfit;
use crate::grantor::Standing;
use crate::ids::{MemberId, RequestId};
use crate::messages::{Refusal, Workload};
use crate::policy::{Failback, OnWorkloadFailure};

/// Why the active role should move, and to whom.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Wish {
    /// Why.
    pub reason: Reason,
    /// To this member; to the best one if not said.
    pub to: Option<MemberId>,
}

impl fmt::Display for Wish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason.fmt(f)
    }
}

impl Wish {
    pub(super) fn first() -> Self {
        Self { reason: Reason::First, to: None }
    }

    pub(super) fn term_spent() -> Self {
        Self { reason: Reason::TermSpent, to: None }
    }

    pub(super) fn holder_silent() -> Self {
        Self { reason: Reason::HolderSilent, to: None }
    }

    /// Whether the old holder may be appointed again.
    pub(super) fn lets_holder_stay(&self) -> bool {
        matches!(self.reason, Reason::TermSpent | Reason::First | Reason::HolderSilent)
    }

    /// Whether an operator named a member in a failover.
    pub(super) fn is_failover(&self, anchor: &Anchor) -> bool {
        self.request(anchor).is_some_and(|asked| matches!(asked.verb, Verb::Failover { .. }))
    }

    /// The operator's request behind it that is not settled yet.
    pub(super) fn request<'a>(&self, anchor: &'a Anchor) -> Option<&'a OperatorRequest> {
        let Reason::Asked { request, .. } = &self.reason else { return None };
        anchor.requests.get(request)
    }

    fn because(reason: Reason) -> Option<Self> {
        Some(Self { reason, to: None })
    }
}

impl View {
    /// What speaks for moving the active role away from `holder`; the first that applies.
    pub(super) fn wish(&self, anchor: &Anchor, holder: &MemberId, plan: &mut Plan) -> Option<Wish> {
        let asked = self.asked(anchor, Some(holder), plan);
        if asked.as_ref().is_some_and(|wish| self.yet_to_say(anchor, wish).is_none()) {
            return asked;
        }
        // A request that waits for a member keeps nothing else from being done.
        self.holder_must_go(anchor, holder)
            .or_else(|| self.term_is_spent(anchor, holder))
            .or_else(|| self.workload_fails(holder, plan))
            .or(asked)
            .or_else(|| self.failback(anchor, holder))
    }

    /// An operator's request that moves the active role. Requests that cannot be met are refused at once.
    pub(super) fn asked(&self, anchor: &Anchor, holder: Option<&MemberId>, plan: &mut Plan) -> Option<Wish> {
        for (request, asked) in &anchor.requests {
            let (to, fenced) = match &asked.verb {
                Verb::Switchover { to } => (to, false),
                Verb::Failover { to, fenced } => (to, *fenced),
                _ => continue,
            };
            match self.refusal(anchor, holder, asked, to.as_ref()) {
                Met::Refused(why) => {
                    plan.steps.push(Step::Settle { request: request.clone(), refused: Some(why) });
                }
                Met::Done => plan.steps.push(Step::Settle { request: request.clone(), refused: None }),
                Met::Open => {
                    return Some(Self::asked_wish(request, asked, to.clone(), fenced));
                }
            }
        }
        None
    }

    /// An operator's word that the holder is not running: it ends any wait for the holder.
    pub(super) fn fenced_request(&self, anchor: &Anchor, plan: &mut Plan) -> Option<Wish> {
        if !matches!(self.standing, Standing::MayRunUntil(_)) || self.brake == Brake::AllOff {
            return None;
        }
        let fenced = |asked: &OperatorRequest| matches!(asked.verb, Verb::Failover { fenced: true, .. });
        let (request, asked) = anchor.requests.iter().find(|(_, asked)| fenced(asked))?;
        let Verb::Failover { to, .. } = &asked.verb else { return None };
        if matches!(self.refusal(anchor, anchor.holder.as_ref(), asked, to.as_ref()), Met::Open) {
            plan.steps.push(Step::Fence);
            return Some(Self::asked_wish(request, asked, to.clone(), true));
        }
        None
    }

    fn asked_wish(request: &RequestId, asked: &OperatorRequest, to: Option<MemberId>, fenced: bool) -> Wish {
        let reason = Reason::Asked { by: asked.by.clone(), request: request.clone(), fenced };
        Wish { reason, to }
    }

    fn refusal(
        &self,
        anchor: &Anchor,
        holder: Option<&MemberId>,
        asked: &OperatorRequest,
        to: Option<&MemberId>,
    ) -> Met {
        if let Some(to) = to {
            if !self.members.contains(to) {
                return Met::Refused(format!("{to} is no member of the pool"));
            }
            if holder == Some(to) {
                return Met::Done;
            }
            let mut against = self.against(anchor, to);
            if matches!(asked.verb, Verb::Failover { .. }) {
                against.retain(|reason| !matches!(reason, Unfit::Drifted(_)));
            }
            if !self.is_yet_to_say(&against, Some(&asked.verb)) {
                let said: Vec<String> = against.iter().map(ToString::to_string).collect();
                return Met::Refused(format!("{to} is not fit: {}", said.join(", ")));
            }
        }
        let silent = holder.and_then(|holder| self.seen.get(holder)).and_then(|seen| seen.trouble.as_ref());
        if let (Verb::Switchover { .. }, Some(trouble)) = (&asked.verb, silent) {
            return Met::Refused(format!(
                "the holder does not answer ({}): a failover can be asked for instead",
                trouble.failure
            ));
        }
        if to.is_none() && !self.somebody_may_be_fit(anchor, holder, &asked.verb) {
            return Met::Refused("no other member is fit".to_owned());
        }
        Met::Open
    }

    /// What speaks for moving the active role whether anybody agrees or not.
    pub(super) fn unplanned(&self, anchor: &Anchor, holder: &MemberId, plan: &mut Plan) -> Option<Wish> {
        self.holder_goes(holder)
            .or_else(|| self.term_is_spent(anchor, holder))
            .or_else(|| self.workload_fails(holder, plan))
    }

    fn holder_must_go(&self, anchor: &Anchor, holder: &MemberId) -> Option<Wish> {
        if self.members.contains(holder) && anchor.maintenance.contains_key(holder) {
            return Wish::because(Reason::HolderInMaintenance);
        }
        self.holder_goes(holder)
    }

    fn holder_goes(&self, holder: &MemberId) -> Option<Wish> {
        if !self.members.contains(holder) {
            return Wish::because(Reason::HolderRemoved);
        }
        let seen = self.seen.get(holder)?;
        if seen.answer.as_ref().is_some_and(|answer| answer.value.leaving) {
            return Wish::because(Reason::HolderLeaving);
        }
        let registry = seen.evidence.registry.as_ref()?;
        if registry.value.as_ref().is_none_or(crate::seen::Registry::is_disabled) {
            return Wish::because(Reason::HolderDisabled);
        }
        None
    }

    /// The recorded term cannot be granted to the recorded holder any more: it was released, somebody else
    /// was granted it, or a newer one was heard of.
    fn term_is_spent(&self, anchor: &Anchor, holder: &MemberId) -> Option<Wish> {
        let given_elsewhere = self.given.as_ref().is_some_and(|(m, t)| m != holder && *t >= anchor.term);
        if given_elsewhere || anchor.is_edited() || self.term_seen > anchor.term {
            return Some(Wish { reason: Reason::TermSpent, to: Some(holder.clone()) });
        }
        let answer = &self.seen.get(holder)?.answer.as_ref()?.value;
        let spent = match answer.refused {
            Some(Refusal::Released { through }) => through >= anchor.term,
            Some(Refusal::StaleTerm { seen }) => seen > anchor.term,
            _ => false,
        };
        spent.then(Wish::term_spent)
    }

    fn workload_fails(&self, holder: &MemberId, plan: &mut Plan) -> Option<Wish> {
        let answer = &self.seen.get(holder)?.answer.as_ref()?.value;
        let (Workload::Failing(said) | Workload::Unready(said)) = &answer.workload else { return None };
        if self.policy.on_workload_failure == OnWorkloadFailure::Stay {
            plan.waiting.push(Waiting::WorkloadFailing { member: holder.clone(), said: said.clone() });
            return None;
        }
        Wish::because(Reason::WorkloadFailing { said: said.clone() })
    }

    fn failback(&self, anchor: &Anchor, holder: &MemberId) -> Option<Wish> {
        let Failback::Automatic { after } = self.policy.failback else { return None };
        let place = self.members.iter().position(|member| member == holder)?;
        let better = self.members[..place].iter().find(|member| {
            let fit_for = self.seen.get(member).and_then(|seen| seen.fit_since).map(|since| self.now.mono.since(since));
            fit_for.is_some_and(|fit_for| fit_for >= after) && self.against(anchor, member).is_empty()
        })?;
        Some(Wish { reason: Reason::Failback, to: Some(better.clone()) })
    }
}

/// What can become of a request.
enum Met {
    Open,
    Done,
    Refused(String),
}
