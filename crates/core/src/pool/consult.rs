use super::{Effect, Pool};
use crate::ids::{MemberId, Term};
use crate::plan::{Consultation, Verdict, Wish};
use crate::seen::Seen;
use crate::time::Time;

impl Pool {
    pub(super) fn consult(&mut self, now: Time, wish: &Wish, from: &MemberId, to: &MemberId, term: Term) {
        self.consultation = Some(Consultation { wish: wish.clone(), term, since: now, verdict: None });
        self.push(Effect::Consult { wish: wish.clone(), from: from.clone(), to: to.clone(), term });
    }

    /// An answer to a question that nobody asks any more is left alone.
    pub(super) fn consulted(&mut self, now: Time, wish: &Wish, term: Term, verdict: Verdict) {
        if let Some(consultation) = &mut self.consultation
            && consultation.verdict.is_none()
            && consultation.is_about(wish, term, now)
        {
            consultation.verdict = Some(Seen { value: verdict, at: now });
        }
    }
}
