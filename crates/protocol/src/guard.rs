//! The plant's half of fencing, for those who can change the plant side.
//!
//! A workload that was paused with its whole host may wake up and finish a write it began while it was
//! active. Nothing on its side can prevent that; the side that is written to can. Send the term (every
//! form of the gate hands it to the workload) along with each write, keep one [`TermGuard`] for everything
//! that must not be driven by two, and carry out only what it accepts.
//!
//! ```
//! use ha_core::ids::Term;
//! use iotedge_ha_protocol::guard::TermGuard;
//!
//! let mut guard = TermGuard::resume(Term(6));
//! assert!(guard.accept(Term(7)).is_ok());
//! assert!(guard.accept(Term(7)).is_ok());
//! assert!(guard.accept(Term(6)).is_err());
//! ```
//!
//! Where the plant side may restart, store [`TermGuard::highest`] before carrying out the first write of
//! a new term, and resume from it.

use ha_core::ids::Term;

/// Accepts writes whose term is not below the highest seen.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct TermGuard {
    highest: Term,
}

impl TermGuard {
    /// A guard that has seen `highest` before.
    pub const fn resume(highest: Term) -> Self {
        Self { highest }
    }

    /// The highest term seen; zero if none.
    pub const fn highest(&self) -> Term {
        self.highest
    }

    /// Whether a write under `term` may be carried out. From then on no lower term is accepted.
    pub fn accept(&mut self, term: Term) -> Result<(), StaleTerm> {
        if term < self.highest {
            return Err(StaleTerm { term, highest: self.highest });
        }
        self.highest = term;
        Ok(())
    }
}

/// A write came from somebody who has been relieved.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("term {term} is over: a write of term {highest} has been seen")]
pub struct StaleTerm {
    /// The term of the write.
    pub term: Term,
    /// The highest term seen before.
    pub highest: Term,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn accepted_terms_never_fall(terms: Vec<u64>) {
            let mut guard = TermGuard::default();
            let accepted: Vec<u64> = terms.into_iter().filter(|term| guard.accept(Term(*term)).is_ok()).collect();
            prop_assert!(accepted.is_sorted());
        }
    }

    #[test]
    fn a_refusal_names_both_terms() {
        let refused = TermGuard::resume(Term(7)).accept(Term(6)).expect_err("stale");
        assert_eq!(refused.to_string(), "term 6 is over: a write of term 7 has been seen");
    }
}
