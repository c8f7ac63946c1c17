//! A hub, agents and a controller in one process.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ha_agent::AgentArgs;
use ha_core::anchor::Anchor;
use ha_core::ids::MemberId;
use ha_emulator::{Emulator, Options, Running, Seed};
use ha_iothub::{Call, Client, Limits};
use ha_wire::Twin;
use iotedge_ha_controller::clock::Clock;
use iotedge_ha_controller::config::{self, Config};
use iotedge_ha_controller::hub::iot::IotHub;
use iotedge_ha_controller::hub::{Hub as _, Seat};
use iotedge_ha_controller::run::{Hints, Setup, Summary, run};
use iotedge_ha_controller::store::Recorder;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) const POOL: &str = "press_1";
pub(crate) const MEMBERS: [&str; 3] = ["edge-a", "edge-b", "edge-c"];

pub(crate) struct Bench {
    pub(crate) emulator: Arc<Running>,
    pub(crate) folder: tempfile::TempDir,
}

pub(crate) struct Controller {
    stop: CancellationToken,
    task: JoinHandle<Summary>,
}

impl Bench {
    pub(crate) async fn open() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let device = |name: &&str| Seed {
            device: (*name).to_owned(),
            edge: true,
            modules: vec!["ha-agent".to_owned(), "press".to_owned()],
        };
        let seed = MEMBERS.iter().map(device).collect();
        let ca_file = Some(folder.path().join("ca.pem"));
        let emulator = Emulator::start(Options { seed, ca_file, ..Options::default() }).await.expect("it starts");
        let place = folder.path().join("hub.txt");
        std::fs::write(place, emulator.connection_string()).expect("it can be written");
        Self { emulator: Arc::new(emulator), folder }
    }

    pub(crate) fn config(&self) -> Config {
        self.config_with("members = [\"edge-a\", \"edge-b\", \"edge-c\"]")
    }

    /// Timings at which nobody loses a lease because this machine is busy.
    pub(crate) fn config_with(&self, members: &str) -> Config {
        let timings = "ttl_ms = 30000\nrenew_ms = 1000\ncall_timeout_ms = 8000\nretry_ms = 200\nstop_ms = 400\n\
             anchor_read_ms = 400\n";
        self.config_of(members, timings)
    }

    pub(crate) fn config_of(&self, members: &str, timings: &str) -> Config {
        let text = format!(
            "[hub]\nconnection_string_file = \"hub.txt\"\nca_file = \"ca.pem\"\nsku = \"S3\"\n\
             [controller]\nname = \"bench\"\nstate_dir = \"state\"\ncontrol_ttl_ms = 10000\ncontrol_renew_ms = 700\n\
             [[pool]]\nname = \"{POOL}\"\n{members}\nworkload_module = \"press\"\n\
             [pool.timings]\n{timings}"
        );
        config::parse(&self.folder.path().join("pool.toml"), &text, &[]).unwrap_or_else(|refused| panic!("{refused}"))
    }

    /// A pool with routes of the hub's resource.
    pub(crate) fn routed_config(&self, routing: &str) -> Config {
        let (url, id) = (self.emulator.https_url(), self.emulator.resource_id());
        let [_, _, subscription, _, group, _, _, _, name] = id.split('/').collect::<Vec<_>>()[..] else {
            panic!("{id} is no resource's id");
        };
        std::fs::write(self.folder.path().join("secret.txt"), self.emulator.control_token())
            .expect("it can be written");
        let text = format!(
            "[hub]\nconnection_string_file = \"hub.txt\"\nca_file = \"ca.pem\"\nsku = \"S3\"\n\
             [hub.identity]\nsource = \"client_secret\"\ntenant = \"t\"\nclient_id = \"c\"\n\
             client_secret_file = \"secret.txt\"\nauthority = \"{url}/_emulator/entra\"\n\
             [hub.resource]\nsubscription = \"{subscription}\"\ngroup = \"{group}\"\nname = \"{name}\"\nendpoint = \"{url}\"\n\
             [[pool]]\nname = \"{POOL}\"\nmembers = [\"edge-a\", \"edge-b\"]\nworkload_module = \"press\"\n\
             [pool.routing]\n{routing}\n"
        );
        config::parse(&self.folder.path().join("pool.toml"), &text, &[]).unwrap_or_else(|refused| panic!("{refused}"))
    }

    pub(crate) fn hub(&self) -> IotHub {
        self.hub_with_key(&self.emulator.connection_string())
    }

    pub(crate) fn hub_with_key(&self, connection_string: &str) -> IotHub {
        let connection = connection_string.parse().expect("a connection string");
        let ca_pem = Some(self.emulator.ca_pem.clone().into_bytes());
        let options = ha_iothub::Options { ca_pem, limits: Limits::unlimited(), ..ha_iothub::Options::default() };
        IotHub::with_client(Client::new(&connection, &options).expect("a client"))
    }

    /// An agent whose workload asks by HTTP.
    pub(crate) fn start_agent(&self, member: &str) -> JoinHandle<()> {
        let text = self.emulator.module_connection_string(member, "ha-agent").expect("it is registered");
        let place = self.folder.path().join(format!("{member}.txt"));
        std::fs::write(&place, text).expect("it can be written");
        let args = AgentArgs {
            pool: Some(POOL.to_owned()),
            state_dir: Some(self.folder.path().join(member)),
            connection_string_file: Some(place),
            ca_file: Some(self.folder.path().join("ca.pem")),
            mqtt_port: Some(self.emulator.mqtt_addr.port()),
            stop_ms: Some(400),
            settle_ms: Some(200),
            http_addr: Some("127.0.0.1:0".parse().expect("an address")),
            ..AgentArgs::default()
        };
        tokio::spawn(async move {
            if let Err(error) = ha_agent::run(&args).await {
                panic!("the agent ended: {error}");
            }
        })
    }

    /// A client that is connected as the module `press` and has sent a message: without one, IoT Hub shows it as disconnected.
    pub(crate) fn connect_press(&self, member: &str) -> JoinHandle<()> {
        let text = self.emulator.module_connection_string(member, "press").expect("it is registered");
        let (emulator, hello) = (Arc::clone(&self.emulator), mqtt_hello(&text, member));
        tokio::spawn(async move {
            let (mut ours, theirs) = tokio::io::duplex(64 * 1024);
            let talk = async {
                ours.write_all(&hello).await.expect("the hub reads");
                let _ = ours.read_to_end(&mut Vec::new()).await;
            };
            tokio::join!(emulator.serve_mqtt(theirs), talk);
        })
    }

    pub(crate) fn start_controller(&self, config: Config) -> Controller {
        let hub = Arc::new(IotHub::new(&config.hub).expect("a hub"));
        let (state_dir, days) = (config.controller.state_dir.clone(), config.controller.history_days);
        let recorder = Recorder::open(&state_dir, days, iotedge_ha_controller::clock::wall()).expect("a store");
        let stop = CancellationToken::new();
        let setup = Setup { config, hub, recorder, clock: Clock::start(), hints: Hints::default() };
        Controller { task: tokio::spawn(run(setup, stop.clone())), stop }
    }

    pub(crate) async fn anchor(&self) -> Option<Anchor> {
        let pool = POOL.parse().expect("a name");
        self.hub().read_anchor(&pool).await.expect("it can be read").map(|(anchor, _)| anchor)
    }

    pub(crate) async fn twin(&self, device: &str, module: Option<&str>) -> Twin {
        let call = Call::within(Duration::from_secs(10));
        self.hub().client().twin(device, module, &call).await.expect("it is there")
    }

    /// Waits until `member` holds and says that it is active.
    pub(crate) async fn until_active(&self, member: &str) {
        let hub = self.hub();
        let seat = seat(member);
        for _ in 0..2_400 {
            let holds = self.anchor().await.is_some_and(|anchor| anchor.holder == Some(MemberId::new(member)));
            let state = hub.peek(&seat, ha_core::time::Millis(2_000)).await.map(|answer| answer.state);
            if holds && state == Ok(ha_core::messages::HolderState::Active) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{member} is not active; the record: {:?}", self.anchor().await);
    }
}

