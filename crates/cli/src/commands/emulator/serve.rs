use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use ha_emulator::throttle::{Sku, Throttling};
use ha_emulator::{Authority, ConnectRate, Emulator, Entra, Options, Principal, Running, Seed};
use serde_json::{Value, json};

use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::interruption::Interruption;
use crate::printer::Printer;

/// The last part of `iotedge-ha emulator --help`.
pub(super) const EXAMPLES: &str = "Examples:
  iotedge-ha emulator --device edge-1:edge:ha-agent --device edge-2:edge:ha-agent
  iotedge-ha emulator --https-port 0 --mqtt-port 0 --print-env > hub.env
  curl --cacert ca.pem -H \"Authorization: Bearer $EMULATOR_CONTROL_TOKEN\" \\
       -X PUT -d '{\"cut\":\"both\"}' \"$EMULATOR_CONTROL_URL/faults/devices/edge-1\"";

/// What `iotedge-ha emulator` takes when it serves.
#[derive(clap::Args)]
#[group(skip)]
pub(super) struct Args {
    /// The address to listen on
    #[arg(long, default_value = "127.0.0.1")]
    bind: IpAddr,

    /// The port of the REST API, and of MQTT over websockets; 0 takes a free one
    #[arg(long, value_name = "PORT", default_value_t = 8443)]
    https_port: u16,

    /// The port of MQTT; 0 takes a free one
    #[arg(long, value_name = "PORT", default_value_t = 8883)]
    mqtt_port: u16,

    /// Keep everything here: certificates, keys, identities, twins, configurations, what Resource Manager wrote
    /// [default: only certificates and keys, in $XDG_STATE_HOME/iotedge-ha/emulator or ~/.local/state/iotedge-ha/emulator]
    #[arg(long, value_name = "FOLDER")]
    state: Option<PathBuf>,

    /// Load identities, twins, configurations and what Resource Manager wrote from this file instead, and keep it up to date
    #[arg(long, value_name = "FILE")]
    snapshot: Option<PathBuf>,

    /// Make a device at the start unless it exists: `edge-1`, `edge-1:edge` or `edge-1:edge:ha-agent,filter`
    #[arg(long = "device", value_name = "ID[:edge[:MODULE,…]]", value_parser = Seed::parse)]
    devices: Vec<Seed>,

    /// Another name to answer to; the first one stands in printed connection strings
    #[arg(long = "host-name", value_name = "NAME", value_parser = Options::host_name)]
    host_names: Vec<String>,

    /// Write the certificate of the hub's own authority here too, for clients
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,

    /// Certificates of authorities that sign for devices (X.509 log-in), as PEM
    #[arg(long = "device-ca", value_name = "FILE")]
    device_authorities: Vec<PathBuf>,

    /// Tell AMQP clients at this port, in the log, what to use instead; left out if it is taken, 0 for nowhere
    #[arg(long, value_name = "PORT", default_value_t = 5671)]
    amqp_port: u16,

    /// How often a second one identity may log in over MQTT, after five times as many at once; 0 for no bound
    #[arg(long, value_name = "COUNT", default_value_t = 20)]
    connect_rate: u16,

    /// How far queries trail behind changes; the real hub takes seconds, sometimes minutes
    #[arg(long, value_name = "MS", default_value_t = 0)]
    index_lag_ms: u64,

    /// Throttle, count messages and bound configurations and jobs as a hub of this size: F1, B1 to B3, S1 to S3
    /// [default: S1, which then does not throttle]
    #[arg(long, value_parser = Sku::parse)]
    sku: Option<Sku>,

    /// How many units of that size
    #[arg(long, value_name = "COUNT", default_value_t = 1, requires = "sku")]
    units: u64,

    /// How often deployments and configurations are evaluated, besides shortly after each write; 0: only when told to
    #[arg(long, value_name = "MS", default_value_t = 300_000)]
    evaluation_interval_ms: u64,

    /// Take bearer tokens of this authority: the `iss` of its tokens, and a file with its JSON Web Key Set
    #[arg(long = "entra-authority", value_name = "ISSUER=FILE", value_parser = authority)]
    authorities: Vec<Authority>,

    /// Give a principal (object id or client id) roles, and nobody else any:
    /// `IoT Hub Data Contributor`, `… Data Reader`, `… Registry Contributor`, `… Twin Contributor`, `Owner`, `Contributor`, `Reader`
    #[arg(long = "entra-principal", value_name = "ID=ROLE[,ROLE…]", value_parser = Principal::parse)]
    principals: Vec<Principal>,

    /// Give tokens to whoever asks at `/metadata/identity/oauth2/token`, as a virtual machine's metadata service does
    #[arg(long)]
    instance_metadata: bool,

    /// Take no shared access signatures from back ends, only bearer tokens
    #[arg(long)]
    disable_local_auth: bool,

    /// Print shell variables instead of sentences
    #[arg(long)]
    print_env: bool,

    #[command(flatten)]
    fleet: super::fleet::Args,

    #[command(flatten)]
    events: super::events::Args,
}

