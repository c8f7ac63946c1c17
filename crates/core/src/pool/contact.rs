use super::{Effect, Mirror, Pool};
use crate::ids::{BootId, CallId, GrantorId, MemberId, Nonce, Term};
use crate::messages::{Answer, Grant, Hello, Refusal, Request, Revoke};
use crate::seen::{CallFailure, Evidence, Seen, Trouble};
use crate::time::{Millis, Time};

/// What is remembered about talking to one member.
#[derive(Clone, Debug, Default)]
pub(super) struct Contact {
    boot: Option<BootId>,
    /// The newest nonce heard and not yet echoed, and when it was received.
    nonce: Option<(Nonce, Time)>,
    next_hello: Time,
    next_quick: Time,
    next_grant: Time,
    next_revoke: Time,
    next_gather: Time,
    gathering: bool,
    /// From when on a hint counts again.
    next_hint: Time,
    pub(super) mirrored: Option<Mirror>,
    pub(super) mirroring: Option<Mirror>,
    pub(super) next_mirror: Time,
}

/// A call whose answer is awaited.
#[derive(Clone, Debug)]
pub(super) struct OpenCall {
    member: MemberId,
    kind: Kind,
    sent: Time,
    pub(super) due: Time,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// To be kept back until there is news; only of a member that answers.
    Hello,
    /// To be answered at once.
    QuickHello,
    Grant,
    Revoke,
}

impl Pool {
    pub(super) fn answered(&mut self, now: Time, call: CallId, answer: Answer) {
        let Some(open) = self.calls.remove(&call) else { return };
        let retry = self.spec.policy.timings.retry;
        self.hear_terms(&answer);
        if let (Kind::Revoke, Some(term)) = (open.kind, answer.released) {
            // The holder of a record that is not proven may not have been the last one.
            if let Some(grantor) = self.grantor.as_mut().filter(|_| self.proven) {
                grantor.released(&open.member, term);
            }
            if term >= answer.term {
                self.note_release(now, &open.member);
            }
        }
        let Some(contact) = self.contacts.get_mut(&open.member) else { return };
        if contact.boot.as_ref() != Some(&answer.boot) {
            contact.boot = Some(answer.boot.clone());
            contact.nonce = None;
        }
        if let Some(nonce) = answer.nonce {
            contact.nonce = Some((nonce, now));
        }
        match open.kind {
            Kind::Hello => contact.next_hello = open.sent + retry,
            Kind::Revoke => contact.next_revoke = open.sent + retry,
            // An answer that comes at once carries news; the next grant must not turn that into a storm.
            Kind::Grant => contact.next_grant = open.sent + retry,
            Kind::QuickHello => {}
        }
        if matches!(answer.refused, Some(Refusal::FlagInactive { .. })) {
            contact.mirrored = None;
        }
        if let Some(seen) = self.seen.get_mut(&open.member) {
            seen.trouble = None;
            seen.answer = Some(Seen { value: answer, at: now });
        }
    }

    fn hear_terms(&mut self, answer: &Answer) {
        self.term_seen = self.term_seen.max(answer.term);
        match answer.refused {
            Some(Refusal::StaleTerm { seen }) => self.term_seen = self.term_seen.max(seen),
            Some(Refusal::StaleEpoch { seen }) if self.charge.is_some_and(|charge| charge.epoch < seen) => {
                self.push(Effect::EpochSeen(seen));
            }
            _ => {}
        }
    }

