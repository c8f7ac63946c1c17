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
        let by_pool = pools.map(|pool| (pool, PoolRow::default())).collect();
        let brake = watch::Sender::new(if decisions_off { Brake::AllOff } else { Brake::Off });
        Self {
            rows: Mutex::new(Rows { by_pool, dead: 0 }),
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
        self.lock().by_pool.values().all(|row| row.settled)
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
        let looks_dead = row.looks_dead;
        let before = rows.by_pool.insert(pool.clone(), row);
        if before.as_ref() == rows.by_pool.get(pool) {
            return;
        }
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
