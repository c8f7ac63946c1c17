//! The whole agent, as a process, against a hub in the test: what a controller would say, said by hand.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use ha_core::holder::Flag;
use ha_core::ids::{Epoch, GrantorId, MemberId, Nonce, PoolName, Term};
use ha_core::messages::{Grant, Hello, HolderState, Refusal, Request, Revoke, Workload};
use ha_core::time::Millis;
use ha_emulator::faults::{Cut, DeviceFault};
use ha_emulator::meters::Meter;
use ha_emulator::{Emulator, Options, Restart, Running, Seed};
use ha_protocol::key::MemberKey;
use ha_protocol::method::{self, Reply};
use ha_protocol::twin::{Reported, decode_reported, flag_patch, install_patch};
use ha_wire::{ConnectionString, SharedAccessKey};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Map, Value, json};

const PATIENCE: Duration = Duration::from_secs(120);
/// A lease that outlasts whatever this machine is busy with.
const LONG_MS: u64 = 300_000;
const KEY: MemberKey = MemberKey::from_bytes([7; 32]);
const DEVICE: &str = "edge-1";
const MODULE: &str = "ha-agent";

fn pool() -> PoolName {
    "press_1".parse().unwrap()
}

/// For an agent that cannot tell which port it was given. Not one of those that the system gives to connections meanwhile.
fn free_address() -> String {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 10_000 + u16::try_from(std::process::id() % 500 * 40).unwrap();
    let mut addresses = (0..2_000).map(|_| format!("127.0.0.1:{}", first + NEXT.fetch_add(1, Ordering::Relaxed)));
    addresses.find(|address| std::net::TcpListener::bind(address).is_ok()).expect("a free port")
}

/// A hub, the service's side of it, and one agent.
struct World {
    hub: Running,
    client: reqwest::Client,
    token: String,
    dir: tempfile::TempDir,
    agent: Option<Child>,
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(mut agent) = self.agent.take() {
            let _ = agent.kill();
            let _ = agent.wait();
        }
    }
}

