//! The long memory: every decision with what it was made from, every change of holder.
//!
//! Nothing that keeps a pool running depends on it. Writes go to a thread of their own and are dropped,
//! loudly, rather than waited for; a store that cannot be opened leaves the short history in the anchors.

mod schema;
mod writer;

use std::path::{Path, PathBuf};

use ha_core::anchor::{Reason, Transition};
use ha_core::ids::{FollowerId, MemberId, Term};
use ha_core::plan::{Plan, Step, View};
use ha_core::time::WallTime;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Row, params};
use serde::{Deserialize, Serialize};

pub use self::writer::{Entry, Recorder};

/// The file in the state folder.
pub const FILE: &str = "history.sqlite";

/// A decision as it was kept.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct KeptDecision {
    /// Which pool.
    pub pool: String,
    /// When.
    pub at: WallTime,
    /// The term at that time.
    pub term: Term,
    /// The kind of it, in one word.
    pub kind: String,
    /// It in one sentence.
    pub sentence: String,
    /// What it was made from.
    pub view: View,
    /// What was decided.
    pub plan: Plan,
}

impl KeptDecision {
    /// `decision` on `pool`, ready to be kept.
    pub fn of(pool: &str, decision: ha_core::pool::Decision) -> Self {
        let term = decision.view.anchor.as_ref().map_or(decision.view.term_seen, |anchor| anchor.term);
        Self {
            pool: pool.to_owned(),
            at: decision.view.now.wall,
            term,
            kind: kind(&decision.plan).to_owned(),
            sentence: decision.sentence,
            view: decision.view,
            plan: decision.plan,
        }
    }

    /// What the same view leads to today: the same plan, unless the rules have changed since.
    pub fn replay(&self) -> Plan {
        ha_core::plan::plan(&self.view)
    }
}

/// A decision's kind in one word.
fn kind(plan: &Plan) -> &'static str {
    let rank = |step: &Step| match step {
        Step::Appoint { .. } => Some("appoint"),
        Step::Consult { .. } => Some("consult"),
        Step::Fence => Some("fence"),
        Step::Revoke { .. } => Some("revoke"),
        Step::Settle { .. } => Some("settle"),
        Step::Claim | Step::Renew { .. } | Step::Probe { .. } | Step::Hear { .. } => None,
    };
    match plan.steps.iter().find_map(rank) {
        Some(kind) => kind,
        None if plan.waiting.is_empty() => "hold",
        None => "wait",
    }
}

/// What a follower has done after a change of holder.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Followed {
    /// After the change to which term.
    pub term: Term,
    /// Which follower.
    pub follower: FollowerId,
    /// When it was through.
    pub at: WallTime,
}

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no store yet.
    #[error("{} does not exist yet", .0.display())]
    Absent(PathBuf),
    /// The file is damaged, or no store of ours.
    #[error("{} is damaged or no history of iotedge-ha: {why}; nothing was changed. \
             Move it aside (`run --set-aside-history` does) and a new one is begun", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What was found.
        why: String,
    },
    /// A newer version of this program made it.
    #[error("{} was made by a newer version of iotedge-ha (shape {found}); use that version, or another state_dir", path.display())]
    Newer {
        /// Which file.
        path: PathBuf,
        /// Its shape.
        found: i64,
    },
    /// The file system does not let us.
    #[error("{} cannot be used", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// SQLite says no.
    #[error("{} cannot be used", path.display())]
    Sqlite {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
}

impl Error {
    /// A damaged file is told apart from everything else that SQLite can say.
    fn of(path: &Path, source: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
        match source.sqlite_error_code() {
            Some(DatabaseCorrupt | NotADatabase) => Self::Damaged { path: path.to_owned(), why: source.to_string() },
            _ => Self::Sqlite { path: path.to_owned(), source },
        }
    }
}

/// Reads the store beside a running daemon.
pub struct History {
    path: PathBuf,
    connection: Connection,
}

impl History {
    /// Opens the store in `state_dir` for reading.
    pub fn open(state_dir: &Path) -> Result<Self, Error> {
        let path = state_dir.join(FILE);
        if !path.exists() {
            return Err(Error::Absent(path));
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&path, flags).map_err(|e| Error::of(&path, e))?;
        schema::check(&path, &connection)?;
        Ok(Self { path, connection })
    }

