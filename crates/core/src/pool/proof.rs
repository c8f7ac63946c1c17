use super::Pool;
use crate::anchor::Anchor;
use crate::grantor::{Grantor, Standing};
use crate::ids::{MemberId, Term};
use crate::time::Time;

/// A hub that failed over may have lost its last writes: the record then names an earlier holder, while a later one runs. So a
/// record that is taken over is believed once its holder says that it runs the recorded term: whoever was written into the record
/// after it could not be granted anything meanwhile. Without that word, nobody is granted before every lease is over.
impl Pool {
    pub(super) fn prove_record(&mut self) {
        self.proven |= self.holder_heard().is_some_and(|runs| runs);
    }

    /// A holder that does not run will not say so. If every member releases whatever it has, nobody needs to wait for leases.
    pub(super) fn clear_up(&mut self, now: Time) {
        if !self.is_unclear(now) {
            return;
        }
        let Some(through) = self.record.certain().map(|anchor| anchor.term.max(self.term_seen)) else { return };
        let silent: Vec<MemberId> =
            self.contacts.keys().filter(|member| !self.released.contains(member)).cloned().collect();
        if silent.is_empty() {
            self.grantor = Some(Grantor::free(self.spec.policy.timings.rate));
        }
        for member in silent {
            self.call_revoke(now, &member, through);
        }
    }

    /// Notes that a member has released everything, in answer to our own request.
    pub(super) fn note_release(&mut self, now: Time, member: &MemberId) {
        if self.is_founding() || self.is_unclear(now) {
            self.released.insert(member.clone());
        }
    }

    fn is_unclear(&self, now: Time) -> bool {
        let ours = self.record.certain().is_some_and(|anchor| self.is_ours(anchor));
        ours && !self.proven
            && matches!(self.standing(now), Standing::MayRunUntil(_))
            && self.holder_heard().is_some_and(|runs| !runs)
    }

    /// Whether the recorded holder runs the recorded term, by its own word in this charge.
    fn holder_heard(&self) -> Option<bool> {
        let charge = self.charge?;
        let (holder, term): (MemberId, Term) = self.record.certain().and_then(Anchor::held)?;
        let answer = self.seen.get(&holder)?.answer.as_ref().filter(|answer| answer.at > charge.since)?;
        Some(answer.value.runs(term))
    }
}
