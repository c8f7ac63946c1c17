//! Blobs as files: written beside, moved into place when they are whole.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use axum::body::Body;
use futures_util::StreamExt as _;
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt as _;

use super::place::Place;
use crate::error::Error;

/// The longest blob, and the most that its blocks may take.
pub(crate) const BLOB_BYTES_MAX: u64 = 256 * 1024 * 1024;
const BLOCKS_MAX: usize = 1000;
/// Beside the containers, none of which can have this name.
const SCRATCH: &str = ".uploads";

/// Why a blob was not written.
#[derive(Debug)]
pub(crate) enum Problem {
    TooLarge,
    /// A block of the list has not been put.
    NoSuchBlock,
    Broken(io::Error),
}

impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Self {
        Self::Broken(error)
    }
}

/// The folder of all containers.
#[derive(Debug)]
pub(crate) struct Blobs {
    root: PathBuf,
}

impl Blobs {
    /// The folder must be there. Blocks that another process has left are removed.
    pub(super) fn open(folder: &Path) -> Result<Self, Error> {
        let root = folder.canonicalize().map_err(Error::read(folder))?;
        match fs::remove_dir_all(root.join(SCRATCH)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::read(&root)(e)),
            _ => Ok(Self { root }),
        }
    }

    /// Put Blob: the whole of it.
    pub(crate) async fn put(&self, place: &Place, body: Body) -> Result<(), Problem> {
        let scratch = self.scratch()?;
        receive(&scratch, body, BLOB_BYTES_MAX).await?;
        Ok(self.move_in(&scratch, place)?)
    }

    /// Put Block: a part, which waits for the list.
    pub(crate) async fn put_block(&self, place: &Place, id: &str, body: Body) -> Result<(), Problem> {
        let (scratch, folder) = (self.scratch()?, self.blocks_of(place));
        fs::create_dir_all(&folder)?;
        let path = folder.join(digest(id));
        let (mut count, mut held) = (0, 0);
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            // A block that is put again takes the place of the first.
            if entry.path() != path {
                count += 1;
                held += entry.metadata()?.len();
            }
        }
        if count >= BLOCKS_MAX {
            return Err(Problem::TooLarge);
        }
        receive(&scratch, body, BLOB_BYTES_MAX.saturating_sub(held)).await?;
        Ok(fs::rename(&scratch.0, path)?)
    }

    /// Put Block List: the blob is these blocks in this order; others are forgotten.
    pub(crate) fn put_list(&self, place: &Place, ids: &[String]) -> Result<(), Problem> {
        let (scratch, folder) = (self.scratch()?, self.blocks_of(place));
        let mut whole = create(&scratch.0)?;
        let mut written = 0;
        for id in ids {
            let mut block = File::open(folder.join(digest(id))).map_err(|e| match e.kind() {
                io::ErrorKind::NotFound => Problem::NoSuchBlock,
                _ => Problem::Broken(e),
            })?;
            // A list may name a block many times.
            written += block.metadata()?.len();
            if written > BLOB_BYTES_MAX {
                return Err(Problem::TooLarge);
            }
            io::copy(&mut block, &mut whole)?;
        }
        self.move_in(&scratch, place)?;
        match fs::remove_dir_all(&folder) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e.into()),
            _ => Ok(()),
        }
    }

    fn scratch(&self) -> io::Result<Scratch> {
        let folder = self.root.join(SCRATCH);
        fs::create_dir_all(&folder)?;
        Ok(Scratch(folder.join(uuid::Uuid::new_v4().to_string())))
    }

    fn blocks_of(&self, place: &Place) -> PathBuf {
        self.root.join(SCRATCH).join(digest(&place.to_string()))
    }

    /// Makes the container and folders that the name asks for.
    fn move_in(&self, scratch: &Scratch, place: &Place) -> io::Result<()> {
        let path = place.below(&self.root);
        let parent = path.parent().unwrap_or(&self.root);
        // A symbolic link among them may lead out of the folder, and nothing may be made there.
        let there = parent.ancestors().find(|folder| folder.symlink_metadata().is_ok()).unwrap_or(&self.root);
        if !there.canonicalize()?.starts_with(&self.root) {
            return Err(io::Error::other("the container leads out of the folder of --blob-dir"));
        }
        fs::create_dir_all(parent)?;
        fs::rename(&scratch.0, path)
    }
}

/// A file that goes with the value, unless it has been moved.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // Usually it has.
        let _ = fs::remove_file(&self.0);
    }
}

async fn receive(scratch: &Scratch, body: Body, bytes_max: u64) -> Result<(), Problem> {
    let mut file = tokio::fs::File::from_std(create(&scratch.0)?);
    let (mut read, mut parts) = (0, body.into_data_stream());
    while let Some(part) = parts.next().await {
        let part = part.map_err(io::Error::other)?;
        read += part.len() as u64;
        if read > bytes_max {
            return Err(Problem::TooLarge);
        }
        file.write_all(&part).await?;
    }
    Ok(file.flush().await?)
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path)
}

fn digest(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str) -> Place {
        Place::parse(text).expect("a place")
    }

    #[tokio::test]
    async fn blocks_become_a_blob_in_the_order_of_the_list() {
        let folder = tempfile::tempdir().expect("a folder");
        let blobs = Blobs::open(folder.path()).expect("there");
        let place = place("files/press-1/a.txt");
        for (id, text) in [("2", "later"), ("1", "lost"), ("1", "first, "), ("3", "left out")] {
            blobs.put_block(&place, id, Body::from(text)).await.expect("kept");
        }
        let path = folder.path().join("files/press-1/a.txt");
        let unknown = blobs.put_list(&place, &["1".into(), "4".into()]);
        assert!(matches!(unknown, Err(Problem::NoSuchBlock)), "{unknown:?}");
        assert!(!path.exists(), "all or nothing");
        blobs.put_list(&place, &["1".into(), "2".into()]).expect("written");
        assert_eq!(fs::read_to_string(&path).expect("there"), "first, later");
        assert_eq!(fs::read_dir(folder.path().join(SCRATCH)).expect("there").count(), 0, "nothing is left behind");
        blobs.put(&place, Body::from("anew")).await.expect("written");
        assert_eq!(fs::read_to_string(&path).expect("there"), "anew");
    }

    #[tokio::test]
    async fn a_link_leads_nowhere() {
        let (folder, outside) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        std::os::unix::fs::symlink(outside.path(), folder.path().join("files")).expect("made");
        let blobs = Blobs::open(folder.path()).expect("there");
        let refused = blobs.put(&place("files/press-1/a.txt"), Body::from("text")).await;
        assert!(matches!(refused, Err(Problem::Broken(_))), "{refused:?}");
        assert_eq!(fs::read_dir(outside.path()).expect("there").count(), 0);
    }
}
