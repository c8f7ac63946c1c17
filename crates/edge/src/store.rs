//! What a device remembers over a restart: small JSON files below its state folder, each replaced as a whole.
//!
//! A write survives the end of the process. Whether it survives a power cut is the file system's to say.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::Error;

/// The memory of one device.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    folder: PathBuf,
}

const FOLDER: &str = "kept";
const TWINS: &str = "twins";

impl Store {
    /// The memory of `device` in this state folder; another device's is left alone.
    pub(crate) fn open(state_dir: &Path, device: &str) -> Result<Self, Error> {
        let folder = state_dir.join(FOLDER).join(ha_wire::percent_encode(device));
        let twins = folder.join(TWINS);
        std::fs::create_dir_all(&twins).map_err(Error::file(&twins))?;
        Ok(Self { folder })
    }

    /// What was written under this name; nothing if it never was, or cannot be read.
    pub(crate) fn read<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        read(&self.folder.join(name))
    }

    /// Keeps it under this name. What cannot be written is told and not kept: a full disk stops no device.
    pub(crate) fn write(&self, name: &str, value: &impl Serialize) {
        write(&self.folder.join(name), value);
    }

    /// Every twin that was kept.
    pub(crate) fn twins<T: DeserializeOwned>(&self) -> Vec<T> {
        let files = std::fs::read_dir(self.folder.join(TWINS)).into_iter().flatten().flatten();
        let paths = files.map(|file| file.path()).filter(|path| path.extension().is_some_and(|end| end == "json"));
        paths.filter_map(|path| read(&path)).collect()
    }

    /// Keeps the twin of an identity.
    pub(crate) fn write_twin(&self, id: &crate::Id, twin: &impl Serialize) {
        let name = format!("{}.json", ha_wire::percent_encode(&id.to_string()));
        write(&self.folder.join(TWINS).join(name), twin);
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    let text = std::fs::read(path).ok()?;
    let read = serde_json::from_slice(&text);
    read.inspect_err(|error| tracing::warn!(path = %path.display(), %error, "what was kept cannot be read")).ok()
}

fn write(path: &Path, value: &impl Serialize) {
    let written = serde_json::to_vec(value).map_err(std::io::Error::from).and_then(|bytes| replace(path, &bytes));
    if let Err(error) = written {
        tracing::warn!(path = %path.display(), %error, "not kept over a restart");
    }
}

/// Replaces a file at once, for its owner's eyes alone.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let new = path.with_extension("new");
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(bytes)?;
    std::fs::rename(&new, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Id;

    #[test]
    fn each_device_has_its_own_memory_and_damage_is_forgotten() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(folder.path(), "edge/1").expect("a store");
        store.write("n.json", &7);
        store.write_twin(&Id::module("edge/1", "../m"), &"a twin");
        assert_eq!(store.read::<u8>("n.json"), Some(7));
        assert_eq!(store.twins::<String>(), ["a twin"]);
        let other = Store::open(folder.path(), "edge").expect("a store");
        assert_eq!((other.read::<u8>("n.json"), other.twins::<String>().len()), (None, 0));
        std::fs::write(store.folder.join("n.json"), "{").expect("written");
        assert_eq!(store.read::<u8>("n.json"), None);
    }
}
