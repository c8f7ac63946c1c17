//! The agent as a module of an IoT Edge device: behind edgeHub, signing through the workload socket.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use iotedge_ha_e2e::{PATIENCE, Ran, Running, Stage, port};

/// A hub, an Edge device in front of it, and a configuration for its only pool.
struct Site {
    stage: Stage,
    hub: BTreeMap<String, String>,
    edge_env: BTreeMap<String, String>,
    config: String,
    edge: Running,
    _hub: Running,
}

impl Site {
    fn open() -> Self {
        let stage = Stage::default();
        let folder = |name: &str| stage.folder().join(name).display().to_string();
        let device = ["--device=edge-1:edge:ha-agent"];
        let (hub_program, hub) = stage.start_hub(&device, "EDGE_1_HA_AGENT_CONNECTION_STRING");

        // --verbose stands first so that its log is not the hub's.
        let args = ["--verbose", "emulator", "edge-hub", "--device=edge-1", "--mqtt-port=0", "--https-port=0"];
        let more = ["--module=ha-agent", "--print-env", "--hub-mqtt-port", port(&hub["EMULATOR_MQTT"]), "--state"];
        let variables = [
            ("IOTHUB_CONNECTION_STRING", hub["IOTHUB_CONNECTION_STRING"].as_str()),
            ("IOTHUB_CA_FILE", hub["IOTHUB_CA_FILE"].as_str()),
        ];
        let mut edge = stage.start_with(&[&args[..], &more, &[&folder("edge")]].concat(), &variables);
        let edge_env = edge.wait_for_variables("IOTEDGE_APIVERSION");

        let config = format!(
            "[hub]\nca_file = \"{}\"\n[controller]\ncontrol_ttl_ms = 2000\ncontrol_renew_ms = 500\n\
             [[pool]]\nname = \"press_1\"\nmembers = [\"edge-1\"]\n\
             [pool.timings]\nttl_ms = 24000\nrenew_ms = 3000\ncall_timeout_ms = 9000\n",
            hub["IOTHUB_CA_FILE"]
        );
        let config = stage.file("pool.toml", &config);
        Self { stage, hub, edge_env, config, edge, _hub: hub_program }
    }

    /// As edgeAgent would start it: what it knows of the hub comes from the environment and the socket.
    fn start_agent(&self) -> Running {
        let settings = self.stage.file("agent.toml", "[hub]\ntoken_ttl_s = 6\n");
        let state = self.stage.folder().join("agent").display().to_string();
        let mqtt_port = port(&self.edge_env["EDGE_MQTT"]);
        let module = self.edge_env.iter().filter(|(name, _)| name.starts_with("IOTEDGE_"));
        let mut variables: Vec<(&str, &str)> = module.map(|(name, value)| (name.as_str(), value.as_str())).collect();
        variables.push(("HA_AGENT_MQTT_PORT", mqtt_port));
        let args = ["agent", "--pool=press_1", "--config", &settings, "--state-dir", &state, "--", "sleep", "600"];
        self.stage.start_with(&args, &variables)
    }

    fn start_controller(&self) -> Running {
        let connection_string = &self.hub["IOTHUB_CONNECTION_STRING"];
        let variables = [("IOTEDGE_HA_CONNECTION_STRING", connection_string.as_str())];
        self.stage.start_with(&["run", "--config", &self.config], &variables)
    }

    fn member(&self) -> serde_json::Value {
        let mut command = self.stage.command(&["list", "--json", "--config", &self.config]);
        command.env("IOTEDGE_HA_CONNECTION_STRING", &self.hub["IOTHUB_CONNECTION_STRING"]);
        let ran = Ran::from(command.output().expect("the program starts")).expect(0);
        let pools: serde_json::Value = serde_json::from_str(&ran.stdout).expect("JSON");
        pools[0]["members"][0].clone()
    }

    fn workload_runs(&self) -> bool {
        self.stage.processes().iter().any(|line| line.starts_with("sleep 600"))
    }

    fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.stage.folder().join(name)).unwrap_or_default()
    }

    fn wait_until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds() {
            let logs = ["agent.log", "--verbose.log", "run.log"].map(|name| self.log(name));
            assert!(Instant::now() < deadline, "never happened: {what}\n{}\n{}\n{}", logs[0], logs[1], logs[2]);
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

#[test]
fn an_agent_behind_edge_hub_keeps_its_lease_and_loses_it_with_the_line() {
    let site = Site::open();
    let _agent = site.start_agent();
    let _controller = site.start_controller();
    site.wait_until("the member is active", || site.member()["state"] == "active");
    site.wait_until("the workload runs", || site.workload_runs());
    assert_eq!(site.member()["term"], 1);

    let renewals = || site.log("agent.log").matches("the token is renewed").count();
    let before = renewals();
    site.wait_until("two tokens are renewed", || {
        assert!(site.workload_runs(), "the lease was lost over a renewal:\n{}", site.log("agent.log"));
        renewals() >= before + 2
    });
    site.wait_until("the member is active still", || site.member()["state"] == "active");
    assert_eq!(site.member()["term"], 1);

    site.edge.signal("USR1");
    site.wait_until("the workload stops", || !site.workload_runs());
    site.edge.signal("USR2");
    site.wait_until("the workload runs again", || site.workload_runs());
}