    pub(super) fn failed(&mut self, now: Time, call: CallId, failure: CallFailure) {
        let Some(open) = self.calls.remove(&call) else { return };
        let retry = self.spec.policy.timings.retry;
        if let Some(contact) = self.contacts.get_mut(&open.member) {
            let next = now + retry;
            match open.kind {
                // A grant is not repeated without a fresh nonce, which is asked for at once.
                Kind::Grant => contact.next_grant = open.sent + retry,
                // Whoever did not answer one call is left alone by the others too.
                Kind::Hello | Kind::QuickHello => (contact.next_hello, contact.next_quick) = (next, next),
                Kind::Revoke => {
                    (contact.next_hello, contact.next_quick, contact.next_revoke) = (next, next, next);
                }
            }
        }
        if let Some(seen) = self.seen.get_mut(&open.member) {
            let answered_since = seen.answer.as_ref().is_some_and(|answer| answer.at > open.sent);
            if !answered_since {
                let since = seen.trouble.as_ref().map_or(open.sent, |trouble| trouble.since);
                seen.trouble = Some(Trouble { failure, since });
            }
        }
    }

    /// A call that nobody ended in time is ended here.
    pub(super) fn expire_calls(&mut self, now: Time) {
        let due: Vec<CallId> = self.calls.iter().filter(|(_, open)| now >= open.due).map(|(call, _)| *call).collect();
        for call in due {
            self.failed(now, call, CallFailure::TimedOut);
        }
    }

    /// Renews the holder's lease, or asks for the nonce to do it with.
    pub(super) fn renew(&mut self, now: Time, member: &MemberId, term: Term) {
        let ready = self.contacts.get(member).is_some_and(|contact| now >= contact.next_grant);
        if !ready || self.is_calling(member, Kind::Grant) || !self.record.names(member, term) {
            return;
        }
        let (Some(charge), Some(anchor)) = (self.charge, self.record.certain()) else { return };
        if anchor.is_edited() {
            return;
        }
        let timings = self.spec.policy.timings.clone();
        let ttl = timings.ttl.min(anchor.ttl);
        let Some(grantor) = &mut self.grantor else { return };
        if !grantor.may_grant(now, member, term) {
            return;
        }
        let usable = |heard: &(Nonce, Time)| heard.1 + ttl > now + timings.stop + timings.call_timeout;
        let nonce = self.contacts.get(member).and_then(|contact| contact.nonce).filter(usable);
        match nonce {
            // The record may name somebody else than the one who ran last: it was edited by hand, or the hub has lost writes.
            Some(_) if !self.proven => {}
            Some((nonce, heard_at)) => {
                grantor.promise(now, member, term, heard_at, ttl);
                if let Some(contact) = self.contacts.get_mut(member) {
                    contact.nonce = None;
                }
                let grant = Grant { grantor: GrantorId::controller(), epoch: charge.epoch, term, nonce, ttl };
                self.call(now, member, Kind::Grant, Request::Grant(grant), timings.renew);
            }
            None => self.quick_hello(now, member),
        }
    }

    /// Asks for an answer at once, beside any call that is kept back.
    pub(super) fn quick_hello(&mut self, now: Time, member: &MemberId) {
        let ready = self.contacts.get(member).is_some_and(|contact| now >= contact.next_quick);
        if ready && !self.is_calling(member, Kind::QuickHello) {
            let hello = self.hello();
            self.call(now, member, Kind::QuickHello, hello, Millis::ZERO);
        }
    }

    /// Somebody says that something has happened to a member. Whoever says so too often is not heard.
    pub(super) fn hinted(&mut self, now: Time, member: &MemberId) {
        let retry = self.spec.policy.timings.retry;
        let Some(contact) = self.contacts.get_mut(member).filter(|contact| now >= contact.next_hint) else { return };
        if self.charge.is_none() {
            return;
        }
        contact.next_hint = now + retry;
        (contact.next_hello, contact.next_quick) = (contact.next_hello.min(now), contact.next_quick.min(now));
        contact.next_gather = contact.next_gather.min(now);
        self.quick_hello(now, member);
    }

    pub(super) fn call_revoke(&mut self, now: Time, member: &MemberId, term: Term) {
        let ready = self.contacts.get(member).is_some_and(|contact| now >= contact.next_revoke);
        let Some(charge) = self.charge else { return };
        if ready && !self.is_calling(member, Kind::Revoke) {
            let revoke = Revoke { grantor: GrantorId::controller(), epoch: charge.epoch, term };
            // A workload that is killed at the very end is gone a moment after it.
            let hold = self.spec.policy.timings.stop + self.spec.policy.timings.retry;
            self.call(now, member, Kind::Revoke, Request::Revoke(revoke), hold);
        }
    }

