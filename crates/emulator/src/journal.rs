//! The registry in the state folder: a snapshot, and a log of what has changed since.
//!
//! A change is in the log before anybody is told of it, so an acknowledged write outlives the process however it ends.
//! The log is forced to disk a moment later; a power failure may cost that moment.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::error::Error;
use crate::files::{self, Readers};
use crate::hub::{Change, Dirty, Hub, Saved};
use crate::shell::Shell;

const SNAPSHOT: &str = "hub.json";
const LOG: &str = "hub.log";
const LOCK: &str = "hub.lock";

/// A log shorter than this is left alone.
const LOG_BYTES_MIN: u64 = 4 * 1024 * 1024;
/// Changes that follow each other within this are forced to disk together.
const SYNC_WITHIN: Duration = Duration::from_millis(100);

/// Writes down what changes. One process at a time has a folder's journal.
#[derive(Debug)]
pub(crate) struct Journal {
    snapshot: PathBuf,
    log: Arc<File>,
    log_bytes: u64,
    log_bytes_max: u64,
    whole_again: bool,
    _lock: File,
}

impl Journal {
    /// Takes the folder and reads what it holds.
    pub(crate) fn open(folder: &Path) -> Result<(Self, Option<Saved>), Error> {
        let lock = lock(folder)?;
        let snapshot = folder.join(SNAPSHOT);
        let path = folder.join(LOG);
        let saved = match files::read(&snapshot).map_err(Error::read(&snapshot))? {
            Some(content) => Some(parse(&snapshot, &content)?),
            None => None,
        };
        let content = files::read(&path).map_err(Error::read(&path))?.unwrap_or_default();
        let (saved, whole) = replay(&path, saved, &content)?;
        let mut options = OpenOptions::new();
        options.append(true).create(true).mode(0o600);
        let log = options.open(&path).map_err(Error::write(&path))?;
        log.set_len(whole as u64).map_err(Error::write(&path))?;
        let journal = Self {
            snapshot,
            log: Arc::new(log),
            log_bytes: whole as u64,
            log_bytes_max: LOG_BYTES_MIN,
            whole_again: true,
            _lock: lock,
        };
        Ok((journal, saved))
    }

    /// Writes down what has changed since the last call.
    pub(crate) fn note(&mut self, hub: &Hub, dirty: Dirty) {
        let done = match dirty {
            Dirty::Nothing if !self.whole_again => return,
            Dirty::Some(ids) if !self.whole_again && self.log_bytes < self.log_bytes_max => {
                self.append(ids.iter().map(|id| hub.record(id)))
            }
            Dirty::Rest(ids) if !self.whole_again && self.log_bytes < self.log_bytes_max => {
                self.append(ids.iter().map(|id| hub.record(id)).chain([hub.record_rest()]))
            }
            _ => self.compact(&hub.save()),
        };
        if let Err(e) = done {
            // Every later change tries to write everything, until it works.
            self.whole_again = true;
            tracing::error!(path = %self.snapshot.display(), error = %e, "the state was not written");
        }
    }

    /// Writes everything as it is, so that a place that cannot be written is known.
    pub(crate) fn begin(&mut self, hub: &Hub) -> Result<(), Error> {
        self.compact(&hub.save()).map_err(Error::write(&self.snapshot))
    }

    /// The log, to be forced to disk.
    pub(crate) fn log(&self) -> Arc<File> {
        Arc::clone(&self.log)
    }

    fn append(&mut self, changes: impl Iterator<Item = Change>) -> io::Result<()> {
        let mut lines = Vec::new();
        for change in changes {
            serde_json::to_writer(&mut lines, &change)?;
            lines.push(b'\n');
        }
        (&*self.log).write_all(&lines)?;
        self.log_bytes += lines.len() as u64;
        Ok(())
    }

    /// A crash between the two steps leaves a log that the snapshot holds already: each line of it is the whole value
    /// of an identity, so playing it again ends at the same state.
    fn compact(&mut self, saved: &Saved) -> io::Result<()> {
        let content = serde_json::to_vec(saved)?;
        files::write(&self.snapshot, &content, Readers::Owner)?;
        self.log.set_len(0)?;
        self.log.sync_all()?;
        self.log_bytes = 0;
        self.log_bytes_max = LOG_BYTES_MIN.max(2 * content.len() as u64);
        self.whole_again = false;
        Ok(())
    }
}

/// Forces the log to disk soon after changes, until told to stop.
pub(crate) async fn keep(shell: Arc<Shell>, log: Arc<File>, stop: CancellationToken) {
    let mut revisions = shell.revisions();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            changed = revisions.changed() => if changed.is_err() { return },
        }
        tokio::time::sleep(SYNC_WITHIN).await;
        revisions.mark_unchanged();
        let log = Arc::clone(&log);
        match tokio::task::spawn_blocking(move || log.sync_data()).await {
            Ok(Ok(())) => {}
            Ok(Err(e)) => tracing::error!(error = %e, "the state was not forced to disk"),
            Err(e) => tracing::error!(error = %e, "the task that forces the state to disk failed"),
        }
    }
}

