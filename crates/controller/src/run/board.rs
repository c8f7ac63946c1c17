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

/// All pools.
pub struct Board {
    rows: Mutex<BTreeMap<PoolName, PoolRow>>,
    policy: BrakePolicy,
    decisions_off: bool,
    brake: watch::Sender<Brake>,
    changed: watch::Sender<u64>,
}

impl Board {
    pub(super) fn new(pools: impl Iterator<Item = PoolName>, policy: BrakePolicy, decisions_off: bool) -> Self {
        let rows = pools.map(|pool| (pool, PoolRow::default())).collect();
        let brake = watch::Sender::new(if decisions_off { Brake::AllOff } else { Brake::Off });
        Self { rows: Mutex::new(rows), policy, decisions_off, brake, changed: watch::Sender::new(0) }
    }

    /// Every pool's row.
    pub fn rows(&self) -> BTreeMap<PoolName, PoolRow> {
        self.lock().clone()
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
        let before = rows.insert(pool.clone(), row.clone());
        if before.as_ref() == Some(&row) {
            return;
        }
        if before.is_none_or(|before| before.looks_dead != row.looks_dead) {
            let dead = rows.values().filter(|row| row.looks_dead).count();
            self.set_brake(dead, rows.len());
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

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<PoolName, PoolRow>> {
        self.rows.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
