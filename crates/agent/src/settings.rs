//! What the agent is told once, from file, environment and command line.

mod file;
mod range;
mod twin;

use std::path::{Path, PathBuf};
use std::time::Duration;

use ha_core::ids::PoolName;
use ha_core::time::Millis;

use self::file::SettingsFile;
pub use self::twin::TwinSettings;
use crate::args::AgentArgs;
use crate::gate::{ExecSettings, GateSettings, HttpSettings};
use crate::keeper::{KeeperArgs, Restart};
use crate::link::{Carrier, LinkSettings};
use crate::probe::ProbeSettings;

/// The JSON Schema of the settings file.
pub fn settings_schema() -> serde_json::Value {
    schemars::schema_for!(SettingsFile).to_value()
}

/// Everything the agent needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The pool it serves.
    pub pool: PoolName,
    /// Where the module's identity comes from.
    pub credentials: Credentials,
    /// Certificates to trust.
    pub ca_file: Option<PathBuf>,
    /// The line to the hub.
    pub link: LinkSettings,
    /// The gate.
    pub gate: GateSettings,
    /// The probes.
    pub probes: Vec<ProbeSettings>,
    /// How long a stopping agent waits to be relieved.
    pub leave_grace: Millis,
    /// Steps of the wall clock against the boot clock above this end the lease.
    pub clock_jump: Millis,
}

/// Where the module's identity comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Credentials {
    /// An environment variable with a connection string.
    Variable(String),
    /// A file with a connection string.
    File(PathBuf),
    /// IoT Edge's environment and workload API.
    Workload,
}

/// Why settings are refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("cannot read the settings file {path}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file makes no sense.
    #[error("{path}:{line}: {message}")]
    Parse {
        /// Which.
        path: PathBuf,
        /// Where.
        line: usize,
        /// What is wrong, and what would be right.
        message: String,
    },
    /// A value is missing or cannot be.
    #[error("{what}; {hint}")]
    Bad {
        /// What is wrong.
        what: String,
        /// What to try.
        hint: &'static str,
    },
}

impl Settings {
    /// Reads the file, if there is one, and lets the command line win.
    pub fn load(args: &AgentArgs) -> Result<Self, Error> {
        let file = args.config.as_deref().map_or_else(|| Ok(SettingsFile::default()), SettingsFile::read)?;
        Self::merge(args, file)
    }

    fn merge(args: &AgentArgs, mut file: SettingsFile) -> Result<Self, Error> {
        file.leave_grace_ms = args.leave_grace_ms.unwrap_or(file.leave_grace_ms);
        file.gate.stop_ms = args.stop_ms.unwrap_or(file.gate.stop_ms);
        file.check_ranges()?;
        let pool = args.pool.clone().or(file.pool).ok_or_else(|| Error::Bad {
            what: "no pool is named".to_owned(),
            hint: "give --pool NAME, HA_AGENT_POOL, or `pool` in the settings file",
        })?;
        let pool: PoolName = pool.parse().map_err(|error| Error::Bad {
            what: format!("{error}"),
            hint: "use the name that the controller's configuration has for it",
        })?;
        let credentials = credentials(args, &file.hub)?;
        let gate = gate(args, file.gate, file.state_dir, &pool, &credentials)?;
        let probes = file.probes.into_iter().map(file::ProbeFile::into_settings).collect::<Result<_, _>>()?;
        Ok(Self {
            credentials,
            ca_file: args.ca_file.clone().or(file.hub.ca_file.clone()),
            link: link(args, &file.hub),
            gate,
            probes,
            leave_grace: Millis(file.leave_grace_ms),
            clock_jump: Millis(file.clock_jump_ms),
            pool,
        })
    }
}

fn credentials(args: &AgentArgs, file: &file::HubFile) -> Result<Credentials, Error> {
    let given = [
        args.connection_string_env.clone().map(Credentials::Variable),
        args.connection_string_file.clone().map(Credentials::File),
    ];
    if let Some(given) = given.into_iter().flatten().next() {
        return Ok(given);
    }
    match (&file.connection_string_env, &file.connection_string_file) {
        (Some(_), Some(_)) => Err(Error::Bad {
            what: "both hub.connection_string_env and hub.connection_string_file are set".to_owned(),
            hint: "keep one of them",
        }),
        (Some(name), None) => Ok(Credentials::Variable(name.clone())),
        (None, Some(path)) => Ok(Credentials::File(path.clone())),
        (None, None) => Ok(Credentials::Workload),
    }
}