    /// The latest decisions on `pool`, newest first.
    pub fn decisions(&self, pool: &str, limit: usize) -> Result<Vec<KeptDecision>, Error> {
        let sql = "SELECT pool, at, term, kind, sentence, view, plan FROM decisions WHERE pool = ?1 ORDER BY id DESC LIMIT ?2";
        let mut statement = self.connection.prepare(sql).map_err(|e| self.error(e))?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = statement.query_map(params![pool, limit], |row| Ok(decision(row))).map_err(|e| self.error(e))?;
        rows.map(|row| row.and_then(|inner| inner).map_err(|e| self.error(e))).collect()
    }

    /// The latest decision on `pool` that did something.
    pub fn last_deed(&self, pool: &str) -> Result<Option<KeptDecision>, Error> {
        let sql = "SELECT pool, at, term, kind, sentence, view, plan FROM decisions \
                   WHERE pool = ?1 AND kind NOT IN ('wait', 'hold') ORDER BY id DESC LIMIT 1";
        self.connection.query_row(sql, params![pool], decision).optional().map_err(|e| self.error(e))
    }

    /// The latest changes of holder in `pool`, newest first.
    pub fn transitions(&self, pool: &str, limit: usize) -> Result<Vec<Transition>, Error> {
        let sql =
            "SELECT term, holder, former, at, reason FROM transitions WHERE pool = ?1 ORDER BY term DESC LIMIT ?2";
        let mut statement = self.connection.prepare(sql).map_err(|e| self.error(e))?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = statement.query_map(params![pool, limit], transition).map_err(|e| self.error(e))?;
        rows.collect::<Result<_, _>>().map_err(|e| self.error(e))
    }

    /// What followers have done after the latest changes of holder in `pool`, newest first.
    pub fn followed(&self, pool: &str, limit: usize) -> Result<Vec<Followed>, Error> {
        let table = "SELECT count(*) > 0 FROM sqlite_schema WHERE name = ?1";
        let there = self.connection.query_row(table, params![schema::FOLLOWED], |row| row.get(0));
        if !there.map_err(|e| self.error(e))? {
            return Ok(Vec::new());
        }
        let sql = "SELECT term, follower, at FROM followed WHERE pool = ?1 ORDER BY term DESC, at LIMIT ?2";
        let mut statement = self.connection.prepare(sql).map_err(|e| self.error(e))?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = statement.query_map(params![pool, limit], followed).map_err(|e| self.error(e))?;
        rows.collect::<Result<_, _>>().map_err(|e| self.error(e))
    }

    fn error(&self, source: rusqlite::Error) -> Error {
        Error::of(&self.path, source)
    }
}

/// Moves a store, damaged or not, out of the way; where to.
pub fn set_aside(state_dir: &Path, at: WallTime) -> Result<PathBuf, Error> {
    let path = state_dir.join(FILE);
    let aside = state_dir.join(format!("{FILE}.aside-{}", at.0));
    for ending in ["", "-wal", "-shm"] {
        let from = state_dir.join(format!("{FILE}{ending}"));
        let to = state_dir.join(format!("{FILE}.aside-{}{ending}", at.0));
        if from.exists() {
            std::fs::rename(&from, &to).map_err(|source| Error::Io { path: path.clone(), source })?;
        }
    }
    Ok(aside)
}

fn decision(row: &Row<'_>) -> rusqlite::Result<KeptDecision> {
    Ok(KeptDecision {
        pool: row.get(0)?,
        at: WallTime(row.get(1)?),
        term: Term(row.get::<_, i64>(2)?.unsigned_abs()),
        kind: row.get(3)?,
        sentence: row.get(4)?,
        view: json(row, 5)?,
        plan: json(row, 6)?,
    })
}

fn transition(row: &Row<'_>) -> rusqlite::Result<Transition> {
    Ok(Transition {
        term: Term(row.get::<_, i64>(0)?.unsigned_abs()),
        holder: MemberId::new(row.get::<_, String>(1)?),
        from: row.get::<_, Option<String>>(2)?.map(MemberId::new),
        at: WallTime(row.get(3)?),
        reason: json::<Reason>(row, 4)?,
    })
}

fn followed(row: &Row<'_>) -> rusqlite::Result<Followed> {
    Ok(Followed {
        term: Term(row.get::<_, i64>(0)?.unsigned_abs()),
        follower: FollowerId::new(row.get::<_, String>(1)?),
        at: WallTime(row.get(2)?),
    })
}

fn json<T: for<'de> Deserialize<'de>>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(error))
    })
}

#[cfg(test)]
mod tests;
