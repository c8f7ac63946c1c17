use std::net::IpAddr;
use std::path::PathBuf;

use crate::exit::Exit;
use crate::failure::Result;
use crate::printer::Printer;

/// Run an IoT Hub on this machine: REST and MQTT over TLS, for trying things out and for tests.
///
/// Microsoft's SDKs and this project's programs use it unchanged. It keeps everything in memory, unless --snapshot says otherwise.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  iotedge-ha emulator --device edge-1:edge:ha-agent --device edge-2:edge:ha-agent
  eval \"$(iotedge-ha emulator --print-env --state /tmp/hub)\"")]
pub(crate) struct Args {
    /// The address to listen on
    #[arg(long, default_value = "127.0.0.1")]
    bind: IpAddr,

    /// The port of the REST API, and of MQTT over websockets; 0 takes a free one
    #[arg(long, value_name = "PORT", default_value_t = 8443)]
    https_port: u16,

    /// The port of MQTT; 0 takes a free one
    #[arg(long, value_name = "PORT", default_value_t = 8883)]
    mqtt_port: u16,

    /// Where the certificates and keys live
    #[arg(long, value_name = "FOLDER")]
    state: Option<PathBuf>,

    /// Load everything from this file at the start, and save it at the end
    #[arg(long, value_name = "FILE")]
    snapshot: Option<PathBuf>,

    /// Make a device at the start unless it exists: `edge-1`, `edge-1:edge` or `edge-1:edge:ha-agent,filter`
    #[arg(long = "device", value_name = "ID[:edge[:MODULE,…]]")]
    devices: Vec<String>,

    /// Another name to answer to; the first one stands in printed connection strings
    #[arg(long = "host-name", value_name = "NAME")]
    host_names: Vec<String>,

    /// Write the certificate of the hub's own authority here too, for clients
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,

    /// How far queries trail behind changes; the real hub takes seconds, sometimes minutes
    #[arg(long, value_name = "MS", default_value_t = 0)]
    index_lag_ms: u64,

    /// Print shell variables instead of sentences
    #[arg(long)]
    print_env: bool,
}

pub(crate) async fn run(args: Args, printer: &Printer) -> Result<Exit> {
    let _ = (
        args.bind,
        args.https_port,
        args.mqtt_port,
        args.state,
        args.snapshot,
        args.host_names,
        args.ca_file,
        args.index_lag_ms,
        args.devices,
        args.print_env,
        printer,
    );
    Ok(Exit::Failed)
}
