use std::collections::VecDeque;

use super::Made;
use crate::ids::{GrantorId, Nonce};
use crate::time::Time;

/// The last few nonces, and when each was made.
#[derive(Clone, Debug)]
pub(super) struct Nonces {
    run: u128,
    count: u64,
    latest: VecDeque<Made>,
}

/// A grantor has a held and a quick call open at a time, and each answer carries one nonce; twice that
/// for two controllers at a change of charge, and as many again for answers that were lost.
const NONCES_KEPT: usize = 8;

impl Nonces {
    pub(super) fn new(run: u128) -> Self {
        Self { run, count: 0, latest: VecDeque::new() }
    }

    pub(super) fn make(&mut self, now: Time, grantor: &GrantorId) -> Nonce {
        self.count += 1;
        let nonce = Nonce { run: self.run, count: self.count };
        if self.latest.iter().filter(|made| made.grantor == *grantor).count() >= NONCES_KEPT
            && let Some(oldest) = self.latest.iter().position(|made| made.grantor == *grantor)
        {
            self.latest.remove(oldest);
        }
        self.latest.push_back(Made { grantor: grantor.clone(), nonce, at: now });
        nonce
    }

    pub(super) fn made_at(&self, grantor: &GrantorId, nonce: Nonce) -> Option<Time> {
        self.latest.iter().find(|made| made.nonce == nonce && made.grantor == *grantor).map(|made| made.at)
    }

    pub(super) fn clear(&mut self) {
        self.latest.clear();
    }
}