fn lock(folder: &Path) -> Result<File, Error> {
    let path = folder.join(LOCK);
    let file = File::create(&path).map_err(Error::write(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(Error::InUse { folder: folder.to_owned() }),
        Err(fs::TryLockError::Error(e)) => Err(Error::write(&path)(e)),
    }
}

fn parse(path: &Path, content: &[u8]) -> Result<Saved, Error> {
    serde_json::from_slice(content).map_err(|e| Error::Damaged { path: path.to_owned(), reason: e.to_string() })
}

/// Plays the log over the snapshot; answers with the length of what is whole. A last line without an end is what a
/// process was writing when it died: nobody was told of it.
fn replay(path: &Path, saved: Option<Saved>, content: &[u8]) -> Result<(Option<Saved>, usize), Error> {
    let whole = content.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
    if whole < content.len() {
        tracing::warn!(path = %path.display(), bytes = content.len() - whole, "the last change was not whole");
    }
    if whole == 0 {
        return Ok((saved, 0));
    }
    let mut saved = saved.unwrap_or_default();
    for (at, line) in content[..whole - 1].split(|b| *b == b'\n').enumerate() {
        let damaged = |reason: String| Error::Damaged { path: path.to_owned(), reason };
        let change: Change = serde_json::from_slice(line).map_err(|e| damaged(format!("line {}: {e}", at + 1)))?;
        saved.apply(change).map_err(|e| damaged(format!("line {}: {e}", at + 1)))?;
    }
    Ok((Some(saved), whole))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::{DeviceBody, Dice, Expect, Id, ModuleBody};
    use jiff::{SignedDuration, Timestamp};
    use proptest::prelude::*;
    use serde_json::json;

    fn hub() -> Hub {
        Hub::new(Dice::new([5; 32]), SignedDuration::ZERO)
    }

    /// One write of a back end or a device, by number.
    fn write(hub: &mut Hub, what: u8, n: u8) {
        let now = Timestamp::from_second(1_700_000_000 + i64::from(n)).expect("a time");
        let device = format!("d{}", n % 3);
        let (id, module) = (Id::device(&device), Id::module(&device, "m"));
        // Some of it is refused; that is no change.
        let _ = match what % 7 {
            0 => hub.put_device(&device, &DeviceBody::default(), &Expect::Nothing, now).map(drop),
            1 => hub.put_module(&device, "m", &ModuleBody::default(), &Expect::Nothing, now).map(drop),
            2 => hub.patch_twin(&id, &json!({"tags": {"n": n}}), &Expect::Any, now).map(drop),
            3 => hub.patch_twin(&module, &json!({"properties": {"desired": {"n": n}}}), &Expect::Any, now).map(drop),
            4 => hub.delete_module(&device, "m", &Expect::Any, now),
            5 => hub.delete_device(&device, &Expect::Any, now),
            _ => {
                let body = json!({"content": {"deviceContent": {}}, "targetCondition": "*", "priority": n});
                hub.put_configuration(&device, body, &Expect::Nothing, now).map(drop)
            }
        };
    }

    fn as_json(saved: &Saved) -> serde_json::Value {
        serde_json::to_value(saved).expect("JSON")
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn what_was_noted_comes_back_wherever_the_process_died(
            writes in prop::collection::vec((any::<u8>(), any::<u8>()), 1..60),
            torn in 0..200usize,
            stale in any::<bool>(),
        ) {
            let folder = tempfile::tempdir().expect("a folder");
            let mut hub = hub();
            let (mut journal, saved) = Journal::open(folder.path()).expect("opened");
            prop_assert!(saved.is_none());
            journal.begin(&hub).expect("written");
            for (what, n) in writes {
                write(&mut hub, what, n);
                let dirty = hub.take_dirty();
                journal.note(&hub, dirty);
            }
            let expected = as_json(&hub.save());
            if stale {
                // Died between the two steps of compacting.
                files::write(&folder.path().join(SNAPSHOT), expected.to_string().as_bytes(), Readers::Owner)
                    .expect("written");
            }
            let line = "{\"device\":\"d0\",\"now\":null}\n".repeat(8);
            (&*journal.log).write_all(&line.as_bytes()[..torn.min(26)]).expect("written");
            drop(journal);
            let (_, saved) = Journal::open(folder.path()).expect("opened");
            prop_assert_eq!(as_json(&saved.expect("something")), expected);
        }
    }

    #[test]
    fn a_folder_has_one_emulator_and_damage_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut journal, _) = Journal::open(folder.path()).expect("opened");
        journal.begin(&hub()).expect("written");
        let second = Journal::open(folder.path()).expect_err("locked").to_string();
        assert!(second.contains("another emulator is using"), "{second}");
        drop(journal);
        fs::write(folder.path().join(LOG), "{\"device\":\"a\",\"now\":null}\nnonsense\n").expect("written");
        let damaged = Journal::open(folder.path()).expect_err("refused").to_string();
        assert!(damaged.contains("hub.log is damaged: line 2"), "{damaged}");
    }
}
