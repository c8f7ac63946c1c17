//! What a pool costs at the hub, as the hub counts it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use iotedge_ha_e2e::{Ran, Running, Stage, free_port, port};
use serde_json::{Value, json};

use super::{SECRET, block_on, client_of_hub};

/// A pool with devices, agents and a controller, all at the defaults.
struct Fleet {
    stage: Stage,
    env: BTreeMap<String, String>,
    config: String,
    programs: Vec<Running>,
}

/// The window that is measured: as long as two sweeps, so that it holds two wherever it begins.
const WINDOW: Duration = Duration::from_secs(1_200);

/// Calls and metered messages of a pool without its control lease, counted by the hub.
#[derive(Debug)]
struct Cost {
    calls: u64,
    messages: u64,
    by_kind: Value,
}

impl Fleet {
    fn open(members: usize, push: bool) -> Self {
        let (stage, port) = (Stage::default(), free_port());
        let hook = format!("http://127.0.0.1:{port}/hooks/eventgrid?code={SECRET}");
        let devices: Vec<String> = (1..=members).map(|n| format!("--device=edge-{n}:edge:ha-agent")).collect();
        let more = devices.iter().map(String::as_str).chain(push.then_some(["--webhook", &hook]).into_iter().flatten());
        let last = format!("EDGE_{members}_HA_AGENT_CONNECTION_STRING");
        let (hub, env) = stage.start_hub(&more.collect::<Vec<_>>(), &last);
        let listen = format!("[controller.listen]\naddress = \"127.0.0.1:{port}\"\n");
        let names: Vec<String> = (1..=members).map(|n| format!("\"edge-{n}\"")).collect();
        let config = format!(
            "[hub]\nca_file = \"{}\"\n{}[[pool]]\nname = \"press_1\"\nmembers = [{}]\n",
            env["IOTHUB_CA_FILE"],
            if push { listen.as_str() } else { "" },
            names.join(", ")
        );
        let config = stage.file("pool.toml", &config);
        let mut fleet = Self { stage, env, config, programs: vec![hub] };
        (1..=members).for_each(|n| fleet.add_device(n));
        let variables = fleet.variables();
        let controller = fleet.stage.start_with(&["run", "--config", &fleet.config], &variables);
        fleet.programs.push(controller);
        fleet
    }

    fn variables(&self) -> [(&'static str, &str); 4] {
        let key = self.env["IOTHUB_CONNECTION_STRING"].as_str();
        let ca = self.env["IOTHUB_CA_FILE"].as_str();
        [
            ("IOTEDGE_HA_CONNECTION_STRING", key),
            ("IOTHUB_CONNECTION_STRING", key),
            ("IOTHUB_CA_FILE", ca),
            ("IOTEDGE_HA_EVENT_SECRET", SECRET),
        ]
    }

    /// The runtime, which answers a ping, and the agent.
    fn add_device(&mut self, number: usize) {
        let device = format!("--device=edge-{number}");
        let hub_port = port(&self.env["EMULATOR_MQTT"]).to_owned();
        let place = |what: &str| self.stage.folder().join(format!("{what}-{number}")).display().to_string();
        let (edge_state, agent_state) = (place("edge"), place("agent"));
        let edge = ["emulator", "edge-hub", &device, "--mqtt-port=0", "--https-port=0", "--print-env"];
        let more = ["--hub-mqtt-port", &hub_port, "--state", &edge_state];
        let mut edge = self.stage.start_with(&[&edge[..], &more].concat(), &self.variables());
        edge.wait_for_variables("EDGE_CONTROL_TOKEN");
        let agent = ["agent", "--pool=press_1", "--connection-string-env=KEY", "--state-dir", &agent_state];
        let variables = [
            ("KEY", self.env[&format!("EDGE_{number}_HA_AGENT_CONNECTION_STRING")].as_str()),
            ("HA_AGENT_CA_FILE", self.env["IOTHUB_CA_FILE"].as_str()),
            ("HA_AGENT_MQTT_PORT", &hub_port),
        ];
        let agent = self.stage.start_with(&[&agent[..], &["--", "sleep", "86400"]].concat(), &variables);
        self.programs.extend([edge, agent]);
    }

    fn until_active(&self) {
        let deadline = Instant::now() + Duration::from_secs(120);
        loop {
            let mut list = self.stage.command(&["list", "--json", "--config", &self.config]);
            let ran = Ran::from(list.envs(self.variables()).output().expect("the program starts"));
            if ran.stdout.contains("\"state\":\"active\"") || ran.stdout.contains("\"state\": \"active\"") {
                return;
            }
            assert!(Instant::now() < deadline, "{}{}", ran.stdout, ran.stderr);
            std::thread::sleep(Duration::from_millis(500));
        }
    }

    fn meters(&self, method: reqwest::Method, path: &str) -> Value {
        let url = format!("{}/meters{path}", self.env["EMULATOR_CONTROL_URL"]);
        block_on(async {
            let asking = client_of_hub(&self.env).request(method, url).bearer_auth(&self.env["EMULATOR_CONTROL_TOKEN"]);
            asking.send().await.expect("an answer").json().await.unwrap_or(Value::Null)
        })
    }

    fn cost(&self) -> Cost {
        const SERVICE: [&str; 7] =
            ["registry_reads", "registry_writes", "twin_reads", "twin_writes", "queries", "methods", "configurations"];
        let (all, devices) = (self.meters(reqwest::Method::GET, ""), self.meters(reqwest::Method::GET, "/devices"));
        let billed = self.meters(reqwest::Method::GET, "/billed");
        let control = &devices["ha-control"];
        let of = |counts: &Value| SERVICE.iter().map(|kind| counts[kind].as_u64().unwrap_or(0)).sum::<u64>();
        let messages = |value: &Value| value.as_u64().unwrap_or(0);
        Cost {
            calls: of(&all) - of(control),
            messages: messages(&billed["total"]) - messages(&billed["by_device"]["ha-control"]),
            by_kind: json!({"all": all, "control": control, "billed": billed}),
        }
    }
}

/// `cargo test --test push -- --ignored --nocapture` prints the figures of docs/guides/push.md.
#[test]
#[ignore = "measures for twenty minutes"]
fn what_a_pool_costs_with_and_without_push() {
    let days = 86_400.0 / WINDOW.as_secs_f64();
    let measure = |(members, push)| {
        std::thread::spawn(move || {
            let fleet = Fleet::open(members, push);
            fleet.until_active();
            // What happens once, at the start, is no running cost.
            std::thread::sleep(Duration::from_secs(90));
            fleet.meters(reqwest::Method::DELETE, "");
            std::thread::sleep(WINDOW);
            fleet.cost()
        })
    };
    let cases = [(2, false), (2, true), (3, false), (3, true)];
    let running = cases.map(measure);
    let costs = running.map(|thread| thread.join().expect("a measurement"));
    for ((members, push), cost) in cases.iter().zip(&costs) {
        let a_day = |count: u64| (u32::try_from(count).map_or(f64::MAX, f64::from) * days).round();
        println!(
            "{members} members, push {push}: {} calls and {} messages a day",
            a_day(cost.calls),
            a_day(cost.messages)
        );
        println!("  in the window: {}", cost.by_kind);
    }
    for pair in costs.chunks(2) {
        assert!(pair[1].calls < pair[0].calls && pair[1].messages < pair[0].messages, "{pair:?}");
    }
}
