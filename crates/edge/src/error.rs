use std::path::PathBuf;

/// Why a device does not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A port is taken, or the address is not this machine's.
    #[error("cannot listen on {address}")]
    Listen {
        /// Where.
        address: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file or folder cannot be read or written.
    #[error("cannot use {path}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file makes no sense.
    #[error("{path} is damaged: {reason}")]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Certificates cannot be made.
    #[error("certificates cannot be made")]
    Certificates(#[source] rcgen::Error),
    /// TLS cannot be set up.
    #[error("TLS cannot be set up")]
    Tls(#[source] rustls::Error),
    /// The hub does not give the identities of the device.
    #[error("the hub does not tell the identities of device {device}")]
    Registry {
        /// Which device.
        device: String,
        /// Why.
        #[source]
        source: Box<ha_iothub::Error>,
    },
    /// The device is not an IoT Edge device.
    #[error("device {0} is not an IoT Edge device; make it one with `capabilities.iotEdge`")]
    NotEdge(String),
    /// An option makes no sense.
    #[error("{0}")]
    Option(String),
}

impl Error {
    pub(crate) fn file(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { path, source }
    }
}
