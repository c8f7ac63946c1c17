//! Why the emulator does not start.

use std::path::PathBuf;

/// What went wrong while starting.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A port could not be opened.
    #[error("cannot listen on {address}")]
    Listen {
        /// Address and port.
        address: String,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// A file could not be read or written.
    #[error("cannot {verb} {}", path.display())]
    File {
        /// `read`, `write` or `make`.
        verb: &'static str,
        /// Which file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// A file of the state folder is damaged.
    #[error(
        "{} is damaged: {reason} (restore it from a copy, or move it away to start without it)",
        path.display()
    )]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What and where.
        reason: String,
    },
    /// The state folder is another emulator's.
    #[error("another emulator is using {}", folder.display())]
    InUse {
        /// Which folder.
        folder: PathBuf,
    },
    /// Certificates could not be made.
    #[error("cannot make certificates")]
    Certificates(#[source] rcgen::Error),
    /// TLS refused what was made.
    #[error("cannot set up TLS")]
    Tls(#[source] rustls::Error),
    /// An option makes no sense.
    #[error("{0}")]
    Option(String),
}

impl Error {
    pub(crate) fn read(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        Self::file("read", path.into())
    }

    pub(crate) fn write(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        Self::file("write", path.into())
    }

    pub(crate) fn make(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        Self::file("make", path.into())
    }

    fn file(verb: &'static str, path: PathBuf) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::File { verb, path, source }
    }
}
