//! How to run the emulator.

mod events;

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use rustls::pki_types::ServerName;

use crate::access::Entra;
use crate::management::ControlPlane;
use crate::throttle::Throttling;
use crate::tls::host_of;

pub use events::EventOptions;

/// What can be chosen before the start; the defaults suit a test: loopback, free ports, nothing kept.
#[derive(Debug, Clone)]
pub struct Options {
    /// Address to bind. Default 127.0.0.1: there is no good reason to show an emulator to a network.
    pub bind: IpAddr,
    /// HTTPS: REST, MQTT over WebSocket, control. 0 takes a free port.
    pub https_port: u16,
    /// MQTT over TLS. 0 takes a free port. Official device SDKs insist on 8883.
    pub mqtt_port: u16,
    /// Names the hub answers to beside `localhost` and the bind address; they also go into the certificate.
    /// The first one, if any, is the name in printed connection strings.
    pub host_names: Vec<String>,
    /// Folder for everything that is to outlive the process: the authority, its key and the access keys, made at the
    /// first start and reused, and (unless `snapshot` names another place) identities, twins and configurations. An
    /// acknowledged write survives however the process ends. Without a folder everything is in memory.
    pub state_dir: Option<PathBuf>,
    /// Folder for the authority, its key and the access keys alone, where `state_dir` names none.
    pub keys_dir: Option<PathBuf>,
    /// Where to write the authority's certificate for clients, beside or instead of the state folder.
    pub ca_file: Option<PathBuf>,
    /// File for identities, twins and configurations instead of the state folder: loaded at the start, written whole
    /// a moment after changes and at the end.
    pub snapshot: Option<PathBuf>,
    /// PEM files with authorities that sign certificates of devices (`certificateAuthority` log-in).
    pub device_authorities: Vec<PathBuf>,
    /// A port that tells AMQP clients, in the log, what to use instead; none by default. 0 takes a free one, and one
    /// that is taken is done without.
    pub amqp_port: Option<u16>,
    /// How long a client may take for the TLS handshake, and again for its CONNECT.
    pub login_within: Duration,
    /// Connections that may stand at the doors without having logged in.
    pub strangers: Strangers,
    /// How often one identity may connect; `None` sets no bound.
    pub connect_rate: Option<ConnectRate>,
    /// How long queries trail behind changes. The real hub: seconds, sometimes minutes.
    pub index_lag: Duration,
    /// Throttle and count messages as a hub of this size does. Without one nothing is throttled.
    pub throttling: Option<Throttling>,
    /// How often configurations and deployments are evaluated, besides shortly after one was written. Zero: only when
    /// told to ([`Running::evaluate`](crate::Running::evaluate)).
    pub evaluation_interval: Duration,
    /// A fleet in TOML or YAML, made at the start; what exists is left alone.
    pub seed_file: Option<PathBuf>,
    /// Lines in the service's import format, carried out at the start.
    pub import: Option<PathBuf>,
    /// Folder whose folders are blob containers, of import and export jobs and of files that devices upload; without one
    /// these are refused.
    pub blob_dir: Option<PathBuf>,
    /// The container that devices upload files to, made with the first one; default as the hub's resource says.
    pub upload_container: Option<String>,
    /// Faults by the clock: a file of steps that plays from the start.
    pub faults_script: Option<PathBuf>,
    /// File to which every request of back ends and devices over HTTP is added with its answer, as a line of JSON.
    pub record: Option<PathBuf>,
    /// Devices to make at the start unless they exist already.
    pub seed: Vec<Seed>,
    /// Token of the control API; made up when absent.
    pub control_token: Option<String>,
    /// Which bearer tokens are taken, and what their bearers may do.
    pub entra: Entra,
    /// Whether back ends must come with bearer tokens: no shared access signatures for them. Devices keep theirs.
    pub disable_local_auth: bool,
    /// Who hears of events.
    pub events: EventOptions,
    /// How Azure Resource Manager shows the hub.
    pub control_plane: ControlPlane,
    /// Seed of keys and etags, for runs that must repeat.
    pub random_seed: Option<[u8; 32]>,
}

