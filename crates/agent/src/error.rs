use std::io;
use std::path::PathBuf;

use crate::link::identity;
use crate::settings;

/// Why the agent does not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The settings are no good.
    #[error(transparent)]
    Settings(#[from] settings::Error),
    /// Nothing says as whom to connect.
    #[error(
        "no module identity is given; run as an IoT Edge module, or give --connection-string-env NAME or \
         --connection-string-file FILE"
    )]
    NoIdentity,
    /// The variable is not there.
    #[error("the environment variable {name}, which should hold the connection string, is not set")]
    CredentialVariable {
        /// Its name.
        name: String,
    },
    /// The file is not there.
    #[error("cannot read the connection string from {path}")]
    CredentialFile {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is none.
    #[error("the connection string makes no sense")]
    ConnectionString(#[source] ha_wire::Error),
    /// The identity cannot be used.
    #[error("the module's identity cannot be used")]
    Identity(#[source] identity::Error),
    /// The state folder cannot be made.
    #[error("cannot make the state folder {path}")]
    StateDir {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The gate cannot be made.
    #[error("the gate cannot be set up (is the HTTP address taken?)")]
    Gate(#[source] io::Error),
    /// No signals or timers.
    #[error("the system gives no signals or timers")]
    Signals(#[source] io::Error),
    /// A bug.
    #[error("the gate's task has ended")]
    GateEnded,
    /// A bug.
    #[error("the task that keeps the line to the hub has ended")]
    LinkEnded,
}

impl Error {
    /// Whether the command line, the environment or a file has to be mended first.
    pub fn is_usage(&self) -> bool {
        !matches!(self, Self::Gate(_) | Self::Signals(_) | Self::GateEnded | Self::LinkEnded | Self::StateDir { .. })
    }
}
