use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Effect, Pool};
use crate::anchor::Anchor;
use crate::ids::{MemberId, Term};
use crate::time::Time;

/// What flag and tags of a member say. For people, queries and routes; the flag can close a gate, never open it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Mirror {
    /// The role in the tags.
    pub role: Role,
    /// The flag.
    pub active: bool,
    /// The term of both.
    pub term: Term,
}

/// A member's role, as the tags say it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The record names it as holder.
    Active,
    /// It may become the holder.
    Standby,
    /// It must not.
    Maintenance,
    /// It is no member any more.
    Removed,
}

impl Role {
    /// The word for it in tags and tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Standby => "standby",
            Self::Maintenance => "maintenance",
            Self::Removed => "removed",
        }
    }
}

/// How many rounds of evidence pass before flag and tags are compared again: somebody may have edited them.
const EVIDENCE_PER_MIRROR: u64 = 5;

impl Pool {
    pub(super) fn mirror(&mut self, now: Time) {
        let Some(anchor) = self.record.certain().filter(|_| !self.is_foreign()) else { return };
        let mut wanted = Vec::new();
        for (member, contact) in &self.contacts {
            let mirror = role(anchor, member, self.spec.members.contains(member));
            let current = contact.mirrored == Some(mirror);
            let again = self.spec.policy.timings.evidence.times(EVIDENCE_PER_MIRROR);
            let idle = contact.mirroring.is_none();
            if idle && now >= contact.next_mirror && (!current || now >= contact.next_mirror + again) {
                wanted.push((member.clone(), mirror));
            }
        }
        for (member, mirror) in wanted {
            if let Some(contact) = self.contacts.get_mut(&member) {
                contact.mirroring = Some(mirror);
            }
            self.push(Effect::Mirror { member, mirror });
        }
    }

    /// Forgets everybody else. Their tags are cleared, as far as that succeeds at once: a route may follow them.
    pub(super) fn part_with(&mut self, met: &BTreeSet<MemberId>) {
        let term = self.record.known().map_or(Term(0), |anchor| anchor.term);
        let mirror = Mirror { role: Role::Removed, active: false, term };
        let former = self.contacts.iter().filter(|(member, _)| !met.contains(member));
        let tagged = former.filter(|(_, contact)| contact.mirrored.is_some() || contact.mirroring.is_some());
        let tagged: Vec<MemberId> = tagged.map(|(member, _)| member.clone()).collect();
        self.effects.extend(tagged.into_iter().map(|member| Effect::Mirror { member, mirror }));
        self.contacts.retain(|member, _| met.contains(member));
    }

    pub(super) fn mirrored(&mut self, now: Time, member: &MemberId, done: bool) {
        let retry = self.spec.policy.timings.retry.times(3);
        let Some(contact) = self.contacts.get_mut(member) else { return };
        let Some(mirror) = contact.mirroring.take() else { return };
        contact.mirrored = done.then_some(mirror);
        contact.next_mirror = if done { now } else { now + retry };
    }
}

fn role(anchor: &Anchor, member: &MemberId, is_member: bool) -> Mirror {
    let holds = anchor.holder.as_ref() == Some(member);
    let role = match (holds, is_member) {
        (true, _) => Role::Active,
        (false, false) => Role::Removed,
        (false, true) if anchor.maintenance.contains_key(member) => Role::Maintenance,
        (false, true) => Role::Standby,
    };
    Mirror { role, active: holds, term: anchor.term }
}