impl Options {
    /// Takes a name that the hub may answer to, with or without a port.
    ///
    /// # Errors
    /// When no certificate can have it.
    pub fn host_name(text: &str) -> Result<String, String> {
        match ServerName::try_from(host_of(text)) {
            Ok(_) => Ok(text.to_owned()),
            Err(_) => Err(format!("'{}' is neither a host name nor an address", text.escape_debug())),
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            bind: IpAddr::V4(Ipv4Addr::LOCALHOST),
            https_port: 0,
            mqtt_port: 0,
            host_names: Vec::new(),
            state_dir: None,
            keys_dir: None,
            ca_file: None,
            snapshot: None,
            device_authorities: Vec::new(),
            amqp_port: None,
            login_within: Duration::from_secs(10),
            strangers: Strangers::default(),
            connect_rate: Some(ConnectRate::default()),
            index_lag: Duration::ZERO,
            throttling: None,
            evaluation_interval: Duration::from_secs(5 * 60),
            seed_file: None,
            import: None,
            blob_dir: None,
            upload_container: None,
            faults_script: None,
            record: None,
            seed: Vec::new(),
            control_token: None,
            entra: Entra::default(),
            disable_local_auth: false,
            events: EventOptions::default(),
            control_plane: ControlPlane::default(),
            random_seed: None,
        }
    }
}

/// How many connections may be open without having logged in; more are turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Strangers {
    /// From one address.
    pub per_source: usize,
    /// From all addresses together.
    pub in_all: usize,
}

impl Default for Strangers {
    fn default() -> Self {
        // Everything on one machine comes from one address: a thousand devices may start there at once.
        Self { per_source: 2_000, in_all: 4_000 }
    }
}

/// How often one identity may connect over MQTT, so that two clients with one name cannot starve the others.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ConnectRate {
    /// At once, after a rest.
    pub burst: u32,
    /// In the long run.
    pub per_s: f64,
}

impl ConnectRate {
    /// So many in the long run, and five seconds' worth at once.
    pub fn per_second(rate: u16) -> Self {
        Self { burst: u32::from(rate) * 5, per_s: f64::from(rate) }
    }
}

impl Default for ConnectRate {
    fn default() -> Self {
        // Two SDK clients that take over from each other connect 64 to 150 times a second on one machine.
        Self::per_second(20)
    }
}

/// A device to make at the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seed {
    /// Device id.
    pub device: String,
    /// Whether it is an IoT Edge device.
    pub edge: bool,
    /// Modules to give it.
    pub modules: Vec<String>,
}

impl Seed {
    /// Reads `name`, `name:edge`, `name:edge:module,module` or `name::module`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parts = text.split(':');
        let device = parts.next().unwrap_or_default().to_owned();
        let edge = match parts.next() {
            None | Some("") => false,
            Some("edge") => true,
            Some(other) => return Err(format!("'{other}' is not a kind of device; say 'edge'")),
        };
        let names = parts.next().unwrap_or_default().split(',');
        let modules = names.filter(|m| !m.is_empty()).map(str::to_owned).collect();
        if device.is_empty() || parts.next().is_some() {
            return Err(format!("'{text}' is not name[:edge[:module,…]]"));
        }
        Ok(Self { device, edge, modules })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names_by_example() {
        for good in ["hub", "my-hub.example:8443", "10.0.0.1", "::1", "hub_1"] {
            assert_eq!(Options::host_name(good), Ok(good.to_owned()));
        }
        for bad in ["", "x y", "-x", "a..b", "hub/", "*.hub", "ä"] {
            assert!(Options::host_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn seeds_by_example() {
        let seed = |device: &str, edge, modules: &[&str]| Seed {
            device: device.into(),
            edge,
            modules: modules.iter().map(|m| (*m).to_owned()).collect(),
        };
        assert_eq!(Seed::parse("a"), Ok(seed("a", false, &[])));
        assert_eq!(Seed::parse("a:edge"), Ok(seed("a", true, &[])));
        assert_eq!(Seed::parse("a:edge:ha-agent,work"), Ok(seed("a", true, &["ha-agent", "work"])));
        assert_eq!(Seed::parse("a::m"), Ok(seed("a", false, &["m"])));
        assert!(Seed::parse("a:leaf").is_err());
        assert!(Seed::parse("").is_err());
    }
}
