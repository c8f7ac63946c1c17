//! Blob containers as folders: which folder a container's address means, and what a client may reach in it.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Component, Path, PathBuf};

use crate::error::Error;
use crate::files::{self, Readers};
use crate::hub::Refusal;

/// The longest blob that is read; a device is about a kilobyte.
const BLOB_BYTES_MAX: u64 = 256 * 1024 * 1024;
const ADDRESS_MAX: usize = 4096;
const NAME_MAX: usize = 200;

/// The folder that holds all containers.
#[derive(Debug, Clone)]
pub(super) struct Containers {
    /// As it was given, for addresses that name it so.
    given: PathBuf,
    /// Without symbolic links.
    root: PathBuf,
}

/// A container that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Container {
    /// Its address without what signs it.
    pub(super) address: String,
    root: PathBuf,
    folder: PathBuf,
}

impl Containers {
    /// The folder must be there.
    pub(super) fn open(folder: &Path) -> Result<Self, Error> {
        let root = folder.canonicalize().map_err(Error::read(folder))?;
        if !root.is_dir() {
            return Err(Error::Option(format!("{} is not a folder", folder.display())));
        }
        let given = std::path::absolute(folder).map_err(Error::read(folder))?;
        Ok(Self { given, root })
    }

    /// The container of an address: `file:///…` below the folder, or `https://{account}.blob.…/{container}?…`.
    pub(super) fn find(&self, property: &str, address: &str) -> Result<Container, Refusal> {
        if address.len() > ADDRESS_MAX {
            return Err(Refusal::argument(format!("{property} is longer than {ADDRESS_MAX} bytes")));
        }
        // What comes after is a signature: it is neither needed nor shown.
        let address = address.split(['?', '#']).next().unwrap_or_default();
        let refuse = |reason: &str| Refusal::argument(format!("{property} '{address}': {reason}"));
        let below = self.below(address).map_err(refuse)?;
        let folder = self.root.join(below).canonicalize();
        let folder = folder.ok().filter(|folder| folder.is_dir());
        let folder = folder.ok_or_else(|| refuse("there is no such container; make its folder below --blob-dir"))?;
        if !folder.starts_with(&self.root) {
            return Err(refuse("it leads out of the folder of --blob-dir"));
        }
        Ok(Container { address: address.to_owned(), root: self.root.clone(), folder })
    }

    /// The path below the root.
    fn below(&self, address: &str) -> Result<PathBuf, &'static str> {
        if let Some(path) = address.strip_prefix("file://") {
            let path = path.strip_prefix("localhost").unwrap_or(path);
            let path = ha_wire::percent_decode(path).map_err(|_| "it is not percent-encoded UTF-8")?;
            let path = Path::new(&*path);
            let below = path.strip_prefix(&self.given).or_else(|_| path.strip_prefix(&self.root));
            let below = below.map_err(|_| "it is not below the folder of --blob-dir")?;
            return match below.components().all(|part| matches!(part, Component::Normal(_))) {
                true => Ok(below.to_owned()),
                false => Err("it is not below the folder of --blob-dir"),
            };
        }
        let known = "a container is file:///… below the folder of --blob-dir, or https://{account}.blob.…/{container}";
        let (host, name) = address.strip_prefix("https://").and_then(|rest| rest.split_once('/')).ok_or(known)?;
        let name = name.trim_end_matches('/');
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '$');
        if !host.contains(".blob.") || name.is_empty() || !name.chars().all(plain) {
            return Err(known);
        }
        Ok(PathBuf::from(name))
    }
}

impl Container {
    /// The text of a blob.
    pub(super) fn read(&self, blob: &str) -> Result<String, String> {
        let failed = |e: io::Error| format!("cannot read '{blob}' in '{}': {e}", self.address);
        let path = self.folder.join(blob).canonicalize().map_err(failed)?;
        // A pipe would be waited for without end.
        if !path.starts_with(&self.root) || !path.is_file() {
            return Err(failed(io::Error::other("it is no file of the container")));
        }
        let mut text = String::new();
        let file = File::open(&path).map_err(failed)?;
        file.take(BLOB_BYTES_MAX + 1).read_to_string(&mut text).map_err(failed)?;
        if text.len() as u64 > BLOB_BYTES_MAX {
            return Err(failed(io::Error::other(format!("it is longer than {BLOB_BYTES_MAX} bytes"))));
        }
        Ok(text)
    }