pub(super) async fn run(args: Args, printer: &Printer) -> Result<Exit> {
    let mut interruption = Interruption::listen()?;
    let (print_env, seeds, export) = (args.print_env, args.devices.clone(), args.fleet.export.clone());
    if let Some(path) = &export {
        // A place that cannot be written is better known at the start than at the end.
        super::fleet::open(path)?;
    }
    let hub = Emulator::start(options(args)?).await.map_err(explained)?;
    if print_env {
        printer.line(env(&hub, &seeds).trim_end());
    } else if printer.wants_json() {
        printer.json(&described(&hub, &seeds));
    } else {
        printer.line(sentences(&hub, &seeds).trim_end());
        printer.note("Ctrl-C ends it.");
    }
    interruption.comes().await;
    if let Some(path) = export {
        super::fleet::export(&hub, &path)?;
    }
    hub.shutdown().await;
    Ok(Exit::Ok)
}

fn options(args: Args) -> Result<Options> {
    let keys_dir = match &args.state {
        Some(_) => None,
        None => Some(default_keys()?),
    };
    let mut options = Options {
        bind: args.bind,
        https_port: args.https_port,
        mqtt_port: args.mqtt_port,
        host_names: args.host_names,
        state_dir: args.state,
        keys_dir,
        ca_file: args.ca_file,
        snapshot: args.snapshot,
        device_authorities: args.device_authorities,
        amqp_port: Some(args.amqp_port).filter(|port| *port != 0),
        connect_rate: Some(args.connect_rate).filter(|rate| *rate != 0).map(ConnectRate::per_second),
        index_lag: Duration::from_millis(args.index_lag_ms),
        throttling: args.sku.map(|sku| Throttling::new(sku, args.units)),
        evaluation_interval: Duration::from_millis(args.evaluation_interval_ms),
        entra: Entra {
            authorities: args.authorities,
            principals: args.principals,
            instance_metadata: args.instance_metadata,
        },
        disable_local_auth: args.disable_local_auth,
        seed: args.devices,
        ..Options::default()
    };
    args.fleet.apply(&mut options);
    args.events.apply(&mut options)?;
    Ok(options)
}

fn authority(text: &str) -> std::result::Result<Authority, String> {
    // Issuers are addresses and may hold `=`; file names seldom do.
    let (issuer, file) = text.rsplit_once('=').ok_or_else(|| format!("'{text}' is not ISSUER=FILE"))?;
    let keys = std::fs::read_to_string(file).map_err(|e| format!("cannot read {file}: {e}"))?;
    Authority::new(issuer, &keys).map_err(|e| format!("{file}: {e}"))
}

fn default_keys() -> Result<PathBuf> {
    super::state::default_folder().ok_or_else(|| {
        Failure::says(Exit::Usage, "there is no place for the emulator's keys").hint("name a folder with --state")
    })
}

fn explained(error: ha_emulator::Error) -> Failure {
    use ha_emulator::Error::{InUse, Listen, Option};
    let (exit, hint) = match &error {
        Listen { source, .. } if source.kind() == std::io::ErrorKind::AddrInUse => (
            Exit::Failed,
            Some("another program has the port; choose others with --https-port and --mqtt-port, 0 for free ones"),
        ),
        InUse { .. } => (Exit::Failed, Some("end it, or name another folder with --state")),
        Option(_) => (Exit::Usage, None),
        _ => (Exit::Failed, None),
    };
    let failure = Failure::new(exit, error);
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// The identities that were asked for: whose, and the connection string.
fn identities(hub: &Running, seeds: &[Seed]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for seed in seeds {
        found.extend(hub.device_connection_string(&seed.device).map(|text| (seed.device.clone(), text)));
        for module in &seed.modules {
            let name = format!("{}/{module}", seed.device);
            found.extend(hub.module_connection_string(&seed.device, module).map(|text| (name, text)));
        }
    }
    found
}

fn env(hub: &Running, seeds: &[Seed]) -> String {
    let mut text = hub.print_env();
    for (name, value) in identities(hub, seeds) {
        let name = name.replace(|c: char| !c.is_ascii_alphanumeric(), "_").to_ascii_uppercase();
        text += &format!("{name}_CONNECTION_STRING='{value}'\n");
    }
    text
}

fn described(hub: &Running, seeds: &[Seed]) -> Value {
    json!({
        "https": hub.https_addr.to_string(),
        "mqtt": hub.mqtt_addr.to_string(),
        "ca_file": hub.ca_file().map(|path| path.display().to_string()),
        "connection_string": hub.connection_string(),
        "control_url": hub.control_url(),
        "control_token": hub.control_token(),
        "resource_id": hub.resource_id(),
        "identities": identities(hub, seeds).into_iter().collect::<std::collections::BTreeMap<_, _>>(),
    })
}

fn sentences(hub: &Running, seeds: &[Seed]) -> String {
    let ca_file = hub.ca_file().map(|path| path.display().to_string()).unwrap_or_default();
    let mut text = format!(
        "An IoT Hub emulator is open.\n\
         \x20 REST, WebSocket    {}\n\
         \x20 MQTT over TLS      {}\n\
         \x20 trust              {ca_file}\n\
         \x20 connection string  {}\n\
         \x20 faults             {}\n\
         \x20 token for faults   {}\n",
        hub.https_url(),
        hub.mqtt_addr,
        hub.connection_string(),
        hub.control_url(),
        hub.control_token(),
    );
    for (name, value) in identities(hub, seeds) {
        text += &format!("  {name:<17}  {value}\n");
    }
    text
}
