use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::Error;
use crate::keeper::RestartPolicy;
use crate::link::Carrier;
use crate::probe::{ProbeKind, ProbeSettings, When};

/// The settings file, as written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct SettingsFile {
    pub(super) pool: Option<String>,
    pub(super) state_dir: Option<PathBuf>,
    pub(super) leave_grace_ms: u64,
    pub(super) clock_jump_ms: u64,
    pub(super) hub: HubFile,
    pub(super) gate: GateFile,
    #[serde(rename = "probe")]
    pub(super) probes: Vec<ProbeFile>,
}

impl Default for SettingsFile {
    fn default() -> Self {
        Self {
            pool: None,
            state_dir: None,
            leave_grace_ms: 15_000,
            clock_jump_ms: 2_000,
            hub: HubFile::default(),
            gate: GateFile::default(),
            probes: Vec::new(),
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct HubFile {
    pub(super) connection_string_env: Option<String>,
    pub(super) connection_string_file: Option<PathBuf>,
    pub(super) ca_file: Option<PathBuf>,
    pub(super) carrier: Carrier,
    pub(super) mqtt_port: Option<u16>,
    pub(super) keep_alive_s: u16,
    pub(super) ping_timeout_ms: u64,
    pub(super) connect_timeout_ms: u64,
    pub(super) reconnect_max_ms: u64,
    pub(super) token_ttl_s: u64,
    pub(super) twin_poll_s: u64,
}

impl Default for HubFile {
    fn default() -> Self {
        Self {
            connection_string_env: None,
            connection_string_file: None,
            ca_file: None,
            carrier: Carrier::Tls,
            mqtt_port: None,
            keep_alive_s: 20,
            ping_timeout_ms: 5_000,
            connect_timeout_ms: 10_000,
            reconnect_max_ms: 15_000,
            token_ttl_s: 3_600,
            twin_poll_s: 300,
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct GateFile {
    pub(super) stop_ms: u64,
    pub(super) settle_ms: Option<u64>,
    pub(super) kill_margin_ms: Option<u64>,
    pub(super) http_listen: Option<SocketAddr>,
    pub(super) state_file: Option<PathBuf>,
    pub(super) command: Vec<String>,
    pub(super) restart: RestartPolicy,
    pub(super) restart_min_ms: u64,
    pub(super) restart_max_ms: u64,
}

impl Default for GateFile {
    fn default() -> Self {
        Self {
            stop_ms: 3_000,
            settle_ms: None,
            kill_margin_ms: None,
            http_listen: None,
            state_file: None,
            command: Vec::new(),
            restart: RestartPolicy::Always,
            restart_min_ms: 500,
            restart_max_ms: 30_000,
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProbeFile {
    kind: Kind,
    name: Option<String>,
    #[serde(default)]
    when: When,
    url: Option<String>,
    address: Option<String>,
    path: Option<PathBuf>,
    age_ms_max: Option<u64>,
    command: Option<Vec<String>>,
    #[serde(default = "interval_ms")]
    interval_ms: u64,
    #[serde(default = "timeout_ms")]
    timeout_ms: u64,
    #[serde(default = "failures_max")]
    failures_max: u32,
}

fn interval_ms() -> u64 {
    2_000
}

fn timeout_ms() -> u64 {
    1_000
}

fn failures_max() -> u32 {
    3
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Http,
    Tcp,
    File,
    Command,
}

impl ProbeFile {
    pub(super) fn into_settings(self) -> Result<ProbeSettings, Error> {
        let missing = |kind, field, hint| Error::Bad { what: format!("the probe of kind {kind} has no {field}"), hint };
        let kind = match self.kind {
            Kind::Http => ProbeKind::Http {
                url: self.url.ok_or(missing("http", "url", "add url = \"http://127.0.0.1:8080/health\""))?,
            },
            Kind::Tcp => ProbeKind::Tcp {
                address: self.address.ok_or(missing("tcp", "address", "add address = \"127.0.0.1:502\""))?,
            },
            Kind::File => ProbeKind::File {
                path: self.path.ok_or(missing("file", "path", "add path = \"/run/workload/alive\""))?,
                age_max: Duration::from_millis(self.age_ms_max.ok_or(missing(
                    "file",
                    "age_ms_max",
                    "add age_ms_max = 5000",
                ))?),
            },
            Kind::Command => ProbeKind::Command {
                command: self.command.filter(|command| !command.is_empty()).ok_or(missing(
                    "command",
                    "command",
                    "add command = [\"/bin/check\"]",
                ))?,
            },
        };
        if self.interval_ms == 0 || self.timeout_ms == 0 || self.failures_max == 0 {
            return Err(Error::Bad {
                what: "a probe has a zero interval_ms, timeout_ms or failures_max".to_owned(),
                hint: "each must be at least 1",
            });
        }
        Ok(ProbeSettings {
            name: self.name,
            kind,
            when: self.when,
            interval: Duration::from_millis(self.interval_ms),
            timeout: Duration::from_millis(self.timeout_ms),
            failures_max: self.failures_max,
        })
    }
}

const FILE_BYTES_MAX: u64 = 1_024 * 1_024;

impl SettingsFile {
    pub(super) fn read(path: &Path) -> Result<Self, Error> {
        let failed = |source| Error::Read { path: path.to_owned(), source };
        let size = std::fs::metadata(path).map_err(failed)?.len();
        if size > FILE_BYTES_MAX {
            return Err(failed(std::io::ErrorKind::FileTooLarge.into()));
        }
        Self::parse(path, &std::fs::read_to_string(path).map_err(failed)?)
    }

    pub(super) fn parse(path: &Path, text: &str) -> Result<Self, Error> {
        toml::from_str(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start).min(text.len());
            let line = 1 + text.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count();
            Error::Parse { path: path.to_owned(), line, message: error.message().to_owned() }
        })
    }
}
