//! A hub, agents and a controller in one process.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ha_agent::AgentArgs;
use ha_core::anchor::Anchor;
use ha_core::charge::ControlRecord;
use ha_core::ids::{ControlId, ControllerId, Epoch, MemberId};
use ha_core::messages::HolderState;
use ha_core::time::Millis;
use ha_emulator::{Emulator, Options, Running, Seed};
use ha_iothub::{Call, Client, Limits};
use ha_wire::Twin;
use iotedge_ha_controller::clock::Clock;
use iotedge_ha_controller::config::{self, Config};
use iotedge_ha_controller::hub::iot::IotHub;
use iotedge_ha_controller::hub::{Hub as _, NotWritten, Seat};
use iotedge_ha_controller::run::{Hints, Setup, Summary, run};
use iotedge_ha_controller::store::Recorder;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;
use tokio::time::Instant;
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
            // Nobody waits for a workload that the last run might have left.
            settle_ms: Some(0),
            http_addr: Some("127.0.0.1:0".parse().expect("an address")),
            ..AgentArgs::default()
        };
        tokio::spawn(async move {
            if let Err(error) = ha_agent::run(&args).await {
                panic!("the agent ended: {error}");
            }
        })
    }

    /// Agents on all members. Who hears from one before it is connected passes it over.
    pub(crate) async fn start_agents(&self) -> Vec<JoinHandle<()>> {
        let agents = MEMBERS.iter().map(|member| self.start_agent(member)).collect();
        for member in MEMBERS {
            self.until_listening(member).await;
        }
        agents
    }

    /// Waits until the agent of `member` can be called.
    pub(crate) async fn until_listening(&self, member: &str) {
        let listens = || self.emulator.connections().iter().any(|one| one.link.device_id == member && one.link.methods);
        eventually("the agent listens", async || listens().then_some(())).await;
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
        let (mine, stopped) = (self.hub(), stop.clone());
        let task = tokio::spawn(async move {
            leave_no_charge(&mine).await;
            run(setup, stopped).await
        });
        Controller { task, stop }
    }

    pub(crate) async fn anchor(&self) -> Option<Anchor> {
        let (hub, pool) = (self.hub(), POOL.parse().expect("a name"));
        let read = async || match hub.read_anchor(&pool).await {
            Err(error) if error.is_transient() => None,
            read => Some(read.expect("it can be read").map(|(anchor, _)| anchor)),
        };
        eventually("the record can be read", read).await
    }

    pub(crate) async fn twin(&self, device: &str, module: Option<&str>) -> Twin {
        let call = Call::within(Duration::from_secs(60));
        self.hub().client().twin(device, module, &call).await.expect("it is there")
    }

    /// Waits until `member` holds and says that it is active in the term of the record.
    pub(crate) async fn until_active(&self, member: &str) {
        let (hub, seat) = (self.hub(), seat(member));
        let is_active = async || {
            let anchor = self.anchor().await.filter(|anchor| anchor.holder.as_ref() == Some(&seat.member))?;
            let answer = hub.peek(&seat, Millis(10_000)).await.ok()?;
            // What it says is of an older term if the record is about to take it elsewhere.
            (answer.state == HolderState::Active && answer.term == anchor.term).then_some(())
        };
        eventually(&format!("{member} is active"), is_active).await;
    }
}

impl Controller {
    pub(crate) async fn stop(self) -> Summary {
        self.stop.cancel();
        self.task.await.expect("it ends")
    }
}

/// A hub where somebody was in charge and has given the charge back: the next controller need not wait whether somebody is.
pub(crate) async fn leave_no_charge(hub: &IotHub) {
    let (owner, epoch, ttl) = (ControllerId::new("earlier"), Epoch(1), Millis(10_000));
    let record = ControlRecord { owner, epoch, ttl, beat: 0, given_back: true };
    match hub.write_control(&ControlId::new("ha-control"), &record, None).await {
        Ok(_) | Err(NotWritten::Conflict) => {}
        Err(error) => panic!("the control record cannot be written: {error:?}"),
    }
}

/// Looks until there is something to be seen, which may take a busy machine long.
pub(crate) async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
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