    /// Writes a blob, which may hold keys.
    pub(super) fn write(&self, blob: &str, text: &str) -> Result<(), String> {
        let written = files::write(&self.folder.join(blob), text.as_bytes(), Readers::Owner);
        written.map_err(|e| format!("cannot write '{blob}' in '{}': {e}", self.address))
    }
}

/// A blob is one file of its container.
pub(super) fn check_blob(property: &str, name: &str) -> Result<(), Refusal> {
    let odd = |c: char| c.is_control() || matches!(c, '/' | '\\');
    if name.is_empty() || name.len() > NAME_MAX || name.starts_with('.') || name.contains(odd) {
        let text =
            format!("{property}: a name of 1 to {NAME_MAX} bytes without slashes that does not start with a dot");
        return Err(Refusal::argument(text));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_by_example() {
        let outside = tempfile::tempdir().expect("a folder");
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path();
        std::fs::create_dir_all(root.join("fleet/a b")).expect("made");
        std::os::unix::fs::symlink(outside.path(), root.join("escape")).expect("made");
        std::fs::write(root.join("file"), "").expect("written");
        let containers = Containers::open(root).expect("there");
        let here = root.display();
        let found = |address: &str| containers.find("input", address).map(|found| found.folder);
        for (address, below) in [
            (format!("file://{here}/fleet"), "fleet"),
            (format!("file://localhost{here}/fleet/"), "fleet"),
            (format!("file://{here}/fleet/a%20b"), "fleet/a b"),
            ("https://store.blob.core.windows.net/fleet?sv=2021&sig=abc%3D".into(), "fleet"),
            ("https://store.blob.core.windows.net/fleet/".into(), "fleet"),
        ] {
            assert_eq!(found(&address), Ok(containers.root.join(below)), "{address}");
        }
        for address in [
            format!("file://{here}/fleet/../../etc"),
            format!("file://{here}/%2e%2e/etc"),
            format!("file://{here}/escape"),
            format!("file://{here}/file"),
            format!("file://{here}/nothing"),
            format!("file://elsewhere{here}/fleet"),
            format!("{here}/fleet"),
            "file:///etc".into(),
            "https://store.blob.core.windows.net/escape".into(),
            "https://store.blob.core.windows.net/..".into(),
            "https://store.blob.core.windows.net/fleet%2f..%2f..".into(),
            "https://store.blob.core.windows.net/".into(),
            "https://store.example/fleet".into(),
            "http://store.blob.core.windows.net/fleet".into(),
            "x".repeat(ADDRESS_MAX + 1),
        ] {
            found(&address).expect_err(&address);
        }
    }

    #[test]
    fn a_signature_is_never_told() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("fleet")).expect("made");
        let containers = Containers::open(folder.path()).expect("there");
        let find = |name: &str| containers.find("input", &format!("https://s.blob.core.windows.net/{name}?sig=secret"));
        assert_eq!(find("fleet").expect("there").address, "https://s.blob.core.windows.net/fleet");
        assert!(!find("nothing").expect_err("absent").to_string().contains("secret"));
    }

    #[test]
    fn blobs_stay_in_their_container() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("fleet")).expect("made");
        std::os::unix::fs::symlink("/etc/hostname", folder.path().join("fleet/link")).expect("made");
        let containers = Containers::open(folder.path()).expect("there");
        let fleet = containers.find("input", "https://s.blob.core.windows.net/fleet").expect("there");
        fleet.write("devices.txt", "text").expect("written");
        assert_eq!(fleet.read("devices.txt").as_deref(), Ok("text"));
        assert!(fleet.read("nothing").is_err());
        assert!(fleet.read("link").is_err());
        check_blob("inputBlobName", "devices.txt").expect("a name");
        for name in ["", "..", ".hidden", "a/b", "a\\b", "a\0b"] {
            check_blob("inputBlobName", name).expect_err(name);
        }
    }
}