impl World {
    async fn start(extra: &[&str], workload: &[&str]) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let dir = tempfile::tempdir().unwrap();
        let seed = vec![Seed { device: DEVICE.into(), edge: true, modules: vec![MODULE.into()] }];
        let options = Options { seed, ca_file: Some(dir.path().join("ca.pem")), ..Options::default() };
        let hub = Emulator::start(options).await.unwrap();
        let ca = reqwest::Certificate::from_pem(hub.ca_pem.as_bytes()).unwrap();
        let client = reqwest::Client::builder().tls_certs_only([ca]).build().unwrap();
        let token = service_token(&hub.connection_string());
        fs::write(dir.path().join("connection"), hub.module_connection_string(DEVICE, MODULE).unwrap()).unwrap();
        let mut world = Self { hub, client, token, dir, agent: None };
        world.start_agent(extra, workload);
        let install = install_patch(&Value::Null, &pool(), &KEY, &Map::new()).unwrap();
        world.patch_desired(install).await;
        world
    }

    fn start_agent(&mut self, extra: &[&str], workload: &[&str]) {
        let path = |name: &str| self.dir.path().join(name);
        let mut command = Command::new(env!("CARGO_BIN_EXE_iotedge-ha-agent"));
        command.env("DIR", self.dir.path()).args(["--pool", "press_1", "--stop-ms", "1000"]);
        command.arg("--state-dir").arg(self.dir.path()).arg("--ca-file").arg(path("ca.pem"));
        command.arg("--connection-string-file").arg(path("connection"));
        command.args(extra);
        if !extra.contains(&"--websocket") {
            command.args(["--mqtt-port", &self.hub.mqtt_addr.port().to_string()]);
        } else {
            command.args(["--mqtt-port", &self.hub.https_addr.port().to_string()]);
        }
        if !workload.is_empty() {
            command.arg("--").args(workload);
        }
        self.agent = Some(command.spawn().unwrap());
    }

    fn url(&self, rest: &str) -> String {
        format!("{}/twins/{DEVICE}/modules/{MODULE}{rest}?api-version=2021-04-12", self.hub.https_url())
    }

    async fn patch_desired(&self, desired: Value) {
        let body = json!({ "properties": { "desired": desired } });
        let request = self.client.patch(self.url("")).header("If-Match", "*").header("Authorization", &self.token);
        request.json(&body).send().await.unwrap().error_for_status().unwrap();
    }

    async fn reported(&self) -> Option<Reported> {
        let request = self.client.get(self.url("")).header("Authorization", &self.token);
        let twin: Value = request.send().await.unwrap().json().await.unwrap();
        decode_reported(&twin["properties"]["reported"]).unwrap()
    }

    /// The method's status and payload; `None` while the agent is not connected.
    async fn call(&self, name: &str, payload: &Value) -> Option<(i64, Value)> {
        let body = json!({
            "methodName": name, "payload": payload, "responseTimeoutInSeconds": 30, "connectTimeoutInSeconds": 0,
        });
        let request = self.client.post(self.url("/methods")).header("Authorization", &self.token).json(&body);
        let answer = request.send().await.unwrap();
        if !answer.status().is_success() {
            return None;
        }
        let answer: Value = answer.json().await.unwrap();
        Some((answer["status"].as_i64().unwrap(), answer["payload"].clone()))
    }

    async fn ask_with(&self, key: &MemberKey, request: &Request, hold: Millis) -> Option<(i64, Value)> {
        let (name, body) = method::encode(&MemberId::new(DEVICE), key, &pool(), request, hold);
        self.call(name, &body).await
    }

    async fn ask(&self, request: Request) -> Reply {
        self.ask_held(request, Millis::ZERO).await
    }

    /// The answer; asked for once more while the agent has no connection.
    async fn ask_held(&self, request: Request, hold: Millis) -> Reply {
        let start = Instant::now();
        loop {
            if let Some((status, payload)) = self.ask_with(&KEY, &request, hold).await {
                return method::decode_reply(status, &payload).unwrap();
            }
            assert!(start.elapsed() < PATIENCE, "the agent does not answer");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until the agent answers as a standby with a nonce.
    async fn standby(&self) -> Nonce {
        let start = Instant::now();
        loop {
            assert!(start.elapsed() < PATIENCE, "the agent has not become a standby");
            if let Some((200, payload)) = self.ask_with(&KEY, &hello(), Millis::ZERO).await {
                let reply = method::decode_reply(200, &payload).unwrap();
                if reply.answer.state == HolderState::Standby {
                    return reply.answer.nonce.unwrap();
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Asks, always with the newest nonce, until the answer is as wanted.
    async fn until(&self, what: &str, wanted: impl Fn(&Reply) -> bool) -> Reply {
        let start = Instant::now();
        loop {
            let reply = self.ask(hello()).await;
            if wanted(&reply) {
                return reply;
            }
            assert!(start.elapsed() < PATIENCE, "waited in vain: {what}: {reply:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn active(&self, term: u64, nonce: Nonce) {
        let reply = self.ask(grant(term, nonce, LONG_MS)).await;
        assert_eq!(reply.answer.refused, None);
        self.until("active", |reply| reply.answer.state == HolderState::Active).await;
    }

    /// Has the workload begin on a lease that is renewed up to there, and by nobody after that.
    async fn begun(&self, term: u64, ttl_ms: u64) -> i32 {
        let start = Instant::now();
        while !is_written(&self.mark("own")) {
            let nonce = self.ask(hello()).await.answer.nonce.unwrap();
            self.ask(grant(term, nonce, ttl_ms)).await;
            assert!(start.elapsed() < PATIENCE, "the workload has not begun");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.pid("own").await
    }

    /// Asks it to stop, until it has.
    async fn released(&self, term: u64) -> Reply {
        let start = Instant::now();
        loop {
            let reply = self.ask_held(revoke(term), Millis(20_000)).await;
            if reply.answer.released.is_some() {
                assert_eq!(reply.answer.released, Some(Term(term)));
                return reply;
            }
            assert!(start.elapsed() < PATIENCE, "nothing is released: {reply:?}");
        }
    }

    fn mark(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    async fn pid(&self, mark: &str) -> i32 {
        let path = self.mark(mark);
        wait_until(mark, || is_written(&path)).await;
        fs::read_to_string(path).unwrap().trim().parse().unwrap()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(self.agent.as_ref().unwrap()), signal).unwrap();
    }

    async fn agent_ends(&mut self) -> bool {
        let mut agent = self.agent.take().unwrap();
        tokio::task::spawn_blocking(move || agent.wait().unwrap().success()).await.unwrap()
    }
}

fn service_token(connection: &str) -> String {
    let connection: ConnectionString = connection.parse().unwrap();
    let now_s = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let unsigned = ha_wire::sas::Unsigned::service(&connection.host_and_port(), "iothubowner", now_s + 3_600);
    let key: &SharedAccessKey = connection.key().unwrap();
    unsigned.sign(key)
}

async fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn is_written(mark: &Path) -> bool {
    fs::read_to_string(mark).is_ok_and(|text| text.ends_with('\n'))
}

fn is_gone(pid: i32) -> bool {
    match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Err(_) => true,
        Ok(stat) => stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(['Z', 'X'])),
    }
}

fn hello() -> Request {
    Request::Hello(Hello { grantor: GrantorId::controller(), epoch: Epoch(1), wants_nonce: true })
}

fn grant(term: u64, nonce: Nonce, ttl_ms: u64) -> Request {
    let (grantor, epoch) = (GrantorId::controller(), Epoch(1));
    Request::Grant(Grant { grantor, epoch, term: Term(term), nonce, ttl: Millis(ttl_ms) })
}

fn revoke(term: u64) -> Request {
    Request::Revoke(Revoke { grantor: GrantorId::controller(), epoch: Epoch(1), term: Term(term) })
}

const WORKLOAD: [&str; 3] = ["sh", "-c", r#"echo $$ > "$DIR/$HA_POOL-$HA_MEMBER-$HA_TERM"; while :; do sleep 1; done"#];
const STUBBORN: [&str; 3] = ["sh", "-c", r#"trap "" TERM; echo $$ > "$DIR/own"; while :; do sleep 1; done"#];

#[tokio::test]
async fn a_lease_runs_the_workload_and_a_revoke_proves_it_gone() {
    let world = World::start(&[], &WORKLOAD).await;
    let nonce = world.standby().await;
    world.active(7, nonce).await;
    let own = world.pid("press_1-edge-1-7").await;
    world.until("running", |reply| reply.answer.workload == Workload::Running).await;
    let reply = world.released(7).await;
    assert_eq!(reply.answer.state, HolderState::Standby);
    assert!(is_gone(own));
    let nonce = reply.answer.nonce.unwrap();
    let reply = world.ask(grant(7, nonce, LONG_MS)).await;
    assert_eq!(reply.answer.refused, Some(Refusal::Released { through: Term(7) }));
}

#[tokio::test]
async fn a_lease_that_nobody_renews_ends_by_itself() {
    let world = World::start(&[], &STUBBORN).await;
    world.standby().await;
    let own = world.begun(1, 4_000).await;
    let reply = world.until("standby", |reply| reply.answer.state == HolderState::Standby).await;
    assert!(is_gone(own));
    assert_eq!(reply.answer.released, None);
}

#[tokio::test]
async fn calls_without_the_key_change_nothing() {
    let world = World::start(&[], &WORKLOAD).await;
    let nonce = world.standby().await;
    let other = MemberKey::from_bytes([8; 32]);
    let forged = world.ask_with(&other, &grant(7, nonce, LONG_MS), Millis::ZERO).await.unwrap();
    assert_eq!(forged.0, 401);
    for (name, payload) in [("haGrant", json!({})), ("haGrant", json!([1])), ("haHello", Value::Null)] {
        assert_eq!(world.call(name, &payload).await.unwrap().0, 400);
    }
    assert_eq!(world.call("reboot", &json!({})).await.unwrap().0, 404);
    let elsewhere: PoolName = "press_2".parse().unwrap();
    let (name, body) = method::encode(&MemberId::new(DEVICE), &KEY, &elsewhere, &hello(), Millis::ZERO);
    assert_eq!(world.call(name, &body).await.unwrap().0, 404);
    assert_eq!(world.ask(hello()).await.answer.state, HolderState::Standby);
    assert!(!world.mark("press_1-edge-1-7").exists());
}

#[tokio::test]
async fn the_flag_closes_and_never_opens() {
    let world = World::start(&[], &WORKLOAD).await;
    let nonce = world.standby().await;
    world.patch_desired(flag_patch(&pool(), Flag { active: true, term: Term(9) })).await;
    assert_eq!(world.ask(hello()).await.answer.state, HolderState::Standby);
    world.active(9, nonce).await;
    world.patch_desired(flag_patch(&pool(), Flag { active: false, term: Term(9) })).await;
    world.until("standby", |reply| reply.answer.state == HolderState::Standby).await;
}

#[tokio::test]
async fn a_token_is_renewed_on_a_new_connection_and_the_lease_lives_on() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("agent.toml");
    fs::write(&config, "[hub]\ntoken_ttl_s = 5\n").unwrap();
    let world = World::start(&["--config", config.to_str().unwrap()], &WORKLOAD).await;
    let nonce = world.standby().await;
    let connects = || world.hub.meters().read(Meter::Connects);
    let before = connects();
    world.active(3, nonce).await;
    let own = world.pid("press_1-edge-1-3").await;
    wait_until("a second token", || connects() > before).await;
    let reply = world.ask(hello()).await;
    assert_eq!((reply.answer.state, reply.answer.term), (HolderState::Active, Term(3)));
    assert!(!is_gone(own));
}

#[tokio::test]
async fn a_stopping_agent_waits_to_be_relieved_and_ends_well() {
    let mut world = World::start(&["--leave-grace-ms", "120000"], &WORKLOAD).await;
    let nonce = world.standby().await;
    world.active(3, nonce).await;
    let own = world.pid("press_1-edge-1-3").await;
    world.signal(Signal::TERM);
    let reply = world.until("leaving", |reply| reply.answer.leaving).await;
    assert_eq!(reply.answer.state, HolderState::Active);
    world.released(3).await;
    assert!(world.agent_ends().await && is_gone(own));
}

#[tokio::test]
async fn a_killed_agent_leaves_nothing_and_its_successor_says_so() {
    let mut world = World::start(&[], &WORKLOAD).await;
    let nonce = world.standby().await;
    world.active(3, nonce).await;
    let own = world.pid("press_1-edge-1-3").await;
    world.signal(Signal::KILL);
    assert!(!world.agent_ends().await);
    wait_until("the workload is gone", || is_gone(own)).await;
    world.start_agent(&[], &WORKLOAD);
    let nonce = world.standby().await;
    world.active(4, nonce).await;
    world.pid("press_1-edge-1-4").await;
}

#[tokio::test]
async fn changes_are_reported_and_a_crash_is_told() {
    let crash = r#"[ -e "$DIR/go" ] && exit 3; sleep 0.05"#;
    let world = World::start(&["--websocket"], &["sh", "-c", &format!("while :; do {crash}; done")]).await;
    let nonce = world.standby().await;
    world.active(5, nonce).await;
    let start = Instant::now();
    while world.reported().await.is_none_or(|reported| reported.state != HolderState::Active) {
        assert!(start.elapsed() < PATIENCE, "nothing is reported");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    fs::write(world.mark("go"), "").unwrap();
    let failing = |reply: &Reply| matches!(&reply.answer.workload, Workload::Failing(why) if why.contains("code 3"));
    world.until("failing", failing).await;
}

#[tokio::test]
async fn readers_of_http_and_file_follow_and_can_say_that_they_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gate.json");
    let address = free_address();
    let extra = ["--http-addr", &address, "--state-file", file.to_str().unwrap(), "--settle-ms", "1000"];
    let world = World::start(&extra, &[]).await;
    let nonce = world.standby().await;
    let get = async |path: &str| reqwest::get(format!("http://{address}{path}")).await.unwrap();
    assert_eq!(get("/active").await.status(), 503);
    world.active(6, nonce).await;
    let answer = get("/active").await;
    assert_eq!(answer.status(), 200);
    let answer: Value = answer.json().await.unwrap();
    assert_eq!((&answer["active"], &answer["term"]), (&json!(true), &json!(6)));
    assert!(answer["lease_ms_left"].as_u64().is_some_and(|left| left > 0 && left < LONG_MS - 1_000));
    let shown: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert_eq!((&shown["active"], &shown["term"]), (&json!(true), &json!(6)));
    let state: Value = get("/v1/state").await.json().await.unwrap();
    assert_eq!(state["state"], "active");
    let mut watched = get("/v1/watch").await;
    let first = watched.chunk().await.unwrap().unwrap();
    assert!(String::from_utf8_lossy(&first).contains("\"active\":true"));

    let released = world.released(6);
    let acknowledged = async {
        let next = watched.chunk().await.unwrap().unwrap();
        assert!(String::from_utf8_lossy(&next).contains("\"active\":false"));
        let client = reqwest::Client::new();
        let stopped = client.post(format!("http://{address}/v1/stopped")).json(&json!({ "term": 6 }));
        assert_eq!(stopped.send().await.unwrap().status(), 204);
        let nonsense = client.post(format!("http://{address}/v1/stopped")).json(&json!({ "term": "x" }));
        assert!(nonsense.send().await.unwrap().status().is_client_error());
    };
    tokio::join!(released, acknowledged);
    assert_eq!(get("/active").await.status(), 503);
}

#[tokio::test]
async fn messages_carry_the_term_under_which_they_were_taken() {
    let free = free_address();
    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("agent.toml");
    fs::write(&settings, format!("[gate]\nmessages = true\nhttp_listen = \"{free}\"\n")).unwrap();
    let world = World::start(&["--config", settings.to_str().unwrap()], &[]).await;
    let mut heard = world.hub.messages();
    let client = reqwest::Client::new();
    let post = async |query: &str, headers: &[(&str, &str)], body: Vec<u8>| {
        let mut request = client.post(format!("http://{free}/v1/messages{query}")).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
    };
    let nonce = world.standby().await;
    let (status, said) = post("", &[], b"early".to_vec()).await;
    assert_eq!((status, &said["sent"], &said["error"]), (409, &json!("no"), &json!("this device is not active")));

    world.active(6, nonce).await;
    let headers = [("content-type", "application/json"), ("iothub-app-level", "high"), ("iothub-messageid", "m1")];
    let (status, said) = post("?output=advice", &headers, b"{\"v\":1}".to_vec()).await;
    assert_eq!((status, said), (200, json!({ "sent": "yes", "term": 6 })));
    let message = heard.recv().await.unwrap();
    assert_eq!((message.from.to_string().as_str(), &message.body[..]), ("edge-1/ha-agent", &b"{\"v\":1}"[..]));
    let property =
        |name: &str| message.properties.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let stamped = [property("ha-pool"), property("ha-term"), property("level"), property("$.mid"), property("$.on")];
    assert_eq!(stamped, [Some("press_1"), Some("6"), Some("high"), Some("m1"), Some("advice")]);

    assert_eq!(post("", &[("iothub-app-ha-term", "9")], vec![]).await.0, 400);
    assert_eq!(post("?exit=advice", &[], vec![]).await.0, 400);
    assert_eq!(post("", &[], vec![b'x'; 256 * 1024]).await.0, 413);
    assert_eq!(post("", &[], vec![b'x'; 256 * 1024 + 1]).await.0, 413);

    // The hub has it, the acknowledgement does not get through, and then the connection ends.
    world.hub.faults().set_device(DEVICE, DeviceFault::cut(Cut::ToDevice));
    let unacknowledged = async {
        assert_eq!(heard.recv().await.unwrap().body, &b"lost?"[..]);
        world.hub.restart(Restart { down_ms: 60_000, keep_state: true }).unwrap();
    };
    let ((status, said), ()) = tokio::join!(post("", &[], b"lost?".to_vec()), unacknowledged);
    assert_eq!((status, &said["sent"], &said["term"]), (504, &json!("unknown"), &json!(6)));
    let (status, said) = post("", &[], b"not sent".to_vec()).await;
    assert_eq!((status, &said["sent"]), (503, &json!("no")), "{said}");
}

#[tokio::test]
async fn a_cut_line_ends_the_lease_and_is_found_again_when_healed() {
    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("agent.toml");
    let quick = "[hub]\nkeep_alive_s = 1\nping_timeout_ms = 2000\nreconnect_max_ms = 300\n";
    fs::write(&settings, quick).unwrap();
    let world = World::start(&["--config", settings.to_str().unwrap()], &STUBBORN).await;
    world.standby().await;
    let own = world.begun(2, 5_000).await;
    world.hub.faults().set_device(DEVICE, DeviceFault::cut(Cut::Both));
    wait_until("the workload is gone", || is_gone(own)).await;
    world.hub.faults().heal_device(DEVICE);
    // The end of the lease, which may be later than that of the workload, takes all nonces with it.
    let renewed = loop {
        let nonce = world.standby().await;
        let refused = world.ask(grant(2, nonce, LONG_MS)).await.answer.refused;
        if refused != Some(Refusal::UnknownNonce) {
            break refused;
        }
    };
    assert_eq!(renewed, None, "a lapsed term may be renewed");
}

#[tokio::test]
async fn a_frozen_agent_does_not_keep_the_workload_alive() {
    let world = World::start(&[], &STUBBORN).await;
    world.standby().await;
    let own = world.begun(2, 5_000).await;
    world.signal(Signal::STOP);
    wait_until("the workload is gone", || is_gone(own)).await;
    world.signal(Signal::CONT);
    world.standby().await;
}

#[test]
fn bad_usage_is_told_apart_and_shows_no_secret() {
    let run = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_iotedge-ha-agent"));
        command.env_clear().env("SECRET", "HostName=h;SharedAccessKeyName=p;SharedAccessKey=c2VjcmV0").args(args);
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, said) = run(&["--pool", "press_1", "--http-addr", "127.0.0.1:0"]);
    assert!(code == Some(2) && said.contains("no module identity is given"), "{said}");
    let base = ["--pool", "press_1", "--http-addr", "127.0.0.1:0", "--connection-string-env"];
    let (code, said) = run(&[&base[..], &["SECRET"]].concat());
    assert!(code == Some(2) && said.contains("not that of a module") && !said.contains("c2VjcmV0"), "{said}");
    let (code, said) = run(&[&base[..], &["MISSING"]].concat());
    assert!(code == Some(2) && said.contains("MISSING"), "{said}");
}
