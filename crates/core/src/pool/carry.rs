use super::{Decision, Effect, Pool};
use crate::anchor::{Anchor, Mark, Verb};
use crate::ids::RequestId;
use crate::plan::{Step, View, Waiting, sentence};
use crate::policy::{TTL_MIN, ttl_waited_for};
use crate::time::{Millis, Now};

/// How long a wait must last before it is written where those see it who see only the hub.
const STATUS_AFTER: Millis = Millis(5_000);

impl Pool {
    /// Carries out the plan. All changes of the record go into one write.
    pub(super) fn carry_out(&mut self, now: Now, view: View) {
        let steps = self.plan.steps.clone();
        let mut changed = None;
        let mut decided = false;
        for step in &steps {
            match step {
                Step::Renew { member, term } => self.renew(now.mono, member, *term),
                Step::Probe { members } => {
                    for member in members {
                        self.quick_hello(now.mono, member);
                    }
                }
                Step::Hear { member } => {
                    let patience = self.spec.policy.timings.patience();
                    self.patience.get_or_insert(now.mono + patience);
                    self.quick_hello(now.mono, member);
                }
                Step::Revoke { member, term, wish } => {
                    decided |= self.revoking.as_ref() != Some(wish);
                    self.revoking = Some(wish.clone());
                    self.call_revoke(now.mono, member, *term);
                }
                Step::Consult { wish, from, to, term } => {
                    decided = true;
                    self.consult(now.mono, wish, from, to, *term);
                }
                Step::Fence => {
                    decided = true;
                    if let Some(grantor) = &mut self.grantor {
                        grantor.fenced();
                    }
                }
                Step::Claim | Step::Appoint { .. } | Step::Settle { .. } => {
                    if self.record.may_write()
                        && let Some(anchor) = changed.take().or_else(|| self.record.certain().cloned())
                    {
                        decided |= !matches!(step, Step::Claim);
                        changed = Some(self.change(anchor, step, now));
                    }
                }
            }
        }
        if changed.is_none() && self.record.may_write() {
            changed = self.status_change(now);
        }
        if self.record.may_write() {
            changed = self.with_followed(changed);
        }
        if let Some(anchor) = changed {
            self.write_record(anchor);
        }
        self.record_decision(now, view, decided);
    }

    fn change(&self, mut anchor: Anchor, step: &Step, now: Now) -> Anchor {
        match step {
            Step::Claim => {
                anchor.epoch = self.charge.map_or(anchor.epoch, |charge| charge.epoch.max(anchor.epoch));
                anchor.ttl = ttl_waited_for(anchor.ttl, TTL_MIN).max(self.spec.policy.timings.ttl);
            }
            Step::Appoint { member, term, reason } => {
                anchor.appoint(member.clone(), *term, reason.clone(), now.wall);
                // Nobody runs at this moment, so a shorter ttl can be recorded too.
                anchor.ttl = self.spec.policy.timings.ttl;
            }
            Step::Settle { request, refused } => settle(&mut anchor, request, refused.as_ref(), now),
            Step::Renew { .. }
            | Step::Probe { .. }
            | Step::Hear { .. }
            | Step::Consult { .. }
            | Step::Revoke { .. }
            | Step::Fence => {}
        }
        anchor
    }

    /// Puts what the pool waits for into the record once it has lasted, and takes it out when it is over.
    fn status_change(&self, now: Now) -> Option<Anchor> {
        let anchor = self.record.certain()?;
        let lasting: Vec<&Waiting> = self.plan.waiting.iter().filter(|waiting| waiting.may_last()).collect();
        let settled = now.mono.since(self.status.since) >= STATUS_AFTER;
        let told = anchor.status.is_some();
        if !self.is_ours(anchor) || !settled || told != lasting.is_empty() {
            return None;
        }
        let said: Vec<String> = lasting.iter().map(ToString::to_string).collect();
        let mut anchor = anchor.clone();
        anchor.status = (!lasting.is_empty()).then(|| said.join("; "));
        Some(anchor)
    }

    /// Keeps every decision, and every change of what is waited for.
    fn record_decision(&mut self, now: Now, view: View, decided: bool) {
        let codes: Vec<&'static str> = self.plan.waiting.iter().map(Waiting::code).collect();
        let changed = codes != self.status.codes;
        if changed {
            self.status.codes = codes;
            self.status.since = now.mono;
        }
        if decided || changed {
            let sentence = sentence(&view, &self.plan);
            let decision = Decision { view, plan: self.plan.clone(), sentence };
            self.push(Effect::Record(Box::new(decision)));
        }
    }
}

fn settle(anchor: &mut Anchor, request: &RequestId, refused: Option<&String>, now: Now) {
    let Some(asked) = anchor.requests.get(request).cloned() else { return };
    if refused.is_none() {
        let mark = Mark { by: asked.by, at: now.wall };
        match asked.verb {
            Verb::Pause => anchor.paused = Some(mark),
            Verb::Resume => anchor.paused = None,
            Verb::Maintenance { member, on: true } => {
                anchor.maintenance.insert(member, mark);
            }
            Verb::Maintenance { member, on: false } => {
                anchor.maintenance.remove(&member);
            }
            Verb::Switchover { .. } | Verb::Failover { .. } => {}
        }
    }
    anchor.settle(request, refused.cloned(), now.wall);
}
