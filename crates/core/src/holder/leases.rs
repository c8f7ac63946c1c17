use std::collections::BTreeMap;

use crate::ids::{GrantorId, Term};
use crate::time::Time;

/// What each grantor has granted last, and what that amounts to.
#[derive(Clone, Debug)]
pub(super) struct Leases {
    needed: usize,
    granted: BTreeMap<GrantorId, (Term, Time)>,
}

impl Leases {
    pub(super) fn new(needed: usize) -> Self {
        Self { needed: needed.max(1), granted: BTreeMap::new() }
    }

    /// The same term never moves an end back.
    pub(super) fn grant(&mut self, grantor: &GrantorId, term: Term, end: Time) {
        let entry = self.granted.entry(grantor.clone()).or_insert((term, end));
        *entry = if entry.0 == term { (term, entry.1.max(end)) } else { (term, end) };
    }

    /// The newest term that enough grantors agree on, and until when enough of them do.
    pub(super) fn held(&self) -> Option<(Term, Time)> {
        self.granted.values().map(|(term, _)| *term).filter_map(|term| Some((term, self.end(term)?))).max()
    }

    pub(super) fn revoke(&mut self, through: Term) {
        self.granted.retain(|_, (term, _)| *term > through);
    }

    pub(super) fn clear(&mut self) {
        self.granted.clear();
    }

    /// A grant that has run out before enough others joined it must not shorten what is granted later.
    pub(super) fn drop_ended(&mut self, now: Time) {
        self.granted.retain(|_, (_, end)| *end > now);
    }

    pub(super) fn next_end(&self) -> Option<Time> {
        self.held().map(|(_, end)| end)
    }

    pub(super) fn end_passed(&self, now: Time) -> bool {
        self.next_end().is_some_and(|end| now >= end)
    }

    fn end(&self, term: Term) -> Option<Time> {
        let mut ends: Vec<Time> = self.granted.values().filter(|(t, _)| *t == term).map(|(_, end)| *end).collect();
        ends.sort_unstable_by(|a, b| b.cmp(a));
        ends.get(self.needed - 1).copied()
    }
}
