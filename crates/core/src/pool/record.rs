use super::{Effect, Pool};
use crate::anchor::{Anchor, Reason};
use crate::charge::Version;
use crate::grantor::Grantor;
use crate::ids::{MemberId, Term};
use crate::time::{Now, Time};

/// What is known of the record in the hub, and the one operation on it that is under way.
#[derive(Clone, Debug, Default)]
pub(super) struct RecordState {
    known: Option<(Anchor, Option<Version>)>,
    /// The last read found no record.
    pub(super) absent: bool,
    /// Between a write of unknown fate and the read that tells.
    doubtful: bool,
    op: Op,
    next_read: Time,
}

#[derive(Clone, Debug, Default)]
enum Op {
    #[default]
    Idle,
    Reading,
    Writing(Box<Anchor>),
}

impl RecordState {
    /// The record, if it is what the hub holds as far as anybody can tell.
    pub(super) fn certain(&self) -> Option<&Anchor> {
        self.known().filter(|_| !self.doubtful)
    }

    /// The record as last read or written.
    pub(super) fn known(&self) -> Option<&Anchor> {
        self.known.as_ref().map(|(anchor, _)| anchor)
    }

    pub(super) fn is_writing(&self) -> bool {
        matches!(self.op, Op::Writing(_))
    }

    /// Whether the record names `member` as holder of `term`, and will when the write under way has landed.
    pub(super) fn names(&self, member: &MemberId, term: Term) -> bool {
        let names = |anchor: &Anchor| anchor.holder.as_ref() == Some(member) && anchor.term == term;
        let next = match &self.op {
            Op::Writing(next) => names(next),
            Op::Idle | Op::Reading => true,
        };
        next && self.certain().is_some_and(names)
    }

    pub(super) fn may_write(&self) -> bool {
        matches!(self.op, Op::Idle) && !self.doubtful
    }

    pub(super) fn next_read(&self) -> Option<Time> {
        matches!(self.op, Op::Idle).then_some(self.next_read)
    }
}

impl Pool {
    pub(super) fn read_record_in_time(&mut self, now: Time) {
        if self.record.next_read().is_some_and(|next| now >= next) {
            self.record.op = Op::Reading;
            self.effects.push_back(Effect::ReadAnchor);
        }
    }

    /// Writes `anchor` in place of what is known. One operation at a time: the caller has asked [`RecordState::may_write`].
    pub(super) fn write_record(&mut self, anchor: Anchor) {
        let basis = self.record.known.as_ref().and_then(|(_, version)| version.clone());
        self.record.op = Op::Writing(Box::new(anchor.clone()));
        self.effects.push_back(Effect::WriteAnchor { anchor, basis });
    }

    pub(super) fn anchor_read(&mut self, now: Now, read: Option<(Anchor, Version)>) {
        if !matches!(self.record.op, Op::Reading) {
            return;
        }
        self.record.op = Op::Idle;
        self.record.doubtful = false;
        self.record.next_read = now.mono + self.spec.policy.timings.anchor_read;
        match read {
            Some((anchor, version)) => {
                self.record.absent = false;
                self.learn(now.mono, &anchor);
                self.record.known = Some((anchor, Some(version)));
            }
            None => self.record_gone(now),
        }
    }

    pub(super) fn anchor_read_failed(&mut self, now: Time) {
        if matches!(self.record.op, Op::Reading) {
            self.record.op = Op::Idle;
            self.record.next_read = now + self.spec.policy.timings.retry;
        }
    }

    pub(super) fn anchor_written(&mut self, now: Time, version: Version) {
        if let Op::Writing(anchor) = std::mem::take(&mut self.record.op) {
            if self.record.known.is_none() {
                // Ours is the first record: every member has released, or has been waited for.
                self.grantor = Some(Grantor::free(self.spec.policy.timings.rate));
            }
            self.learn(now, &anchor);
            self.record.known = Some((*anchor, Some(version)));
            self.record.absent = false;
            self.record.doubtful = false;
            self.record.next_read = now + self.spec.policy.timings.anchor_read;
        }
    }

    /// Nothing of ours was written; what the hub holds has to be read again.
    pub(super) fn anchor_write_ended(&mut self, next_read: Time) {
        if self.record.is_writing() {
            self.record.op = Op::Idle;
            self.record.doubtful = true;
            self.record.next_read = next_read;
        }
    }

    pub(super) fn anchor_unsure(&mut self, now: Time) {
        self.anchor_write_ended(now);
    }

    /// Takes note of what a record in the hub says.
    fn learn(&mut self, now: Time, anchor: &Anchor) {
        let handed_over = self.is_foreign();
        if anchor.control != self.spec.control {
            self.grantor = None;
            return;
        }
        let last = anchor.history.last().map_or(anchor.term, |last| last.term);
        self.term_seen = self.term_seen.max(anchor.term).max(last);
        let moved = self.record.known().is_none_or(|known| known.term != anchor.term || known.holder != anchor.holder);
        if moved {
            self.revoking = None;
            if let Some(grantor) = &mut self.grantor {
                grantor.moved();
            }
        }
        if let Some(charge) = self.charge
            && anchor.epoch > charge.epoch
        {
            self.push(Effect::EpochSeen(anchor.epoch));
        }
        if let (None, Some(charge)) = (&self.grantor, self.charge) {
            let rate = self.spec.policy.timings.rate;
            // Until a record is handed over, controllers may grant that our own control lease says nothing of.
            let since = if handed_over { now } else { charge.since };
            let held = anchor.held().filter(|_| !anchor.is_edited());
            self.grantor = Some(Grantor::take_over(since, held, anchor.ttl, rate));
        }
    }

    /// Whether the record belongs to controllers under another control record.
    pub(super) fn is_foreign(&self) -> bool {
        self.record.known().is_some_and(|known| known.control != self.spec.control)
    }

    /// The record has been deleted. What we remember is built anew, in a term above anything seen; it is
    /// remembered until that has succeeded, for without it nobody would know who runs.
    fn record_gone(&mut self, now: Now) {
        self.record.absent = true;
        let Some(charge) = self.charge else { return };
        if self.is_foreign() {
            return;
        }
        let Some((known, version)) = &mut self.record.known else { return };
        *version = None;
        let mut anchor = known.clone();
        self.record.doubtful = true;
        let term = anchor.term.max(self.term_seen).next();
        match anchor.holder.clone() {
            Some(holder) => anchor.appoint(holder, term, Reason::Rebuilt, now.wall),
            None => anchor.term = term,
        }
        anchor.epoch = charge.epoch;
        self.write_record(anchor);
    }
}
