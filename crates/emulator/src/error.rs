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
        /// `read` or `write`.
        verb: &'static str,
        /// Which file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// A file of the state folder is damaged.
    #[error(
        "{} is damaged: {reason} (restore it from a copy, or move it away to start with an empty hub)",
        path.display()
    )]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What and where.
        reason: String,
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

    fn file(verb: &'static str, path: PathBuf) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::File { verb, path, source }
    }
}
