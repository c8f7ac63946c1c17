//! The tables, and whether a file is ours.

use std::path::Path;

use rusqlite::Connection;

use super::Error;

/// Marks the file as ours: "ioha".
const APPLICATION: i64 = 0x696f_6861;

const SHAPE: i64 = 1;

const TABLES: &str = "
CREATE TABLE decisions (
    id INTEGER PRIMARY KEY,
    pool TEXT NOT NULL,
    at INTEGER NOT NULL,
    term INTEGER NOT NULL,
    kind TEXT NOT NULL,
    sentence TEXT NOT NULL,
    view TEXT NOT NULL,
    plan TEXT NOT NULL
) STRICT;
CREATE INDEX decisions_of_pool ON decisions (pool, id);
CREATE INDEX decisions_by_age ON decisions (at);
CREATE TABLE transitions (
    pool TEXT NOT NULL,
    term INTEGER NOT NULL,
    holder TEXT NOT NULL,
    former TEXT,
    at INTEGER NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (pool, term)
) STRICT;
CREATE INDEX transitions_by_age ON transitions (at);
";

/// Added later: a file without it is one of ours too, and readers do without it.
pub(super) const FOLLOWED: &str = "followed";

const TABLES_ADDED: &str = "
CREATE TABLE IF NOT EXISTS followed (
    pool TEXT NOT NULL,
    term INTEGER NOT NULL,
    follower TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (pool, term, follower)
) STRICT;
CREATE INDEX IF NOT EXISTS followed_by_age ON followed (at);
";

/// Opens for writing; makes the file when there is none.
pub(super) fn open(path: &Path) -> Result<Connection, Error> {
    let sqlite = |e| Error::of(path, e);
    let connection = Connection::open(path).map_err(sqlite)?;
    if is_empty(&connection).map_err(sqlite)? {
        let begin = format!(
            "PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {SHAPE}; PRAGMA journal_mode = WAL; \
             PRAGMA journal_size_limit = 4194304; BEGIN; {TABLES} COMMIT;"
        );
        connection.execute_batch(&begin).map_err(sqlite)?;
    }
    check(path, &connection)?;
    let problem: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(sqlite)?;
    if problem != "ok" {
        return Err(Error::Damaged { path: path.to_owned(), why: problem });
    }
    let open = format!("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; BEGIN; {TABLES_ADDED} COMMIT;");
    connection.execute_batch(&open).map_err(sqlite)?;
    Ok(connection)
}

/// Whether the file is one of ours, of a shape we know.
pub(super) fn check(path: &Path, connection: &Connection) -> Result<(), Error> {
    let pragma = |name: &str| -> Result<i64, Error> {
        connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get(0)).map_err(|e| Error::of(path, e))
    };
    connection.busy_timeout(std::time::Duration::from_secs(5)).map_err(|e| Error::of(path, e))?;
    if pragma("application_id")? != APPLICATION {
        return Err(Error::Damaged { path: path.to_owned(), why: "it is another program's database".to_owned() });
    }
    match pragma("user_version")? {
        SHAPE => Ok(()),
        found => Err(Error::Newer { path: path.to_owned(), found }),
    }
}

fn is_empty(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("SELECT count(*) = 0 FROM sqlite_schema", [], |row| row.get(0))
}
