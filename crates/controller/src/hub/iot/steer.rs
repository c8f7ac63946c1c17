//! Routes that name the holder, rewritten: one write at a time, for all pools that wait by then.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ha_core::ids::PoolName;
use ha_iothub::management::{Error as ArmError, Hub as Resource, Management};
use tokio::time::Instant;

use crate::hub::{NotSteered, Rule, Steered, chain};
use crate::routing::plan;

/// Azure takes minutes, and longer on bad days. Afterwards it is tried again.
const PATIENCE: Duration = Duration::from_secs(1800);

/// What waits to be written, and what came of what was.
#[derive(Default)]
pub(super) struct Steering {
    waiting: Mutex<BTreeMap<PoolName, Rule>>,
    ended: Mutex<BTreeMap<PoolName, (Rule, Outcome)>>,
    turn: tokio::sync::Mutex<()>,
}

type Outcome = Result<Steered, NotSteered>;

impl Steering {
    /// Brings a pool's rule into force. Whoever's turn it is writes for all that wait, for the write of many takes no longer than that of one.
    pub(super) async fn steer(&self, management: &Management, rule: Rule) -> Outcome {
        lock(&self.waiting).insert(rule.pool.clone(), rule.clone());
        let turn = self.turn.lock().await;
        let done = lock(&self.ended).remove(&rule.pool);
        if let Some((_, outcome)) = done.filter(|(written, _)| *written == rule) {
            return outcome;
        }
        let mut batch = std::mem::take(&mut *lock(&self.waiting));
        // Somebody may have taken it and been stopped.
        batch.insert(rule.pool.clone(), rule.clone());
        let mut outcomes = write(management, &batch).await;
        let own = outcomes.remove(&rule.pool);
        let mut ended = lock(&self.ended);
        for (pool, outcome) in outcomes {
            if let Some(rule) = batch.remove(&pool) {
                ended.insert(pool, (rule, outcome));
            }
        }
        drop((ended, turn));
        own.unwrap_or_else(|| Err(NotSteered { why: "it was left out".to_owned(), lasting: false }))
    }
}

/// One write for all. A pool whose routes cannot be set keeps none of the others from theirs.
async fn write(management: &Management, batch: &BTreeMap<PoolName, Rule>) -> BTreeMap<PoolName, Outcome> {
    let mut refused: BTreeMap<PoolName, NotSteered> = BTreeMap::new();
    let mut touched: Vec<PoolName> = Vec::new();
    let edit = |resource: &mut Resource| -> Result<(), ArmError> {
        refused.clear();
        for (pool, rule) in batch {
            match plan(resource, pool, &rule.routes, false) {
                Ok(plan) if plan.is_empty() => {}
                Ok(plan) => {
                    plan.apply(resource);
                    touched.push(pool.clone());
                }
                Err(problem) => {
                    let why = format!("{problem}; {}", problem.hint());
                    refused.insert(pool.clone(), NotSteered { why, lasting: true });
                }
            }
        }
        Ok(())
    };
    let told = |progress| tracing::debug!(?progress, "routes are rewritten");
    let changed = management.change(Instant::now() + PATIENCE, edit, &told).await;
    let failed = changed.err().map(|error| NotSteered { why: chain(&error), lasting: !error.is_transient() });
    let outcome = |pool: &PoolName| match (refused.get(pool), &failed) {
        (Some(refused), _) => Err(refused.clone()),
        (None, Some(failed)) => Err(failed.clone()),
        (None, None) => Ok(Steered { written: touched.contains(pool) }),
    };
    batch.keys().map(|pool| (pool.clone(), outcome(pool))).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
