//! The registry on disk: read once, written whole after changes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::error::Error;
use crate::files::{self, Readers};
use crate::hub::Saved;
use crate::shell::Shell;

/// Changes that follow each other within this are written once.
const DEBOUNCE: Duration = Duration::from_millis(200);

/// Reads a snapshot. Absent means an empty hub, damaged means no start: nothing is ever silently emptied.
pub(crate) fn read(path: &Path) -> Result<Option<Saved>, Error> {
    let Some(content) = files::read(path).map_err(Error::read(path))? else {
        return Ok(None);
    };
    serde_json::from_slice(&content)
        .map(Some)
        .map_err(|e| Error::Damaged { path: path.to_owned(), reason: e.to_string() })
}

/// Writes the hub after changes until told to stop, then once more.
pub(crate) async fn keep(shell: Arc<Shell>, path: PathBuf, stop: CancellationToken) {
    let mut revisions = shell.revisions();
    let mut written = *revisions.borrow_and_update();
    while !stop.is_cancelled() {
        tokio::select! {
            () = stop.cancelled() => {}
            changed = revisions.changed() => {
                if changed.is_err() {
                    break;
                }
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = tokio::time::sleep(DEBOUNCE) => {}
                }
            }
        }
        let current = *revisions.borrow_and_update();
        if current != written && write(&shell, &path).await {
            written = current;
        }
    }
}

/// Writes the hub as it is.
pub(crate) async fn write(shell: &Arc<Shell>, path: &Path) -> bool {
    let saved = shell.save();
    let path = path.to_owned();
    let shown = path.display().to_string();
    let done = tokio::task::spawn_blocking(move || {
        let content = serde_json::to_vec(&saved).map_err(std::io::Error::other)?;
        files::write(&path, &content, Readers::Owner)
    });
    match done.await {
        Ok(Ok(())) => true,
        Ok(Err(e)) => {
            tracing::error!(path = shown, error = %e, "the snapshot was not written");
            false
        }
        Err(e) => {
            tracing::error!(path = shown, error = %e, "the snapshot task failed");
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_snapshot_is_refused_by_name_and_place() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("hub.json");
        assert!(read(&path).expect("absent is fine").is_none());
        std::fs::write(&path, "{\n \"v\": 1,\n \"devices\": {x").expect("written");
        let message = read(&path).expect_err("refused").to_string();
        assert!(message.contains("hub.json is damaged"), "{message}");
        assert!(message.contains("line 3"), "{message}");
        assert!(message.contains("restore it"), "{message}");
    }
}