fn link(args: &AgentArgs, file: &file::HubFile) -> LinkSettings {
    LinkSettings {
        carrier: if args.websocket { Carrier::Websocket } else { file.carrier },
        port: args.mqtt_port.or(file.mqtt_port),
        keep_alive_s: file.keep_alive_s,
        ping_timeout: Duration::from_millis(file.ping_timeout_ms),
        connect_timeout: Duration::from_millis(file.connect_timeout_ms),
        reconnect_max: Duration::from_millis(file.reconnect_max_ms),
        token_ttl: Duration::from_secs(file.token_ttl_s),
        twin_poll: Duration::from_secs(file.twin_poll_s),
    }
}

fn gate(
    args: &AgentArgs,
    file: file::GateFile,
    state_dir: Option<PathBuf>,
    pool: &PoolName,
    credentials: &Credentials,
) -> Result<GateSettings, Error> {
    let messages = args.messages || file.messages;
    let http = args.http_addr.or(file.http_listen).map(|listen| HttpSettings { listen, messages });
    if messages && http.is_none() {
        return Err(Error::Bad {
            what: "there is no place at which messages could be taken".to_owned(),
            hint: "give --http-addr ADDRESS:PORT, or set gate.http_listen",
        });
    }
    let notice_file = args.state_file.clone().or(file.state_file.clone());
    let workload =
        if args.workload.is_empty() { file.command.iter().map(Into::into).collect() } else { args.workload.clone() };
    if workload.is_empty() && http.is_none() && notice_file.is_none() {
        return Err(Error::Bad {
            what: "there is no gate to open".to_owned(),
            hint: "give the workload's command after `--`, or --http-addr, or --state-file",
        });
    }
    let stop_ms = file.stop_ms;
    let settle_default = if workload.is_empty() { stop_ms.min(SETTLE_MS) } else { 0 };
    let settle_ms = args.settle_ms.or(file.settle_ms).unwrap_or(settle_default);
    let kill_margin_ms = file.kill_margin_ms.unwrap_or((stop_ms / 4).min(KILL_MARGIN_MS));
    check_timings(stop_ms, settle_ms, kill_margin_ms)?;
    let exec = if workload.is_empty() {
        None
    } else {
        let folder = args.state_dir.clone().or(state_dir).ok_or_else(|| Error::Bad {
            what: "no state folder is named".to_owned(),
            hint: "give --state-dir FOLDER: its lock proves that an earlier workload is gone",
        })?;
        let lock = std::path::absolute(folder.join("keeper.lock")).unwrap_or_else(|_| folder.join("keeper.lock"));
        let restart = Restart {
            policy: file.restart,
            backoff_min: Millis(file.restart_min_ms),
            backoff_max: Millis(file.restart_max_ms),
        };
        Some(ExecSettings {
            keeper: KeeperArgs { lock, restart, workload },
            kill_margin: Millis(kill_margin_ms),
            env: workload_env(pool, notice_file.as_deref()),
            env_remove: match credentials {
                Credentials::Variable(name) => vec![name.clone()],
                Credentials::File(_) | Credentials::Workload => vec![],
            },
        })
    };
    Ok(GateSettings { exec, http, file: notice_file, stop: Millis(stop_ms), settle: Millis(settle_ms) })
}

const SETTLE_MS: u64 = 2_000;
const KILL_MARGIN_MS: u64 = 500;

fn check_timings(stop_ms: u64, settle_ms: u64, kill_margin_ms: u64) -> Result<(), Error> {
    if settle_ms > stop_ms {
        return Err(Error::Bad {
            what: format!("settle_ms = {settle_ms} is above stop_ms = {stop_ms}"),
            hint: "a reader would go on past the lease end: raise stop_ms, or let readers ask more often",
        });
    }
    if kill_margin_ms >= stop_ms {
        return Err(Error::Bad {
            what: format!("kill_margin_ms = {kill_margin_ms} is not below stop_ms = {stop_ms}"),
            hint: "it is the last part of the stop time, in which whatever is left is killed",
        });
    }
    Ok(())
}

