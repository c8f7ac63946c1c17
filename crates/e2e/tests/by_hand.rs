//! The parts by hand: a hub, an agent and a controller, each started as an operator would, and what goes wrong between them.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use iotedge_ha_e2e::{PATIENT, Ran, Running, Stage, port, wait_until};

/// A hub with one Edge device, and a configuration for it.
struct Site {
    stage: Stage,
    env: BTreeMap<String, String>,
    config: String,
    _hub: Running,
}

impl Site {
    fn open() -> Self {
        let stage = Stage::default();
        let (hub, env) = stage.start_hub(&["--device=edge-1:edge:ha-agent"], "EDGE_1_HA_AGENT_CONNECTION_STRING");
        let config = format!(
            "[hub]\nca_file = \"{}\"\n[controller]\ncontrol_ttl_ms = 2000\ncontrol_renew_ms = 500\n\
             [[pool]]\nname = \"press_1\"\nmembers = [\"edge-1\"]\n{PATIENT}",
            env["IOTHUB_CA_FILE"]
        );
        let config = stage.file("pool.toml", &config);
        Self { stage, env, config, _hub: hub }
    }

    fn run(&self, args: &[&str]) -> Ran {
        self.run_as(&self.env["IOTHUB_CONNECTION_STRING"], args)
    }

    fn run_as(&self, connection_string: &str, args: &[&str]) -> Ran {
        let mut command = self.stage.command(args);
        command.args(["--config", &self.config]).env("IOTEDGE_HA_CONNECTION_STRING", connection_string);
        Ran::from(command.output().expect("the program starts"))
    }

    fn start_controller(&self) -> Running {
        self.start(&["run"])
    }

    fn start(&self, args: &[&str]) -> Running {
        let connection_string = &self.env["IOTHUB_CONNECTION_STRING"];
        let variables = [("IOTEDGE_HA_CONNECTION_STRING", connection_string.as_str())];
        self.stage.start_with(&[args, &["--config", &self.config]].concat(), &variables)
    }

    fn start_agent(&self) -> Running {
        let mqtt_port = port(&self.env["EMULATOR_MQTT"]);
        let folder = self.stage.folder().join("agent").display().to_string();
        let args = ["agent", "--pool=press_1", "--connection-string-env=KEY", "--state-dir", &folder];
        let variables = [
            ("KEY", self.env["EDGE_1_HA_AGENT_CONNECTION_STRING"].as_str()),
            ("HA_AGENT_CA_FILE", self.env["IOTHUB_CA_FILE"].as_str()),
            ("HA_AGENT_MQTT_PORT", mqtt_port),
        ];
        self.stage.start_with(&[&args[..], &["--", "sleep", "600"]].concat(), &variables)
    }

    /// The only member of the only pool, once it is as wanted.
    fn wait_for_member(&self, wanted: impl Fn(&serde_json::Value) -> bool) {
        wait_until("the member is as wanted", || {
            let ran = self.run(&["list", "--json"]).expect(0);
            let pools: serde_json::Value = serde_json::from_str(&ran.stdout).expect("JSON");
            wanted(&pools[0]["members"][0])
        });
    }
}

/// What a server answers below `url`, head and body.
fn get(url: &str, path: &str) -> String {
    let authority = url.trim_start_matches("http://").trim_end_matches('/');
    let mut stream = TcpStream::connect(authority).expect("it listens");
    write!(stream, "GET /{path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n").expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    answer
}

#[test]
fn a_hub_an_agent_and_a_controller_make_a_pool() {
    let site = Site::open();
    let _agent = site.start_agent();
    let controller = site.start_controller();
    // The record, which has the role, is read before the agent is asked.
    site.wait_for_member(|member| (&member["state"], &member["role"]) == (&"active".into(), &"active".into()));

    site.run(&["show", "press_1"]).expect(0);
    site.run(&["check"]).expect(0);
    let history = site.run(&["history", "press_1", "--json"]).expect(0);
    let first = &history.json_lines()[0];
    assert_eq!((&first["holder"], &first["term"]), (&"edge-1".into(), &1.into()));
    // Decisions are written down by the way.
    wait_until("the decision is explained", || site.run(&["why", "press_1"]).stdout.contains("give term 1 to edge-1"));
    let mut dashboard = site.start(&["dashboard", "--listen=127.0.0.1:0"]);
    let seen = get(&dashboard.first_line(), "v1/pools");
    assert!(seen.starts_with("HTTP/1.1 200") && seen.contains("\"holder\":\"edge-1\""), "{seen}");
    dashboard.signal("INT");
    dashboard.wait().expect(0);
    site.run(&["pause", "press_1"]).expect(0);
    site.run(&["resume", "press_1"]).expect(0);
    site.run(&["switchover", "press_1", "--to", "edge-9", "--yes"]).expect(2).says("edge-9 is no member of press_1");
    site.run(&["switchover", "press_1"]).expect(2).says("--yes");

    controller.signal("TERM");
    controller.wait().expect(0);
    site.run(&["pause", "press_1", "--timeout-s", "1"]).expect(5).says("no controller has settled the request");
}

#[test]
fn what_is_wrong_with_the_hub_is_said() {
    let site = Site::open();
    let good = &site.env["IOTHUB_CONNECTION_STRING"];
    let (before, _) = good.split_once("SharedAccessKey=").expect("a key");
    let wrong_key = format!("{before}SharedAccessKey=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
    let ran = site.run_as(&wrong_key, &["list"]).expect(4).says("does not accept the credentials");
    assert!(!ran.stderr.contains("AAAAAAAA"), "{}", ran.stderr);

    let nobody = "HostName=localhost:1;SharedAccessKeyName=iothubowner;SharedAccessKey=AAAA";
    site.run_as(nobody, &["list"]).expect(4).says("IoT Hub cannot be reached");
    site.run_as("HostName=", &["list"]).expect(2).says("IOTEDGE_HA_CONNECTION_STRING");
    site.run_as(nobody, &["check"]).expect(4);

    site.run(&["show", "nowhere"]).expect(2).says("there is no pool \"nowhere\"").says("press_1");
    site.run(&["switchover", "press_1", "--yes"]).expect(1).says("no controller has run it");
    let list = site.run(&["list", "--json"]).expect(0);
    assert!(list.stdout.contains("\"holder\": null"), "{}", list.stdout);
}

#[test]
fn a_port_that_is_taken_is_named() {
    let site = Site::open();
    let port = port(&site.env["EMULATOR_HTTPS"]);
    let other = site.stage.folder().join("other").display().to_string();
    site.stage
        .run(&["emulator", "--https-port", port, "--mqtt-port=0", "--state", &other])
        .expect(1)
        .says(&format!("cannot listen on 127.0.0.1:{port}"))
        .says("hint: ");
}

#[test]
fn an_agent_says_what_it_lacks() {
    let stage = Stage::default();
    stage.run(&["agent", "--", "true"]).expect(2).says("no pool is named");
    stage.run(&["agent", "--pool=press_1"]).expect(2).says("there is no gate to open");
    let args = ["agent", "--pool=press_1", "--state-dir=s", "--connection-string-env=NOWHERE", "--", "true"];
    stage.run(&args).expect(2).says("NOWHERE");
}