    /// Keeps one answer back at each member that nothing else is being asked of.
    pub(super) fn keep_contact(&mut self, now: Time) {
        let hold = self.spec.policy.timings.standby_hold;
        let free = |member: &MemberId, contact: &Contact| now >= contact.next_hello && !self.will_answer(member);
        let members: Vec<MemberId> =
            self.contacts.iter().filter(|(m, contact)| free(m, contact)).map(|(m, _)| m.clone()).collect();
        for member in members {
            // The first answer is wanted at once, and so is the first one after a failure.
            let known = self.seen.get(&member).is_some_and(|seen| seen.answer.is_some() && seen.trouble.is_none());
            if known {
                let hello = self.hello();
                self.call(now, &member, Kind::Hello, hello, hold);
            } else {
                self.quick_hello(now, &member);
            }
        }
    }

    pub(super) fn gather(&mut self, now: Time) {
        let (evidence, retry) = (self.spec.policy.timings.evidence, self.spec.policy.timings.retry);
        for (member, contact) in &mut self.contacts {
            let troubled = self.seen.get(member).is_some_and(|seen| seen.trouble.is_some());
            if contact.gathering || now < contact.next_gather {
                continue;
            }
            contact.gathering = true;
            contact.next_gather = now + if troubled { evidence.min(retry.times(5)) } else { evidence };
            self.effects.push_back(Effect::Gather { member: member.clone() });
        }
    }

    pub(super) fn gathered(&mut self, member: &MemberId, evidence: Evidence) {
        if let Some(contact) = self.contacts.get_mut(member) {
            contact.gathering = false;
        }
        if let Some(seen) = self.seen.get_mut(member) {
            let old = std::mem::take(&mut seen.evidence);
            seen.evidence = Evidence {
                registry: evidence.registry.or(old.registry),
                edge_agent_ping: evidence.edge_agent_ping.or(old.edge_agent_ping),
                edge_hub: evidence.edge_hub.or(old.edge_hub),
                runtime: evidence.runtime.or(old.runtime),
                deployed: evidence.deployed.or(old.deployed),
            };
        }
    }

    /// When there is next something to say to a member.
    pub(super) fn next_contact(&self, now: Time, member: &MemberId, contact: &Contact) -> Option<Time> {
        let hello = (!self.will_answer(member)).then_some(contact.next_hello);
        let gather = (!contact.gathering).then_some(contact.next_gather);
        let others = [contact.next_quick, contact.next_grant, contact.next_revoke, contact.next_mirror];
        self.charge?;
        hello.into_iter().chain(gather).chain(others).filter(|at| *at > now).min()
    }

    /// Whether a call is open that the agent keeps back until there is news.
    fn will_answer(&self, member: &MemberId) -> bool {
        [Kind::Hello, Kind::Grant, Kind::Revoke].into_iter().any(|kind| self.is_calling(member, kind))
    }

    fn is_calling(&self, member: &MemberId, kind: Kind) -> bool {
        self.calls.values().any(|open| open.member == *member && open.kind == kind)
    }

    fn hello(&self) -> Request {
        let epoch = self.charge.map(|charge| charge.epoch).unwrap_or_default();
        Request::Hello(Hello { grantor: GrantorId::controller(), epoch, wants_nonce: !self.is_foreign() })
    }

    fn call(&mut self, now: Time, member: &MemberId, kind: Kind, request: Request, hold: Millis) {
        let call = self.next_call;
        self.next_call = call.next();
        let timeout = hold + self.spec.policy.timings.call_timeout;
        let open = OpenCall { member: member.clone(), kind, sent: now, due: now + timeout };
        self.calls.insert(call, open);
        self.push(Effect::Call { call, member: member.clone(), request, hold, timeout });
    }
}
