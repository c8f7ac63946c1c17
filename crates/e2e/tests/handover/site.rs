use std::collections::BTreeMap;

use iotedge_ha_e2e::{PATIENT, Ran, Running, Stage, port, wait_until};

/// A hub, two devices with agents, and a configuration for their pool.
pub(crate) struct Site {
    pub(crate) stage: Stage,
    pub(crate) env: BTreeMap<String, String>,
    config: String,
    _programs: Vec<Running>,
}

impl Site {
    /// Each agent gets one more argument, and the pool more settings.
    pub(crate) fn open(agents: [String; 2], more: &str) -> Self {
        let stage = Stage::default();
        let folder = |name: &str| stage.folder().join(name).display().to_string();
        let devices = ["--device=edge-a:edge:ha-agent", "--device=edge-b:edge:ha-agent", "--device=leaf-1"];
        let (hub, env) = stage.start_hub(&[&devices[..], &["--amqp-port=0"]].concat(), "LEAF_1_CONNECTION_STRING");
        let config = format!(
            "[hub]\nca_file = \"{}\"\n[controller]\ncontrol_ttl_ms = 2000\ncontrol_renew_ms = 500\n\
             [[pool]]\nname = \"press_1\"\nmembers = [\"edge-a\", \"edge-b\"]\n{PATIENT}{more}",
            env["IOTHUB_CA_FILE"]
        );
        let config = stage.file("pool.toml", &config);
        let port = port(&env["EMULATOR_MQTT"]);
        let mut programs = vec![hub];
        for (name, more) in ["A", "B"].into_iter().zip(&agents) {
            let state = folder(name);
            let args = [
                "agent",
                "--pool=press_1",
                "--connection-string-env=KEY",
                "--settle-ms=200",
                "--state-dir",
                &state,
                more,
            ];
            let key = env[&format!("EDGE_{name}_HA_AGENT_CONNECTION_STRING")].as_str();
            let ca = env["IOTHUB_CA_FILE"].as_str();
            programs
                .push(stage.start_with(&args, &[("KEY", key), ("HA_AGENT_CA_FILE", ca), ("HA_AGENT_MQTT_PORT", port)]));
        }
        Self { stage, env, config, _programs: programs }
    }

    /// A stand-in for edgeHub on a device; what it prints, too.
    pub(crate) fn start_edge_hub(&self, device: &str) -> (Running, BTreeMap<String, String>) {
        let state = self.stage.folder().join(format!("{device}-hub")).display().to_string();
        let port = port(&self.env["EMULATOR_MQTT"]);
        let args = ["emulator", "edge-hub", "--mqtt-port=0", "--print-env", "--hub-mqtt-port", port, "--state", &state];
        let (key, ca) = (self.env["IOTHUB_CONNECTION_STRING"].as_str(), self.env["IOTHUB_CA_FILE"].as_str());
        let variables = [("IOTHUB_CONNECTION_STRING", key), ("IOTHUB_CA_FILE", ca)];
        let mut program = self.stage.start_with(&[&args[..], &["--device", device]].concat(), &variables);
        let env = program.wait_for_variables("EDGE_CONTROL_TOKEN");
        (program, env)
    }

    /// Waits until the record says that a follower is through with the present term.
    pub(crate) fn wait_for_follower(&self, follower: &str, term: u64) {
        wait_until(&format!("{follower} is through with term {term}"), || {
            let shown = self.shown();
            let followers = shown["followers"].as_array().cloned().unwrap_or_default();
            followers.iter().any(|one| one["follower"] == follower && one["through"] == term)
        });
    }

    pub(crate) fn start_controller(&self) -> Running {
        let key = [("IOTEDGE_HA_CONNECTION_STRING", self.env["IOTHUB_CONNECTION_STRING"].as_str())];
        self.stage.start_with(&["run", "--config", &self.config], &key)
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        let mut command = self.stage.command(args);
        command.args(["--config", &self.config]);
        command.env("IOTEDGE_HA_CONNECTION_STRING", &self.env["IOTHUB_CONNECTION_STRING"]);
        Ran::from(command.output().expect("the program starts"))
    }

    /// What `show` says of the pool.
    pub(crate) fn shown(&self) -> serde_json::Value {
        let ran = self.run(&["show", "press_1", "--json"]).expect(0);
        serde_json::from_str(&ran.stdout).expect("JSON")
    }
}
