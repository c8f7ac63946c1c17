//! The notice as a file.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::Notice;

/// Keeps the file at the latest notice and tells of each one written. A failed write is tried again until a newer
/// notice comes.
pub(super) async fn keep(path: PathBuf, mut latest: watch::Receiver<Notice>, written: mpsc::UnboundedSender<Notice>) {
    let boot_id = boot_id();
    let mut failed = false;
    loop {
        let notice = *latest.borrow_and_update();
        let (to, boot) = (path.clone(), boot_id.clone());
        let result = tokio::task::spawn_blocking(move || write(&to, &boot, notice)).await;
        match result.map_err(io::Error::other).flatten() {
            Ok(()) => {
                failed = false;
                if written.send(notice).is_err() {
                    return;
                }
            }
            Err(error) => {
                if !failed {
                    tracing::error!(path = %path.display(), %error, "the gate file cannot be written");
                }
                failed = true;
            }
        }
        let retry = async {
            if failed {
                tokio::time::sleep(RETRY).await;
            } else {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            changed = latest.changed() => if changed.is_err() { return },
            () = retry => {}
        }
    }
}

const RETRY: Duration = Duration::from_millis(250);

/// Replaces the file in one step, so that a reader never sees half of it.
fn write(path: &Path, boot_id: &str, notice: Notice) -> io::Result<()> {
    let text = serde_json::json!({
        "active": notice.active,
        "term": notice.term,
        "boot_id": boot_id,
        "until_boot_ms": if notice.active { notice.until.as_ms() } else { 0 },
    });
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let new = folder.join(format!(".{}.new", name.display()));
    let mut file = File::create(&new)?;
    file.write_all(format!("{text}\n").as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    File::open(folder)?.sync_all()
}

/// Tells this boot of the machine from others: the boot clock starts anew with each.
fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use ha_core::ids::Term;
    use ha_core::time::Time;

    use super::*;

    fn read(path: &Path) -> serde_json::Value {
        serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
    }

    #[tokio::test]
    async fn the_file_follows_the_notice() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gate.json");
        let (latest_tx, latest) = watch::channel(Notice::default());
        let (written_tx, mut written) = mpsc::unbounded_channel();
        let task = tokio::spawn(keep(path.clone(), latest, written_tx));
        assert_eq!(written.recv().await, Some(Notice::default()));
        assert_eq!(read(&path)["active"], false);
        let active = Notice { active: true, term: Term(7), until: Time::from_ms(1_234) };
        latest_tx.send(active).unwrap();
        assert_eq!(written.recv().await, Some(active));
        let shown = read(&path);
        assert_eq!(
            (&shown["active"], &shown["term"], &shown["until_boot_ms"]),
            (&true.into(), &7.into(), &1_234.into())
        );
        assert!(!shown["boot_id"].as_str().unwrap().is_empty());
        drop(latest_tx);
        task.await.unwrap();
    }
}
