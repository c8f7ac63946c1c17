use std::collections::{BTreeMap, BTreeSet};

use ha_core::anchor::{Anchor, Reason};
use ha_core::ids::{MemberId, Term};
use ha_core::invariants::{Running, Terms, at_most_one_active, persisted_before_run};

use super::agent::Agent;
use super::clock::Instant;

/// The invariants, asked after every event, and the first that broke.
#[derive(Debug, Default)]
pub struct Checks {
    terms: Terms,
    run: BTreeMap<MemberId, Term>,
    recorded: BTreeSet<(Option<MemberId>, Term)>,
    /// The record as it has been at its highest.
    highest: Option<Anchor>,
    granted: BTreeSet<(MemberId, Term)>,
    /// The terms whose holder an operator has vouched for.
    pub vouched: BTreeSet<Term>,
    broken: Option<String>,
    /// How often a device woke up with its lease over: its workload may have acted for an instant.
    pub woken_past_end: u64,
    /// Changes of holder or term that were written.
    pub transitions: u64,
    pub last_transition: Instant,
    /// How often nobody was left who knew the last term.
    pub forgotten: u64,
    pub starts: u64,
    pub most_in_charge: usize,
}

impl Checks {
    pub fn broken(&mut self, what: String) {
        self.broken.get_or_insert(what);
    }

    pub fn take_broken(&mut self) -> Option<String> {
        self.broken.take()
    }

    pub fn granted(&mut self, member: &MemberId, term: Term) {
        self.granted.insert((member.clone(), term));
    }

    pub fn started(&mut self, member: &MemberId, term: Term) {
        self.starts += 1;
        if let Err(broken) = self.terms.started(member, term) {
            self.broken(broken.to_string());
        }
        if !self.recorded.contains(&(Some(member.clone()), term)) {
            self.broken(format!("{member} runs term {term}, which was never recorded for it"));
        }
        self.run.insert(member.clone(), term);
    }

    /// A gate is about to open: by a grant, in a term that was not given up.
    pub fn opening(&mut self, agent: &Agent, term: Term, _now: Instant) {
        if !self.granted.contains(&(agent.id.clone(), term)) {
            self.broken(format!("{} opens for term {term}, which nobody granted it", agent.id));
        }
        if term <= agent.released {
            self.broken(format!("{} opens for term {term} after it released {}", agent.id, agent.released));
        }
    }

    pub fn recorded(&mut self, before: Option<&Anchor>, anchor: &Anchor, ours: bool, revoked: bool, now: Instant) {
        self.recorded.insert((anchor.holder.clone(), anchor.term));
        let moved = before.is_none_or(|before| before.holder != anchor.holder || before.term != anchor.term);
        if moved {
            self.transitions += 1;
            self.last_transition = now;
        }
        if let (true, true, Some(before)) = (ours, moved, before) {
            let excused = revoked
                || self.vouched.contains(&before.term)
                || anchor.history.last().is_some_and(|last| last.reason == Reason::Rebuilt);
            // Its holder may go on in a new term.
            if before.paused.is_some() && before.holder != anchor.holder && !excused {
                self.broken(format!("a paused pool was moved to term {}", anchor.term));
            }
            if anchor.term <= before.term {
                self.broken(format!("the record's term went from {} to {}", before.term, anchor.term));
            }
        }
        let newest = self.run.values().max().copied().unwrap_or_default();
        if before.is_none() && ours && anchor.term < newest {
            // The record was deleted, and no controller and no agent in reach remembered the last term.
            self.forgotten += 1;
            self.terms = Terms::default();
        }
        if self.highest.as_ref().is_none_or(|highest| highest.term < anchor.term) {
            self.highest = Some(anchor.clone());
        }
    }

    /// The state of the whole world at one instant.
    pub fn look(&mut self, agents: &[Agent], in_charge: usize, now: Instant) {
        let mut running = Running::new();
        for agent in agents {
            let Some(term) = agent.acts() else { continue };
            running.insert(agent.id.clone(), term);
            let shown = agent.clock.at(now);
            if agent.is_up() && agent.lease_ends.get(&term).is_none_or(|end| shown > *end) {
                self.broken(format!("{} runs term {term} after its lease has ended", agent.id));
            }
        }
        if let Err(broken) = at_most_one_active(&running) {
            self.broken(broken.to_string());
        }
        if let Err(broken) = persisted_before_run(self.highest.as_ref(), &running) {
            self.broken(broken.to_string());
        }
        self.most_in_charge = self.most_in_charge.max(in_charge);
        if in_charge > 1 {
            self.broken(format!("{in_charge} controllers are in charge at once"));
        }
    }
}
