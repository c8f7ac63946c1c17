use super::Pool;
use crate::anchor::Anchor;
use crate::ids::MemberId;
use crate::plan::{Plan, Waiting};
use crate::policy::TTL_MAX;
use crate::time::{Millis, Now, Time};

/// A pool without a record may be new, or its record may have been lost while somebody runs. Nobody knows
/// the last term and ttl then, so every member is asked to release whatever it has, and whoever
/// is silent is waited for as long as any lease can last.
impl Pool {
    pub(super) fn found(&mut self, now: Now) {
        let Some(charge) = self.charge else { return };
        if !self.is_founding() || !self.record.may_write() {
            return;
        }
        let silent = !self.unreleased().is_empty();
        if silent && now.mono < self.founded_at_latest() {
            self.ask_for_releases(now.mono);
            return;
        }
        // Whoever is silent may know of a later term than anybody who answers.
        let term = if silent { self.term_seen.leapt(Millis::ZERO) } else { self.term_seen };
        let ttl = self.spec.policy.timings.ttl;
        let (name, control) = (self.spec.name.clone(), self.spec.control.clone());
        self.write_record(Anchor::vacant(name, control, term, ttl, charge.epoch, now.wall));
    }

    /// The plan while there is no record to plan by.
    pub(super) fn founding_plan(&self, now: Time) -> Option<Plan> {
        if !self.is_founding() || self.charge.is_none() {
            return None;
        }
        let left = now.until(self.founded_at_latest());
        Some(Plan { steps: Vec::new(), waiting: vec![Waiting::Founding { silent: self.unreleased(), left }] })
    }

    pub(super) fn is_founding(&self) -> bool {
        self.record.absent && self.record.known().is_none()
    }

    fn unreleased(&self) -> Vec<MemberId> {
        self.spec.members.iter().filter(|member| !self.released.contains(member)).cloned().collect()
    }

    fn founded_at_latest(&self) -> Time {
        let rate = self.spec.policy.timings.rate;
        self.charge.map_or(Time::from_ms(u64::MAX), |charge| charge.since + rate.stretch(TTL_MAX))
    }

    fn ask_for_releases(&mut self, now: Time) {
        for member in self.unreleased() {
            self.call_revoke(now, &member, self.term_seen);
        }
    }
}
