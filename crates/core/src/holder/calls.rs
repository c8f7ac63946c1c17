use serde::{Deserialize, Serialize};

use super::{Cause, Holder, HolderEffect};
use crate::ids::{CallId, Epoch, GrantorId, Term};
use crate::messages::{Answer, Grant, Refusal, Request};
use crate::time::{Millis, Time};

/// An answer and the call it belongs to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HolderAnswer {
    /// The call.
    pub call: CallId,
    /// The answer.
    pub answer: Answer,
}

/// Calls whose answers are kept back until there is news.
#[derive(Clone, Debug, Default)]
pub(super) struct HeldCalls(Vec<HeldCall>);

#[derive(Clone, Debug)]
struct HeldCall {
    call: CallId,
    grantor: GrantorId,
    wants_nonce: bool,
    /// Set for a revoke: answered as soon as this term has stopped.
    revoked: Option<Term>,
    due: Time,
}

/// More calls than that are not kept back: the oldest is answered at once.
const CALLS_HELD_MAX: usize = 8;

impl HeldCalls {
    pub(super) fn forget(&mut self, call: CallId) {
        self.0.retain(|held| held.call != call);
    }

    pub(super) fn next_due(&self) -> Option<Time> {
        self.0.iter().map(|held| held.due).min()
    }
}

impl Holder {
    pub(super) fn called(&mut self, now: Time, call: CallId, request: &Request, hold: Millis) {
        let refused = self.admit(now, request).err();
        let revoked = match (request, &refused) {
            (Request::Revoke(revoke), None) => Some(revoke.term),
            _ => None,
        };
        let held = HeldCall {
            call,
            grantor: request.grantor().clone(),
            wants_nonce: !matches!(request, Request::Hello(hello) if !hello.wants_nonce),
            revoked,
            due: now + hold,
        };
        if refused.is_some() || hold == Millis::ZERO && revoked.is_none() {
            self.settle(now);
            self.answer(now, &held, refused);
            return;
        }
        self.held.0.push(held);
        if self.held.0.len() > CALLS_HELD_MAX {
            let oldest = self.held.0.remove(0);
            self.answer(now, &oldest, None);
        }
    }

    /// Answers every held call that is due, or all but the revokes if there is news.
    pub(super) fn answer_due(&mut self, now: Time, news: bool) {
        let stopped = self.gate.is_closed() && self.predecessor_gone;
        let (answer, keep): (Vec<_>, Vec<_>) = std::mem::take(&mut self.held.0)
            .into_iter()
            .partition(|held| now >= held.due || if held.revoked.is_some() { stopped } else { news });
        self.held.0 = keep;
        for held in answer {
            self.answer(now, &held, None);
        }
    }

    /// An answer given at once shows what the request has just changed.
    fn settle(&mut self, now: Time) {
        self.pass_time(now);
        self.work_gate(now);
    }

    fn answer(&mut self, now: Time, held: &HeldCall, refused: Option<Refusal>) {
        let stopped = self.gate.is_closed() && self.predecessor_gone;
        let released = held.revoked.filter(|_| stopped);
        self.released_through = self.released_through.max(released.unwrap_or_default());
        let view = self.view();
        let outranked = matches!(refused, Some(Refusal::StaleEpoch { .. } | Refusal::UnknownGrantor));
        let wants_nonce = held.wants_nonce && !outranked;
        let answer = Answer {
            boot: self.boot.clone(),
            state: view.state,
            term: view.term,
            lease_left: self.lease_left(now),
            workload: view.workload,
            leaving: view.leaving,
            refused,
            released,
            nonce: wants_nonce.then(|| self.nonces.make(now, &held.grantor)),
        };
        self.effects.push_back(HolderEffect::Answer(HolderAnswer { call: held.call, answer }));
    }

    fn admit(&mut self, now: Time, request: &Request) -> Result<(), Refusal> {
        if matches!(request, Request::Hello(hello) if !hello.wants_nonce) {
            return Ok(());
        }
        self.admit_epoch(request.grantor(), request.epoch())?;
        match request {
            Request::Hello(_) => Ok(()),
            Request::Grant(grant) => self.admit_grant(now, grant),
            Request::Revoke(revoke) => self.admit_revoke(now, revoke.term),
        }
    }

    fn admit_epoch(&mut self, grantor: &GrantorId, epoch: Epoch) -> Result<(), Refusal> {
        if !self.settings.grantors.contains(grantor) {
            return Err(Refusal::UnknownGrantor);
        }
        let seen = self.epochs.entry(grantor.clone()).or_default();
        if epoch < *seen {
            return Err(Refusal::StaleEpoch { seen: *seen });
        }
        *seen = epoch;
        Ok(())
    }

    fn admit_grant(&mut self, now: Time, grant: &Grant) -> Result<(), Refusal> {
        if grant.term <= self.revoked_through {
            return Err(Refusal::Released { through: self.revoked_through });
        }
        if grant.term < self.term_seen {
            return Err(Refusal::StaleTerm { seen: self.term_seen });
        }
        self.term_seen = grant.term;
        if grant.ttl > self.settings.ttl_max {
            return Err(Refusal::TtlTooLong { max: self.settings.ttl_max });
        }
        let made_at = self.nonces.made_at(&grant.grantor, grant.nonce).ok_or(Refusal::UnknownNonce)?;
        if !self.predecessor_gone {
            return Err(Refusal::Starting);
        }
        if self.leaving.is_some() {
            return Err(Refusal::Leaving);
        }
        if self.flag_forbids(grant.term) {
            let term = self.flag.map_or(grant.term, |flag| flag.term);
            return Err(Refusal::FlagInactive { term });
        }
        let end = made_at + grant.ttl;
        if end <= now + self.settings.stop {
            return Err(Refusal::TooLate);
        }
        self.leases.grant(&grant.grantor, grant.term, end);
        Ok(())
    }

    fn admit_revoke(&mut self, now: Time, term: Term) -> Result<(), Refusal> {
        if term < self.term_seen {
            return Err(Refusal::StaleTerm { seen: self.term_seen });
        }
        self.term_seen = term;
        self.revoked_through = self.revoked_through.max(term);
        self.leases.revoke(term);
        self.nonces.clear();
        self.close(now, Cause::Revoked);
        Ok(())
    }
}
