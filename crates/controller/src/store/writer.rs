//! The thread that writes.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use ha_core::anchor::Transition;
use ha_core::time::WallTime;
use rusqlite::{Connection, params};

use super::{Error, FILE, Followed, KeptDecision, schema};

/// How many entries may wait for the disk: more than any burst, and small in memory.
const QUEUE_MAX: usize = 4_096;

/// The most decisions that are kept of one pool, whatever their age: a pool that flaps must not fill the disk.
const DECISIONS_PER_POOL_MAX: i64 = 1_000;

/// The age is looked at once in so many entries.
const ENTRIES_PER_SWEEP: u64 = 200;

/// Something to be kept.
#[derive(Clone, Debug)]
pub enum Entry {
    /// A decision.
    Decision(Box<KeptDecision>),
    /// A change of holder; keeping it twice keeps it once.
    Transition {
        /// Which pool.
        pool: String,
        /// The change.
        transition: Transition,
    },
    /// A follower has done what it does after a change of holder; keeping it twice keeps it once.
    Followed {
        /// Which pool.
        pool: String,
        /// What was done.
        followed: Followed,
    },
}

/// Takes entries and never waits. Dropping the last one flushes.
#[derive(Clone)]
pub struct Recorder {
    thread: Option<Arc<Thread>>,
    lost: Arc<AtomicU64>,
}

struct Thread {
    entries: Option<SyncSender<Entry>>,
    handle: Option<JoinHandle<()>>,
}

impl Recorder {
    /// Opens the store in `state_dir`, or makes it.
    pub fn open(state_dir: &Path, history_days: u32, now: WallTime) -> Result<Self, Error> {
        let path = state_dir.join(FILE);
        std::fs::create_dir_all(state_dir).map_err(|source| Error::Io { path: path.clone(), source })?;
        let connection = schema::open(&path)?;
        sweep(&connection, history_days, now).map_err(|e| Error::of(&path, e))?;
        let (sender, receiver) = sync_channel(QUEUE_MAX);
        let lost = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&lost);
        let handle = std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || write_all(&connection, &receiver, history_days, &counted))
            .map_err(|source| Error::Io { path, source })?;
        let thread = Arc::new(Thread { entries: Some(sender), handle: Some(handle) });
        Ok(Self { thread: Some(thread), lost })
    }

    /// Keeps nothing: for a daemon that has to do without.
    pub fn absent() -> Self {
        Self { thread: None, lost: Arc::new(AtomicU64::new(0)) }
    }

    /// Keeps `entry`, or counts it as lost.
    pub fn keep(&self, entry: Entry) {
        let Some(entries) = self.thread.as_ref().and_then(|thread| thread.entries.as_ref()) else { return };
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = entries.try_send(entry) {
            lose(&self.lost, "the disk does not keep up");
        }
    }

    /// How many entries were lost.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        drop(self.entries.take());
        if let Some(handle) = self.handle.take() {
            let _ = handle.join();
        }
    }
}

fn write_all(connection: &Connection, entries: &Receiver<Entry>, history_days: u32, lost: &AtomicU64) {
    let mut count = 0_u64;
    while let Ok(entry) = entries.recv() {
        let at = match &entry {
            Entry::Decision(decision) => decision.at,
            Entry::Transition { transition, .. } => transition.at,
            Entry::Followed { followed, .. } => followed.at,
        };
        if let Err(error) = write(connection, &entry) {
            lose(lost, &error.to_string());
        }
        count += 1;
        if count.is_multiple_of(ENTRIES_PER_SWEEP)
            && let Err(error) = sweep(connection, history_days, at)
        {
            tracing::warn!(%error, "old history could not be removed");
        }
    }
}

fn write(connection: &Connection, entry: &Entry) -> rusqlite::Result<()> {
    match entry {
        Entry::Decision(decision) => write_decision(connection, decision),
        Entry::Transition { pool, transition } => {
            let reason = serde_json::to_string(&transition.reason).unwrap_or_default();
            let from = transition.from.as_ref().map(ha_core::ids::MemberId::as_str);
            let (term, at) = (stored(transition.term.0), transition.at.0);
            let sql = "INSERT OR IGNORE INTO transitions VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
            let mut statement = connection.prepare_cached(sql)?;
            statement.execute(params![pool, term, transition.holder.as_str(), from, at, reason]).map(|_| ())
        }
        Entry::Followed { pool, followed } => {
            let mut statement = connection.prepare_cached("INSERT OR IGNORE INTO followed VALUES (?1, ?2, ?3, ?4)")?;
            let (term, follower) = (stored(followed.term.0), followed.follower.as_str());
            statement.execute(params![pool, term, follower, followed.at.0]).map(|_| ())
        }
    }
}

fn write_decision(connection: &Connection, d: &KeptDecision) -> rusqlite::Result<()> {
    let view = serde_json::to_string(&d.view).unwrap_or_default();
    let plan = serde_json::to_string(&d.plan).unwrap_or_default();
    let sql = "INSERT INTO decisions (pool, at, term, kind, sentence, view, plan) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    let mut statement = connection.prepare_cached(sql)?;
    statement.execute(params![d.pool, d.at.0, stored(d.term.0), d.kind, d.sentence, view, plan])?;
    let sql = "DELETE FROM decisions WHERE pool = ?1 AND id <= \
               (SELECT id FROM decisions WHERE pool = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)";
    connection.prepare_cached(sql)?.execute(params![d.pool, DECISIONS_PER_POOL_MAX]).map(|_| ())
}

/// SQLite has no unsigned numbers.
fn stored(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn sweep(connection: &Connection, history_days: u32, now: WallTime) -> rusqlite::Result<()> {
    let oldest = now.0.saturating_sub(i64::from(history_days) * 24 * 3_600_000);
    connection.execute("DELETE FROM decisions WHERE at < ?1", params![oldest])?;
    connection.execute("DELETE FROM transitions WHERE at < ?1", params![oldest])?;
    connection.execute("DELETE FROM followed WHERE at < ?1", params![oldest])?;
    Ok(())
}

fn lose(lost: &AtomicU64, why: &str) {
    let before = lost.fetch_add(1, Ordering::Relaxed);
    if before == 0 || (before + 1).is_multiple_of(1_000) {
        tracing::error!(lost = before + 1, why, "history is being lost; the pools go on");
    }
}
