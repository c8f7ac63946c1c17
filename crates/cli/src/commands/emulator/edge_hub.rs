use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use ha_edge::{Cut, Images, Options, Running, Timings};
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit::Exit;
use crate::failure::{Failure, OrExit, Result};
use crate::interruption::Interruption;
use crate::printer::Printer;

/// Run an IoT Edge device on this machine, in front of any IoT Hub: edgeHub, edgeAgent and the workload API.
///
/// Modules connect to it as they would on a device: their SDKs read the printed environment. edgeAgent starts a process
/// for each module of the deployment whose image has a command (--image); others you start yourself. SIGUSR1 cuts the
/// line to the cloud, SIGUSR2 heals it.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  iotedge-ha emulator --device edge-1:edge:ha-agent --print-env > hub.env &
  set -a; . ./hub.env; set +a
  iotedge-ha emulator edge-hub --device edge-1 --hub-mqtt-port 8883 --mqtt-port 8884 --module ha-agent --print-env > edge.env
  curl --cacert \"$EDGE_CA_FILE\" -H \"Authorization: Bearer $EDGE_CONTROL_TOKEN\" \\
       -X PUT -d '{\"cut\":\"silent\"}' \"$EDGE_CONTROL_URL/upstream\"")]
pub(super) struct Args {
    /// The Edge device, which must exist in the hub
    #[arg(long, value_name = "ID")]
    device: String,

    /// The environment variable that holds a service's connection string of the hub, to read the modules' keys with
    #[arg(long, value_name = "NAME", default_value = "IOTHUB_CONNECTION_STRING")]
    connection_string_env: String,

    /// Certificates (PEM) to trust for the hub instead of the system's
    #[arg(long, value_name = "FILE", env = "IOTHUB_CA_FILE")]
    hub_ca_file: Option<PathBuf>,

    /// The hub's MQTT port
    #[arg(long, value_name = "PORT", default_value_t = 8883)]
    hub_mqtt_port: u16,

    /// The line to the cloud at the start: as on a device that boots without network
    #[arg(long, value_name = "CUT", default_value = "none", value_parser = cut)]
    cut: Cut,

    /// The address to listen on
    #[arg(long, default_value = "127.0.0.1")]
    bind: IpAddr,

    /// The device's name, to which modules connect
    #[arg(long, value_name = "NAME", default_value = "localhost")]
    host_name: String,

    /// The port of MQTT; 0 takes a free one, but Microsoft's SDKs insist on 8883
    #[arg(long, value_name = "PORT", default_value_t = 8883)]
    mqtt_port: u16,

    /// The port of HTTPS and of MQTT over websockets; 0 takes a free one, but Microsoft's SDKs insist on 443
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    https_port: u16,

    /// Where certificates, sockets, logs and what the device remembers over a restart live; the path must be short enough
    /// for sockets
    #[arg(long, value_name = "FOLDER")]
    state: PathBuf,

    /// Open the workload socket of this module at the start; make the module if the hub does not know it
    #[arg(long = "module", value_name = "NAME")]
    modules: Vec<String>,

    /// Run this command for modules of this image; the image's tag may be left out
    #[arg(long = "image", value_name = "IMAGE=COMMAND")]
    images: Vec<String>,

    /// The same from a file: a JSON object of lists, {"image": ["program", "argument"]}
    #[arg(long, value_name = "FILE")]
    images_file: Option<PathBuf>,

    /// How long a twin request waits for the cloud before the copy answers
    #[arg(long, value_name = "MS", default_value_t = 20_000)]
    cloud_operation_ms: u64,

    /// Reported properties go to the cloud at most this often
    #[arg(long, value_name = "MS", default_value_t = 5_000)]
    reported_sync_ms: u64,

    /// After a reconnect twins are read anew only if their last reading is older
    #[arg(long, value_name = "MS", default_value_t = 120_000)]
    min_twin_sync_ms: u64,

    /// Print shell variables instead of sentences, and with --module those of the first module
    #[arg(long)]
    print_env: bool,
}

pub(super) async fn run(args: Args, printer: &Printer) -> Result<Exit> {
    let mut interruption = Interruption::listen()?;
    let (print_env, modules) = (args.print_env, args.modules.clone());
    let edge = ha_edge::start(options(args)?).await.or_exit(Exit::Failed)?;
    let mut environments = Vec::new();
    for module in modules {
        let environment = edge.module_environment(&module).await.or_exit(Exit::Failed)?;
        environments.push((module, environment));
    }
    if print_env {
        let module = environments.iter().take(1).flat_map(|(_, environment)| environment.clone());
        let lines = variables(&edge).into_iter().chain(module);
        let text: String = lines.map(|(name, value)| format!("{name}='{value}'\n")).collect();
        printer.line(text.trim_end());
    } else if printer.wants_json() {
        let shown = |pairs: Vec<(String, String)>| pairs.into_iter().collect::<std::collections::BTreeMap<_, _>>();
        let modules: std::collections::BTreeMap<_, _> =
            environments.into_iter().map(|(module, environment)| (module, shown(environment))).collect();
        printer.json(&json!({"device": shown(variables(&edge)), "modules": modules}));
    } else {
        printer.line(sentences(&edge, &environments).trim_end());
        printer.note("Ctrl-C ends it.");
    }
    let mut switches = Switches::listen()?;
    loop {
        tokio::select! {
            () = interruption.comes() => break,
            cut = switches.next() => edge.cut(cut),
        }
    }
    edge.shutdown().await;
    Ok(Exit::Ok)
}

