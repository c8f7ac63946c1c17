//! The emulator as the server under load.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use ha_wire::SharedAccessKey;
use ha_wire::sas::Unsigned;
use iotedge_ha_emulator::{Emulator, Options, Seed};
use serde::{Deserialize, Serialize};

use crate::client::{Broker, Login};
use crate::server::Server;

/// What the server says when it is open.
#[derive(Serialize, Deserialize)]
struct Open {
    https: SocketAddr,
    mqtt: SocketAddr,
    ca_pem: String,
    service: String,
    device: String,
}

/// The emulator and how to speak to it.
pub(crate) struct Hub {
    pub(crate) server: Server,
    pub(crate) rest: reqwest::Client,
    pub(crate) url: String,
    pub(crate) token: String,
    open: Open,
    device_key: SharedAccessKey,
}

pub(crate) fn device(number: usize) -> String {
    format!("device-{number}")
}

/// Serves until standard input ends.
pub(crate) async fn serve(devices: usize) {
    let seed = |number| Seed { device: device(number), edge: false, modules: Vec::new() };
    let seed = (0..devices).map(seed).collect();
    let running = Emulator::start(Options { seed, ..Options::default() }).await.expect("a hub");
    let open = Open {
        https: running.https_addr,
        mqtt: running.mqtt_addr,
        ca_pem: running.ca_pem.clone(),
        service: running.connection_string(),
        device: running.policy_connection_string("device").expect("a policy"),
    };
    println!("{}", serde_json::to_string(&open).expect("JSON"));
    let _ = std::io::stdout().flush();
    let ended = tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink()));
    let _ = ended.await;
}

pub(crate) async fn start(devices: usize) -> Hub {
    let program = std::env::current_exe().expect("a program");
    let mut command = Command::new(program);
    command.args(["--serve", "--devices", &devices.to_string()]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a server");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
    let open: Open = serde_json::from_str(&line).expect("an opening");
    let ca = reqwest::Certificate::from_pem(open.ca_pem.as_bytes()).expect("PEM");
    let rest = reqwest::Client::builder().tls_certs_only([ca]).build().expect("a client");
    let host = format!("localhost:{}", open.https.port());
    let token = Unsigned::service(&host, "iothubowner", in_an_hour()).sign(&key(&open.service));
    let device_key = key(&open.device);
    Hub { server: Server(child), rest, url: format!("https://{host}"), token, open, device_key }
}

impl Broker for Hub {
    fn address(&self) -> SocketAddr {
        self.open.mqtt
    }

    fn ca_pem(&self) -> &str {
        &self.open.ca_pem
    }

    fn login(&self, number: usize) -> Login {
        let device = device(number);
        let password =
            Unsigned::device("localhost", &device, in_an_hour()).with_policy("device").sign(&self.device_key);
        Login { user_name: format!("localhost/{device}/?api-version=2021-04-12"), client_id: device, password }
    }

    fn event_topic(&self, number: usize) -> String {
        format!("devices/{}/messages/events/", device(number))
    }
}

fn key(connection_string: &str) -> SharedAccessKey {
    let key = connection_string.split("SharedAccessKey=").nth(1).expect("a key");
    SharedAccessKey::from_base64(key).expect("base64")
}

fn in_an_hour() -> u64 {
    std::time::SystemTime::UNIX_EPOCH.elapsed().expect("after 1970").as_secs() + 3_600
}
