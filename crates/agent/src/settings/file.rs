use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Error;
use crate::keeper::RestartPolicy;
use crate::link::Carrier;
use crate::probe::{ProbeKind, ProbeSettings, When};

/// Settings of the agent.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(title = "iotedge-ha agent settings")]
pub(super) struct SettingsFile {
    /// The pool that this device is a member of. `--pool` or `HA_AGENT_POOL` wins.
    pub(super) pool: Option<String>,
    /// A folder of the agent's own, kept over restarts; the exec gate needs one, for its lock.
    pub(super) state_dir: Option<PathBuf>,
    /// How long a stopping agent waits to be relieved. The twin may set it as well.
    #[schemars(range(max = 600_000))]
    pub(super) leave_grace_ms: u64,
    /// A step of the wall clock against the boot clock above this ends the lease: the machine was frozen or restored.
    #[schemars(range(min = 100, max = 3_600_000))]
    pub(super) clock_jump_ms: u64,
    /// The line to the hub.
    pub(super) hub: HubFile,
    /// How the workload learns that it is active.
    pub(super) gate: GateFile,
    /// Probes of the workload.
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

/// The line to the hub. Without a connection string the agent is an IoT Edge module and uses the `IOTEDGE_…` environment.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct HubFile {
    /// The environment variable that holds the module's connection string.
    pub(super) connection_string_env: Option<String>,
    /// The file that holds the module's connection string.
    pub(super) connection_string_file: Option<PathBuf>,
    /// Certificates (PEM) to trust instead of the system's or edgeHub's.
    pub(super) ca_file: Option<PathBuf>,
    /// How MQTT is carried: `tls`, or `websocket` for networks that let only HTTPS out.
    pub(super) carrier: Carrier,
    /// The port. By default the carrier's own: 8883 or 443.
    pub(super) mqtt_port: Option<u16>,
    /// A ping is sent after so much silence. The hub closes a connection that is silent for 1.5 times this.
    #[schemars(range(min = 1, max = 1_177))]
    pub(super) keep_alive_s: u16,
    /// A ping that is not answered within this ends the connection.
    #[schemars(range(min = 100, max = 600_000))]
    pub(super) ping_timeout_ms: u64,
    /// Making a connection takes at most this long.
    #[schemars(range(min = 100, max = 600_000))]
    pub(super) connect_timeout_ms: u64,
    /// The longest wait between two tries to connect.
    #[schemars(range(min = 250, max = 600_000))]
    pub(super) reconnect_max_ms: u64,
    /// How long a token is good for. It is replaced, on a new connection, when four fifths of this are over.
    #[schemars(range(min = 5, max = 31_536_000))]
    pub(super) token_ttl_s: u64,
    /// The whole twin is read this often, against notices that were missed.
    #[schemars(range(min = 5, max = 86_400))]
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

/// How the workload learns that it is active: `command` for exec, `http_listen`, `state_file`, or several of them.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct GateFile {
    /// How long the workload may take to stop: SIGTERM so long before the lease ends.
    #[schemars(range(min = 50, max = 600_000))]
    pub(super) stop_ms: u64,
    /// The longest that a reader of HTTP or file goes on believing its last answer; at most `stop_ms`.
    /// By default 2000, or `stop_ms` if that is less; 0 for exec alone.
    pub(super) settle_ms: Option<u64>,
    /// The last part of `stop_ms`, in which whatever is left is killed. By default 500, or a quarter of `stop_ms` if that is less.
    pub(super) kill_margin_ms: Option<u64>,
    /// Serve `GET /active` and others on this address, such as `127.0.0.1:8480`.
    pub(super) http_listen: Option<SocketAddr>,
    /// Take messages of the workload at `POST /v1/messages`, where `http_listen` serves, and send them to the hub, stamped with the term.
    pub(super) messages: bool,
    /// Keep a file that says whether the workload is to be active.
    pub(super) state_file: Option<PathBuf>,
    /// The workload: run while this member holds the lease, and at no other time.
    pub(super) command: Vec<String>,
    /// Which endings of the workload are followed by a new start: `always`, `on-failure` or `never`.
    pub(super) restart: RestartPolicy,
    /// The first pause before a new start.
    pub(super) restart_min_ms: u64,
    /// The longest pause before a new start.
    pub(super) restart_max_ms: u64,
}

impl Default for GateFile {
    fn default() -> Self {
        Self {
            stop_ms: 3_000,
            settle_ms: None,
            kill_margin_ms: None,
            http_listen: None,
            messages: false,
            state_file: None,
            command: Vec::new(),
            restart: RestartPolicy::Always,
            restart_min_ms: 500,
            restart_max_ms: 30_000,
        }
    }
}

/// A probe: whether the workload works or, on a standby, whether it could. That it runs at all is known without one.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ProbeFile {
    /// `http` expects a 2xx answer, `tcp` a connection, `file` a file written lately, `command` exit code 0.
    kind: Kind,
    /// What to call it in sentences. By default its kind.
    name: Option<String>,
    /// `active`: done while the workload runs. `standby`: done while it does not.
    #[serde(default)]
    when: When,
    /// For `http`: what to get.
    url: Option<String>,
    /// For `tcp`: host and port.
    address: Option<String>,
    /// For `file`: which.
    path: Option<PathBuf>,
    /// For `file`: written not longer ago than this.
    age_ms_max: Option<u64>,
    /// For `command`: the program and its arguments.
    command: Option<Vec<String>>,
    /// From the end of one probe to the start of the next. The twin may set it as well.
    #[serde(default = "interval_ms")]
    #[schemars(range(min = 1))]
    interval_ms: u64,
    /// One that takes longer has failed.
    #[serde(default = "timeout_ms")]
    #[schemars(range(min = 1))]
    timeout_ms: u64,
    /// So many failures in a row count.
    #[serde(default = "failures_max")]
    #[schemars(range(min = 1))]
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

#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
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

    /// Refuses what the schema does not allow.
    pub(super) fn check_ranges(&self) -> Result<(), Error> {
        let refused = |what| Error::Bad { what, hint: "docs/reference/agent.md says what each setting means" };
        let values = serde_json::to_value(self).map_err(|error| refused(format!("a setting has no text: {error}")))?;
        match super::range::outside(&values, &super::settings_schema()) {
            None => Ok(()),
            Some((place, range)) => Err(refused(format!("{place} is outside {range}"))),
        }
    }

    pub(super) fn parse(path: &Path, text: &str) -> Result<Self, Error> {
        toml::from_str(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start).min(text.len());
            let line = 1 + text.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count();
            Error::Parse { path: path.to_owned(), line, message: error.message().to_owned() }
        })
    }
}
