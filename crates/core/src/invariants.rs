//! What must hold at every moment, for any delay, loss, reordering, duplication, crash and restart.
//!
//! These functions look at a whole world from outside, as no part of the system can. A simulator, a
//! model checker and the tests call them after every event.

use std::collections::BTreeMap;

use crate::anchor::Anchor;
use crate::ids::{MemberId, Term};

/// Which member's workload is running, and in which term.
pub type Running = BTreeMap<MemberId, Term>;

/// A broken invariant, in one sentence.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Broken {
    /// Two workloads at once.
    #[error("two workloads run at once: {first} in term {first_term} and {second} in term {second_term}")]
    TwoActive {
        /// One.
        first: MemberId,
        /// Its term.
        first_term: Term,
        /// The other.
        second: MemberId,
        /// Its term.
        second_term: Term,
    },
    /// One term, two members.
    #[error("term {term} was run by {first} and by {second}")]
    TermShared {
        /// The term.
        term: Term,
        /// One.
        first: MemberId,
        /// The other.
        second: MemberId,
    },
    /// A term below one that has run before.
    #[error("{member} started term {term} after term {newest} had been run")]
    TermWentBack {
        /// Who.
        member: MemberId,
        /// Its term.
        term: Term,
        /// The newest term run before.
        newest: Term,
    },
    /// A workload runs in a term that the record does not know.
    #[error("{member} runs term {term}, above the record's {recorded}")]
    NotPersisted {
        /// Who.
        member: MemberId,
        /// Its term.
        term: Term,
        /// The record's term.
        recorded: Term,
    },
}

/// At most one workload runs.
///
/// # Errors
///
/// If two run at once.
pub fn at_most_one_active(running: &Running) -> Result<(), Broken> {
    let mut running = running.iter();
    match (running.next(), running.next()) {
        (Some((first, first_term)), Some((second, second_term))) => Err(Broken::TwoActive {
            first: first.clone(),
            first_term: *first_term,
            second: second.clone(),
            second_term: *second_term,
        }),
        _ => Ok(()),
    }
}

/// Every term belongs to one member, and terms never go back.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    owner: BTreeMap<Term, MemberId>,
}

impl Terms {
    /// Notes that `member` has started `term`.
    ///
    /// # Errors
    ///
    /// If somebody else has run that term, or a newer one has been run.
    pub fn started(&mut self, member: &MemberId, term: Term) -> Result<(), Broken> {
        if let Some((newest, _)) = self.owner.last_key_value()
            && *newest > term
        {
            return Err(Broken::TermWentBack { member: member.clone(), term, newest: *newest });
        }
        let first = self.owner.entry(term).or_insert_with(|| member.clone());
        if first != member {
            return Err(Broken::TermShared { term, first: first.clone(), second: member.clone() });
        }
        Ok(())
    }
}

/// Nobody runs a term before it is in the record.
///
/// # Errors
///
/// If somebody does.
pub fn persisted_before_run(anchor: Option<&Anchor>, running: &Running) -> Result<(), Broken> {
    let recorded = anchor.map_or(Term(0), |anchor| anchor.term);
    match running.iter().find(|(_, term)| **term > recorded) {
        Some((member, term)) => Err(Broken::NotPersisted { member: member.clone(), term: *term, recorded }),
        None => Ok(()),
    }
}
