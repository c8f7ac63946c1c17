//! Follow a running emulator's messages and events.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use reqwest::{Certificate, Client, Response, StatusCode};
use serde_json::Value;

use super::state;
use crate::exit::Exit;
use crate::failure::{Failure, OrExit, Result};
use crate::interruption::Interruption;
use crate::printer::Printer;

const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// The longest line: a message of 256 KiB in base64, with room for its properties.
const LINE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Follow what a running emulator's devices send and what happens to them, one JSON object a line.
///
/// Shows messages, changes of connection state, identities that come and go, changes of twins, and what jobs do; each once for every
/// endpoint that its routes lead to, and once without an endpoint if they lead nowhere. With `--endpoint events` it shows what
/// `az iot hub monitor-events` would. A reader that is too slow gets a line of the kind `missed` with a count.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  iotedge-ha emulator --print-env > hub.env &
  until grep -q IOTHUB_RESOURCE_ID hub.env; do sleep 0.1; done; set -a; . ./hub.env; set +a
  iotedge-ha emulator tail
  iotedge-ha emulator tail --device edge-1 --kind connection,twin
  iotedge-ha emulator tail --endpoint events | jq .body")]
pub(super) struct Args {
    /// Only this device and its modules
    #[arg(long, value_name = "ID")]
    device: Option<String>,

    /// Only these kinds
    #[arg(long = "kind", value_enum, value_delimiter = ',')]
    kinds: Vec<Kind>,

    /// Only what is routed to this endpoint; `events` is the built-in one
    #[arg(long, value_name = "NAME")]
    endpoint: Option<String>,

    /// Leave after so many lines
    #[arg(long, value_name = "N")]
    count: Option<u64>,

    /// The emulator's control API
    #[arg(long, env = "EMULATOR_CONTROL_URL", default_value = "https://localhost:8443/_emulator/v1")]
    url: String,

    /// The authority to trust [default: ca.pem in the state folder]
    #[arg(long, env = "IOTHUB_CA_FILE", value_name = "FILE")]
    ca_file: Option<PathBuf>,

    /// The emulator's state folder, for what the environment does not say: EMULATOR_CONTROL_TOKEN and the authority
    /// [default: $XDG_STATE_HOME/iotedge-ha/emulator, or ~/.local/state/iotedge-ha/emulator]
    #[arg(long, value_name = "FOLDER")]
    state: Option<PathBuf>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Kind {
    /// Device-to-cloud messages
    Telemetry,
    /// Devices and modules that connect and disconnect
    Connection,
    /// Identities that are made and deleted
    Lifecycle,
    /// Tags, desired and reported properties that change
    Twin,
    /// What jobs do to devices
    Job,
}

pub(super) async fn run(args: Args, printer: &Printer) -> Result<Exit> {
    let mut interruption = Interruption::listen()?;
    tokio::select! {
        () = interruption.comes() => Ok(Exit::Ok),
        done = follow(&args, printer) => done,
    }
}

async fn follow(args: &Args, printer: &Printer) -> Result<Exit> {
    let mut response = open(args).await?;
    printer.detail("following; Ctrl-C ends it");
    let mut left = args.count;
    let mut buffer = Vec::new();
    loop {
        while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = buffer.drain(..=end).collect();
            warn_if_missed(&line, printer);
            // A reader that has gone away (`| head`) has seen enough.
            if std::io::stdout().lock().write_all(&line).is_err() {
                return Ok(Exit::Ok);
            }
            if let Some(left) = &mut left {
                *left = left.saturating_sub(1);
                if *left == 0 {
                    return Ok(Exit::Ok);
                }
            }
        }
        if buffer.len() > LINE_BYTES_MAX {
            return Err(Failure::says(Exit::Hub, "the emulator sent a line without an end"));
        }
        let chunk = response.chunk().await.context("the connection to the emulator broke, or the emulator ended");
        match chunk.or_exit(Exit::Hub)? {
            Some(chunk) => buffer.extend_from_slice(&chunk),
            None => return Err(Failure::says(Exit::Hub, "the emulator has ended")),
        }
    }
}

async fn open(args: &Args) -> Result<Response> {
    let folder = match &args.state {
        Some(folder) => Some(folder.clone()),
        None => state::default_folder(),
    };
    let folder = folder.as_deref();
    let client = client(args.ca_file.as_deref(), folder)?;
    let kinds: Vec<String> = args.kinds.iter().map(|kind| name(*kind)).collect();
    let mut query = Vec::new();
    query.extend(args.device.as_ref().map(|device| format!("device={}", ha_wire::percent_encode(device))));
    query.extend(args.endpoint.as_ref().map(|endpoint| format!("endpoint={}", ha_wire::percent_encode(endpoint))));
    query.extend((!kinds.is_empty()).then(|| format!("kind={}", kinds.join(","))));
    let url = format!("{}/tail?{}", args.url.trim_end_matches('/'), query.join("&"));
    let sent = client.get(url).bearer_auth(state::control_token(folder)?).send().await;
    let response = sent.with_context(|| format!("cannot reach the emulator at {}", args.url)).or_hint(
        Exit::Hub,
        "is it running? say where with --url, or with the variables that `iotedge-ha emulator --print-env` prints",
    )?;
    match response.status() {
        StatusCode::OK => Ok(response),
        StatusCode::UNAUTHORIZED => Err(Failure::says(Exit::Hub, "the emulator does not accept the control token")
            .hint("set EMULATOR_CONTROL_TOKEN, or name the emulator's folder with --state")),
        status => Err(Failure::says(Exit::Hub, format!("the emulator answered {status}"))),
    }
}

fn client(ca_file: Option<&Path>, folder: Option<&Path>) -> Result<Client> {
    let path = ca_file.map(Path::to_owned).or_else(|| folder.map(|folder| folder.join("ca.pem")));
    let path = path.ok_or_else(|| {
        Failure::says(Exit::Usage, "it is not known what authority to trust").hint("name a file with --ca-file")
    })?;
    let pem = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()));
    let pem = pem.or_hint(Exit::Usage, "name the emulator's authority with --ca-file, or its folder with --state")?;
    let authority = Certificate::from_pem(&pem).with_context(|| format!("{} is no certificate", path.display()));
    let authority = authority.or_exit(Exit::Usage)?;
    let client = Client::builder().tls_certs_only([authority]).connect_timeout(CONNECT_WITHIN);
    client.build().context("cannot set up TLS").or_exit(Exit::Failed)
}

fn name(kind: Kind) -> String {
    use clap::ValueEnum as _;
    kind.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

fn warn_if_missed(line: &[u8], printer: &Printer) {
    // Cheaper than reading every line as JSON.
    if !line.windows(8).any(|part| part == b"\"missed\"") {
        return;
    }
    if let Ok(value) = serde_json::from_slice::<Value>(line)
        && value["kind"] == "missed"
    {
        printer.warning(format_args!("too slow: {} happenings were missed", value["count"]));
    }
}
