//! What is known of all pools at once: for the brake, the log and whoever asks.

use std::collections::BTreeMap;
use std::sync::Mutex;

use ha_core::brake::{Brake, BrakePolicy, brake};
use ha_core::ids::{MemberId, PoolName, Term};
use serde::Serialize;
use tokio::sync::watch;

/// A pool in one row.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct PoolRow {
    /// Who holds.
    pub holder: Option<MemberId>,
    /// Which term.
    pub term: Term,
    /// What is waited for, in codes.
    pub waiting: Vec<String>,
    /// All of it in one sentence.
    pub sentence: String,
    /// Nothing is left to be done at once.
    pub settled: bool,
    /// The holder does not answer.
    pub looks_dead: bool,
    /// It cannot be run: why.
    pub refused: Option<String>,
}

#[derive(Default)]
struct Rows {
    by_pool: BTreeMap<PoolName, PoolRow>,
    /// How many look dead: counted as they change, for they change all at once.
    dead: usize,
    /// How many have something left to do, counted likewise: one pass asks at each change.
    unsettled: usize,
}

/// All pools.
pub struct Board {
    rows: Mutex<Rows>,
    policy: BrakePolicy,
    decisions_off: bool,
    brake: watch::Sender<Brake>,
    changed: watch::Sender<u64>,
}

impl Board {
    pub(super) fn new(pools: impl Iterator<Item = PoolName>, policy: BrakePolicy, decisions_off: bool) -> Self {
        let by_pool: BTreeMap<_, _> = pools.map(|pool| (pool, PoolRow::default())).collect();
        let unsettled = by_pool.len();
        let brake = watch::Sender::new(if decisions_off { Brake::AllOff } else { Brake::Off });
        Self {
            rows: Mutex::new(Rows { by_pool, dead: 0, unsettled }),
            policy,
            decisions_off,
            brake,
            changed: watch::Sender::new(0),
        }
    }

    /// Every pool's row.
    pub fn rows(&self) -> BTreeMap<PoolName, PoolRow> {
        self.lock().by_pool.clone()
    }

    /// Whether no pool has anything left to do at once.
    pub(super) fn all_settled(&self) -> bool {
        self.lock().unsettled == 0
    }

    /// Changes with every row.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Whether failovers are held for all pools.
    pub fn brake(&self) -> watch::Receiver<Brake> {
        self.brake.subscribe()
    }

    pub(super) fn post(&self, pool: &PoolName, row: PoolRow) {
        let mut rows = self.lock();
        let (looks_dead, settled) = (row.looks_dead, row.settled);
        let before = rows.by_pool.insert(pool.clone(), row);
        if before.as_ref() == rows.by_pool.get(pool) {
            return;
        }
        let was_settled = before.as_ref().is_none_or(|before| before.settled);
        rows.unsettled = rows.unsettled + usize::from(!settled) - usize::from(!was_settled);
        let looked_dead = before.is_some_and(|before| before.looks_dead);
        if looked_dead != looks_dead {
            rows.dead = rows.dead + usize::from(looks_dead) - usize::from(looked_dead);
            self.set_brake(rows.dead, rows.by_pool.len());
        }
        self.changed.send_modify(|count| *count += 1);
    }

    fn set_brake(&self, dead: usize, of: usize) {
        let wanted = if self.decisions_off { Brake::AllOff } else { brake(self.policy, dead, of) };
        self.brake.send_if_modified(|brake| {
            let held = |brake: &Brake| *brake != Brake::Off;
            if held(&wanted) && !held(brake) {
                tracing::error!(dead, of, "so many holders look dead at once that the hub or this controller is more likely at fault: failovers are held");
            } else if held(brake) && !held(&wanted) {
                tracing::info!(dead, of, "failovers go on");
            }
            std::mem::replace(brake, wanted) != wanted
        });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unsettled_is_counted_as_it_changes() {
        let names: Vec<PoolName> = ["a", "b"].map(|name| name.parse().expect("a pool name")).to_vec();
        let board = Board::new(names.clone().into_iter(), BrakePolicy::default(), false);
        let mut told = Vec::new();
        for (pool, settled) in [(0, true), (0, true), (1, true), (0, false), (1, false), (1, true), (0, true)] {
            board.post(&names[pool], PoolRow { settled, ..PoolRow::default() });
            assert_eq!(board.all_settled(), board.rows().values().all(|row| row.settled));
            told.push(board.all_settled());
        }
        assert_eq!(told, [false, false, true, false, false, false, true]);
    }
}