impl Controller {
    pub(crate) async fn stop(self) -> Summary {
        self.stop.cancel();
        self.task.await.expect("it ends")
    }
}

pub(crate) fn seat(member: &str) -> Seat {
    Seat {
        pool: POOL.parse().expect("a name"),
        member: MemberId::new(member),
        agent_module: "ha-agent".to_owned(),
        workload_module: Some("press".to_owned()),
        flag: None,
        ignore: ha_deployment::Ignore::default(),
    }
}

/// Relative paths in a configuration are meant from its file.
pub(crate) fn beside(folder: &tempfile::TempDir, name: &str) -> std::path::PathBuf {
    Path::new(folder.path()).join(name)
}

/// CONNECT and one PUBLISH at QoS 0 (MQTT 3.1.1, sections 3.1 and 3.3).
fn mqtt_hello(connection_string: &str, member: &str) -> Vec<u8> {
    let connection: ha_wire::ConnectionString = connection_string.parse().expect("a connection string");
    let ha_wire::connection_string::Credential::Key(key) = connection.credential() else { panic!("it has a key") };
    let user = format!("{}/{member}/press/?api-version=2021-04-12", connection.host());
    let password = ha_wire::sas::Unsigned::module(connection.host(), member, "press", 4_000_000_000).sign(key);
    let text = |text: &str| [&u16::try_from(text.len()).expect("short").to_be_bytes(), text.as_bytes()].concat();
    let head = [text("MQTT"), vec![4, 0xC2, 0x02, 0x58]].concat();
    let connect = [head, text(&format!("{member}/press")), text(&user), text(&password)].concat();
    let publish = text(&format!("devices/{member}/modules/press/messages/events/"));
    [packet(0x10, &connect), packet(0x30, &publish)].concat()
}

fn packet(kind: u8, body: &[u8]) -> Vec<u8> {
    let (mut left, mut packet) = (body.len(), vec![kind]);
    loop {
        let low = u8::try_from(left % 128).expect("below 128");
        left /= 128;
        packet.push(if left > 0 { low | 0x80 } else { low });
        if left == 0 {
            return [packet, body.to_vec()].concat();
        }
    }
}
