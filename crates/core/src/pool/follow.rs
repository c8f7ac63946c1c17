use super::Pool;
use crate::anchor::Anchor;
use crate::ids::{FollowerId, Term};

impl Pool {
    pub(super) fn followed(&mut self, follower: FollowerId, term: Term) {
        if self.charge.is_some() {
            self.followed.insert(follower, term);
        }
    }

    /// `changed`, the record about to be written, with what followers have done; or the record as it is with that, if
    /// there is anything to tell.
    pub(super) fn with_followed(&mut self, changed: Option<Anchor>) -> Option<Anchor> {
        let known = self.record.certain()?;
        if !self.is_ours(known) {
            return changed;
        }
        // A term above the recorded one is nobody's to have followed.
        self.followed.retain(|follower, term| {
            *term <= known.term && known.followed.get(follower).is_none_or(|through| through < term)
        });
        if self.followed.is_empty() {
            return changed;
        }
        let mut anchor = changed.unwrap_or_else(|| known.clone());
        for (follower, term) in &self.followed {
            anchor.follow(follower.clone(), *term);
        }
        Some(anchor)
    }
}