fn workload_env(pool: &PoolName, file: Option<&Path>) -> Vec<(String, String)> {
    let mut env = vec![("HA_POOL".to_owned(), pool.to_string())];
    if let Some(path) = file {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        env.push(("HA_LEASE_FILE".to_owned(), path.display().to_string()));
    }
    env
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn args() -> AgentArgs {
        AgentArgs {
            pool: Some("press_1".to_owned()),
            state_dir: Some("/tmp/s".into()),
            workload: vec!["w".into()],
            ..AgentArgs::default()
        }
    }

    fn check(args: AgentArgs, file: &str, expected: Expect) {
        let loaded = SettingsFile::parse(Path::new("agent.toml"), file).and_then(|file| Settings::merge(&args, file));
        expected.assert_eq(&loaded.map_or_else(|error| error.to_string(), |_| "good".to_owned()));
    }

    #[test]
    fn what_cannot_be_is_refused_with_a_hint() {
        check(args(), "", expect!["good"]);
        check(
            AgentArgs { pool: None, ..args() },
            "",
            expect!["no pool is named; give --pool NAME, HA_AGENT_POOL, or `pool` in the settings file"],
        );
        check(
            AgentArgs { workload: vec![], ..args() },
            "",
            expect![
                "there is no gate to open; give the workload's command after `--`, or --http-addr, or --state-file"
            ],
        );
        check(
            AgentArgs { state_dir: None, ..args() },
            "",
            expect![
                "no state folder is named; give --state-dir FOLDER: its lock proves that an earlier workload is gone"
            ],
        );
        check(
            AgentArgs { settle_ms: Some(9_000), ..args() },
            "",
            expect![
                "settle_ms = 9000 is above stop_ms = 3000; a reader would go on past the lease end: raise stop_ms, or let readers ask more often"
            ],
        );
        check(
            AgentArgs { messages: true, ..args() },
            "",
            expect![
                "there is no place at which messages could be taken; give --http-addr ADDRESS:PORT, or set gate.http_listen"
            ],
        );
        check(
            AgentArgs { stop_ms: Some(1), ..args() },
            "",
            expect!["gate.stop_ms = 1 is outside 50..=600000; docs/reference/agent.md says what each setting means"],
        );
    }

    #[test]
    fn a_bad_file_is_refused_with_its_line() {
        check(
            args(),
            "pool = \"press_1\"\n[gate]\nstopMs = 5\n",
            expect![
                "agent.toml:3: unknown field `stopMs`, expected one of `stop_ms`, `settle_ms`, `kill_margin_ms`, `http_listen`, `messages`, `state_file`, `command`, `restart`, `restart_min_ms`, `restart_max_ms`"
            ],
        );
        check(
            args(),
            "[hub]\nmqtt_port = 99999\n",
            expect!["agent.toml:2: invalid value: integer `99999`, expected u16"],
        );
        check(
            args(),
            "[hub]\nconnection_string = \"HostName=h;SharedAccessKey=c2VjcmV0\"\n",
            expect![
                "agent.toml:2: unknown field `connection_string`, expected one of `connection_string_env`, `connection_string_file`, `ca_file`, `carrier`, `mqtt_port`, `keep_alive_s`, `ping_timeout_ms`, `connect_timeout_ms`, `reconnect_max_ms`, `token_ttl_s`, `twin_poll_s`"
            ],
        );
        check(
            args(),
            "[hub]\ntoken_ttl_s = 0\n",
            expect![
                "hub.token_ttl_s = 0 is outside 5..=31536000; docs/reference/agent.md says what each setting means"
            ],
        );
        check(
            args(),
            "[[probe]]\nkind = \"tcp\"\naddress = \"a:1\"\ninterval_ms = 0\n",
            expect!["probe.interval_ms = 0 is outside 1..; docs/reference/agent.md says what each setting means"],
        );
        check(
            args(),
            "[[probe]]\nkind = \"http\"\n",
            expect!["the probe of kind http has no url; add url = \"http://127.0.0.1:8080/health\""],
        );
    }
}