/// What a script without an HTTP client can do to the line.
struct Switches {
    cut: Signal,
    heal: Signal,
}

impl Switches {
    fn listen() -> Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self { cut: listen(SignalKind::user_defined1())?, heal: listen(SignalKind::user_defined2())? })
    }

    async fn next(&mut self) -> Cut {
        tokio::select! {
            _ = self.cut.recv() => Cut::Silent,
            _ = self.heal.recv() => Cut::None,
        }
    }
}

fn options(args: Args) -> Result<Options> {
    let name = &args.connection_string_env;
    let connection_string = std::env::var(name).ok().filter(|text| !text.is_empty()).ok_or_else(|| {
        Failure::says(Exit::Usage, format!("the environment variable {name} is not set"))
            .hint("it must hold a connection string of the hub; the emulator prints one with --print-env")
    })?;
    let hub_ca_pem = args.hub_ca_file.map(|path| {
        std::fs::read(&path).with_context(|| format!("cannot read {}", path.display())).or_exit(Exit::Usage)
    });
    let ms = Duration::from_millis;
    let timings = Timings {
        cloud_operation: ms(args.cloud_operation_ms),
        reported_sync: ms(args.reported_sync_ms),
        min_twin_sync: ms(args.min_twin_sync_ms),
        ..Timings::default()
    };
    Ok(Options {
        hub_ca_pem: hub_ca_pem.transpose()?,
        hub_mqtt_port: args.hub_mqtt_port,
        cut: args.cut,
        bind: args.bind,
        mqtt_port: args.mqtt_port,
        https_port: args.https_port,
        host_name: args.host_name,
        images: images(&args.images, args.images_file)?,
        timings,
        ..Options::new(args.device, connection_string, args.state)
    })
}

fn cut(text: &str) -> Result<Cut, String> {
    serde_json::from_value(json!(text)).map_err(|_| "write none, silent or refused".to_owned())
}

fn images(given: &[String], file: Option<PathBuf>) -> Result<Images> {
    let mut images = Images::new();
    if let Some(path) = file {
        let text = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()));
        let read = text.and_then(|text| {
            serde_json::from_slice::<Images>(&text).with_context(|| format!("{} is no such list", path.display()))
        });
        images = read.or_hint(Exit::Usage, "write {\"image\": [\"program\", \"argument\"]}")?;
    }
    for pair in given {
        let (image, command) = pair.split_once('=').filter(|(image, _)| !image.is_empty()).ok_or_else(|| {
            Failure::says(Exit::Usage, format!("{pair:?} is no image with a command"))
                .hint("write --image 'registry.example/press:1=/usr/bin/press --fast'")
        })?;
        images.insert(image.to_owned(), command.split_whitespace().map(str::to_owned).collect());
    }
    Ok(images)
}

fn variables(edge: &Running) -> Vec<(String, String)> {
    let variables = [
        ("EDGE_MQTT", edge.mqtt_addr.to_string()),
        ("EDGE_HTTPS", edge.https_addr.to_string()),
        ("EDGE_CA_FILE", edge.ca_file().display().to_string()),
        ("EDGE_CONTROL_URL", edge.control_url()),
        ("EDGE_CONTROL_TOKEN", edge.control_token().to_owned()),
    ];
    variables.map(|(name, value)| (name.to_owned(), value)).into()
}

fn sentences(edge: &Running, environments: &[(String, Vec<(String, String)>)]) -> String {
    let mut text = format!(
        "An IoT Edge device is open.\n\
         \x20 MQTT over TLS      {}\n\
         \x20 HTTPS, WebSocket   {}\n\
         \x20 trust              {}\n\
         \x20 line to the cloud  {}/upstream\n\
         \x20 token for it       {}\n",
        edge.mqtt_addr,
        edge.https_addr,
        edge.ca_file().display(),
        edge.control_url(),
        edge.control_token(),
    );
    for (module, environment) in environments {
        text += &format!("  {module}\n");
        for (name, value) in environment {
            text += &format!("    {name}={value}\n");
        }
    }
    text
}
