use super::{Effect, Pool};
use crate::anchor::{Anchor, Reason};
use crate::charge::Version;
use crate::grantor::Grantor;
use crate::ids::{MemberId, Term};
use crate::policy::{TTL_MIN, ttl_waited_for};
use crate::time::{Now, Time};

/// What is known of the record in the hub, and the one operation on it that is under way.
#[derive(Clone, Debug, Default)]
pub(super) struct RecordState {
    known: Option<(Anchor, Option<Version>)>,
    /// The last read found no record.
    pub(super) absent: bool,
    /// Between a write of unknown fate and the read that tells.
    doubtful: bool,
    /// A write on top of this version has been given up and may still land, as long as nothing else is written first.
    pending: Option<Version>,
    op: Op,
    next_read: Time,
}

#[derive(Clone, Debug, Default)]
enum Op {
    #[default]
    Idle,
    Reading,
    Writing(Box<Anchor>),
    /// A write of an earlier charge: its answer must not be taken for that of a later one.
    Abandoned,
}

impl RecordState {
    /// All that is worth remembering out of charge: what is still under way.
    pub(super) fn out_of_charge(&mut self) {
        let op = if self.is_writing() || matches!(self.op, Op::Abandoned) { Op::Abandoned } else { Op::Idle };
        let pending = if self.is_writing() { self.version() } else { self.pending.take() };
        *self = Self { op, pending, ..Self::default() };
    }

    /// The record, if it is what the hub holds as far as anybody can tell.
    pub(super) fn certain(&self) -> Option<&Anchor> {
        self.known().filter(|_| !self.doubtful)
    }

    /// The record as last read or written.
    pub(super) fn known(&self) -> Option<&Anchor> {
        self.known.as_ref().map(|(anchor, _)| anchor)
    }

    fn version(&self) -> Option<Version> {
        self.known.as_ref().and_then(|(_, version)| version.clone())
    }

    /// Whether an answer is that of an earlier charge's write, which it ends.
    fn is_of_earlier_charge(&mut self) -> bool {
        let abandoned = matches!(self.op, Op::Abandoned);
        if abandoned {
            self.op = Op::Idle;
        }
        abandoned
    }

    pub(super) fn is_writing(&self) -> bool {
        matches!(self.op, Op::Writing(_))
    }

    /// Whether the record names `member` as holder of `term`, and will when the write under way has landed.
    pub(super) fn names(&self, member: &MemberId, term: Term) -> bool {
        let names = |anchor: &Anchor| anchor.holder.as_ref() == Some(member) && anchor.term == term;
        let next = match &self.op {
            Op::Writing(next) => names(next),
            Op::Idle | Op::Reading | Op::Abandoned => true,
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
        let basis = self.record.version();
        self.record.op = Op::Writing(Box::new(anchor.clone()));
        self.effects.push_back(Effect::WriteAnchor { anchor, basis });
    }

    pub(super) fn anchor_read(&mut self, now: Now, read: Option<(Anchor, Version)>) {
        if self.record.is_of_earlier_charge() || !matches!(self.record.op, Op::Reading) {
            return;
        }
        self.record.op = Op::Idle;
        self.record.doubtful = false;
        let pending = self.record.pending.take();
        self.record.next_read = now.mono + self.spec.policy.timings.anchor_read;
        match read {
            Some((anchor, version)) => {
                self.record.absent = false;
                self.learn(now.mono, &anchor);
                let may_land = pending.as_ref() == Some(&version);
                self.record.known = Some((anchor, Some(version)));
                if may_land {
                    self.overtake(pending);
                }
            }
            None => self.record_gone(now),
        }
    }

    /// Writes the record as it is, but for its status, so that a write of open fate can land no more. Until that
    /// has succeeded nothing is granted: the record might name somebody else at any moment.
    fn overtake(&mut self, pending: Option<Version>) {
        if self.is_foreign() {
            return;
        }
        let Some(mut anchor) = self.record.known().cloned() else { return };
        anchor.status = anchor.status.is_none().then(|| "a write of unknown fate is being settled".to_owned());
        self.record.pending = pending;
        self.record.doubtful = true;
        self.write_record(anchor);
    }

    pub(super) fn anchor_read_failed(&mut self, now: Time) {
        if self.record.is_of_earlier_charge() {
            return;
        }
        if matches!(self.record.op, Op::Reading) {
            self.record.op = Op::Idle;
            self.record.next_read = now + self.spec.policy.timings.retry;
        }
    }

    pub(super) fn anchor_written(&mut self, now: Time, version: Version) {
        if self.record.is_of_earlier_charge() || !self.record.is_writing() {
            return;
        }
        if let Op::Writing(anchor) = std::mem::take(&mut self.record.op) {
            if self.record.known.is_none() {
                // Ours is the first record: every member has released, or has been waited for.
                self.grantor = Some(Grantor::free(self.spec.policy.timings.rate));
            }
            self.learn(now, &anchor);
            self.proven |= self.record.known().is_none_or(|known| known.term != anchor.term);
            self.record.known = Some((*anchor, Some(version)));
            self.record.absent = false;
            self.record.doubtful = false;
            self.record.pending = None;
            self.record.next_read = now + self.spec.policy.timings.anchor_read;
        }
    }

    /// Nothing of ours was written; what the hub holds has to be read again.
    pub(super) fn anchor_write_ended(&mut self, next_read: Time) {
        if self.record.is_of_earlier_charge() {
            return;
        }
        if self.record.is_writing() {
            self.record.op = Op::Idle;
            self.record.doubtful = true;
            self.record.next_read = next_read;
        }
    }

    pub(super) fn anchor_unsure(&mut self, now: Time) {
        if self.record.is_writing() {
            self.record.pending = self.record.version();
        }
        self.anchor_write_ended(now);
    }

    /// Takes note of what a record in the hub says.
    fn learn(&mut self, now: Time, anchor: &Anchor) {
        let handed_over = self.is_foreign();
        if anchor.control != self.spec.control {
            (self.grantor, self.proven) = (None, false);
            self.released.clear();
            return;
        }
        let last = anchor.history.last().map_or(anchor.term, |last| last.term);
        self.term_seen = self.term_seen.max(anchor.term).max(last);
        let moved = self.record.known().is_none_or(|known| known.term != anchor.term || known.holder != anchor.holder);
        if moved {
            (self.revoking, self.patience, self.consultation) = (None, None, None);
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
            let ttl = ttl_waited_for(anchor.ttl, TTL_MIN).max(self.spec.policy.timings.ttl);
            self.grantor = Some(Grantor::take_over(since, held, ttl, rate));
        }
    }

    /// Whether the record belongs to controllers under another control record.
    pub(super) fn is_foreign(&self) -> bool {
        self.record.known().is_some_and(|known| known.control != self.spec.control)
    }

    /// Whether the record is one that we may change: it was last written in our own charge.
    pub(super) fn is_ours(&self, anchor: &Anchor) -> bool {
        !self.is_foreign() && self.charge.is_some_and(|charge| charge.epoch == anchor.epoch)
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
        let term = anchor.term.max(self.term_seen).above(self.proven, anchor.held_for(now.wall));
        match anchor.holder.clone() {
            Some(holder) => anchor.appoint(holder, term, Reason::Rebuilt, now.wall),
            None => anchor.term = term,
        }
        anchor.epoch = charge.epoch;
        self.write_record(anchor);
    }
}
