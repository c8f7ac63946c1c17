//! Where a blob lies: its container and its name, which must not lead anywhere else.

use std::path::{Path, PathBuf};

/// As Azure Storage bounds a blob's name.
const NAME_MAX: usize = 1024;
/// As file systems bound one segment of it, with room for a suffix.
const SEGMENT_MAX: usize = 200;
/// Container, device and the segments of the name.
const DEPTH_MAX: usize = 12;

/// A blob's place. It is below the folder of all containers, whatever it was read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    container: String,
    blob: String,
}

impl Place {
    /// Reads `{container}/{blob}`, percent-decoded.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (container, blob) = text.split_once('/').ok_or("it names no blob")?;
        if !is_container(container) {
            return Err(format!("'{}' is no name of a container", container.escape_debug()));
        }
        if blob.len() > NAME_MAX || blob.split('/').count() >= DEPTH_MAX {
            return Err(format!("a blob's name has at most {NAME_MAX} bytes and {} slashes", DEPTH_MAX - 2));
        }
        match blob.split('/').find(|segment| !is_plain(segment)) {
            Some(odd) => Err(format!(
                "'{}' cannot be part of a file's path: parts have 1 to {SEGMENT_MAX} bytes, are not . or .., and hold \
                    neither backslashes nor control characters",
                odd.escape_debug()
            )),
            None => Ok(Self { container: container.to_owned(), blob: blob.to_owned() }),
        }
    }

    /// Its name within the container.
    pub(crate) fn blob(&self) -> &str {
        &self.blob
    }

    /// Its file in the folder of all containers.
    pub(super) fn below(&self, root: &Path) -> PathBuf {
        root.join(&self.container).join(&self.blob)
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "/{}/{}", self.container, self.blob)
    }
}

/// Whether Azure Storage would have a container of this name.
pub(crate) fn is_container(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (3..=63).contains(&name.len()) && name.bytes().all(plain) && !name.starts_with('-')
}

fn is_plain(segment: &str) -> bool {
    let odd = |c: char| c.is_control() || c == '\\';
    !segment.is_empty() && segment.len() <= SEGMENT_MAX && !matches!(segment, "." | "..") && !segment.contains(odd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_by_example() {
        let place = Place::parse("files/press-1/logs/a b.txt").expect("a place");
        assert_eq!((place.blob(), place.to_string().as_str()), ("press-1/logs/a b.txt", "/files/press-1/logs/a b.txt"));
        assert_eq!(place.below(Path::new("/root")), Path::new("/root/files/press-1/logs/a b.txt"));
        Place::parse("files/press-1/..a/.b/c..").expect("dots are fine in a name");
        for text in [
            "files",
            "files/",
            "files//a",
            "files//etc/passwd",
            "files/press-1/../../a",
            "files/../a",
            "files/./a",
            "files/press-1/",
            "files/press-1/a\0b",
            "files/press-1/a\\..\\b",
            "../files/a",
            ".uploads/a",
            "/files/a",
            "FILES/a",
            "f/a",
            "files/a/a/a/a/a/a/a/a/a/a/a/a",
        ] {
            Place::parse(text).expect_err(text);
        }
        Place::parse(&format!("files/{}", "x".repeat(SEGMENT_MAX + 1))).expect_err("long");
    }
}
