//! IoT Hub fails over to another region: it is gone for a while, and comes back without its last writes.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use iotedge_ha_e2e::{PATIENCE, Ran, Running, Stage, port};

const MEMBERS: [&str; 3] = ["edge-a", "edge-b", "edge-c"];

/// Notes its term and member; and a second one, should two ever run at once: whoever runs has the lock until its last process is gone.
const WORKLOAD: &str =
    "flock --nonblock plant.lock sh -c 'echo $HA_TERM $HA_MEMBER >> terms; exec sleep 600' || echo two >> terms";

struct Site {
    stage: Stage,
    env: BTreeMap<String, String>,
    config: String,
}

impl Site {
    fn open() -> (Self, Running) {
        let stage = Stage::default();
        let devices: Vec<String> = MEMBERS.iter().map(|name| format!("--device={name}:edge:ha-agent")).collect();
        let devices: Vec<&str> = devices.iter().map(String::as_str).collect();
        let (hub, env) = stage.start_hub(&devices, "EDGE_C_HA_AGENT_CONNECTION_STRING");
        let config = format!(
            "[hub]\nca_file = \"{}\"\n[controller]\ncontrol_ttl_ms = 2000\ncontrol_renew_ms = 500\n\
             [[pool]]\nname = \"press_1\"\nmembers = [\"edge-a\", \"edge-b\", \"edge-c\"]\n\
             [pool.timings]\nttl_ms = 12000\nrenew_ms = 1000\ncall_timeout_ms = 5000\nretry_ms = 200\nstop_ms = 500\n\
             standby_hold_ms = 2000\nanchor_read_ms = 500\n",
            env["IOTHUB_CA_FILE"]
        );
        let config = stage.file("pool.toml", &config);
        (Self { stage, env, config }, hub)
    }

    fn start_agent(&self, member: &str) -> Running {
        let key = format!("{}_HA_AGENT_CONNECTION_STRING", member.replace('-', "_").to_uppercase());
        let args =
            ["agent", "--pool=press_1", "--connection-string-env=KEY", "--stop-ms=500", "--state-dir", member, "--"];
        let variables = [
            ("KEY", self.env[&key].as_str()),
            ("HA_AGENT_CA_FILE", self.env["IOTHUB_CA_FILE"].as_str()),
            ("HA_AGENT_MQTT_PORT", port(&self.env["EMULATOR_MQTT"])),
        ];
        self.stage.start_with(&[&args[..], &["sh", "-c", WORKLOAD]].concat(), &variables)
    }

    fn run(&self, args: &[&str]) -> Ran {
        let mut command = self.stage.command(args);
        command.args(["--config", &self.config]).envs(self.service());
        Ran::from(command.output().expect("the program starts"))
    }

    fn start_controller(&self) -> Running {
        self.stage.start_with(&["run", "--config", &self.config], &self.service())
    }

    fn service(&self) -> [(&str, &str); 1] {
        [("IOTEDGE_HA_CONNECTION_STRING", &self.env["IOTHUB_CONNECTION_STRING"])]
    }

    /// The terms that were run and who ran them, once the last one is as wanted. A lease that was lost and renewed shows as one term.
    fn wait_for(&self, wanted: impl Fn(u64, &str) -> bool) -> Vec<(u64, String)> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let text = std::fs::read_to_string(self.stage.folder().join("terms")).unwrap_or_default();
            assert!(!text.contains("two"), "two ran at once:\n{text}");
            let mut terms: Vec<(u64, String)> = text.lines().map(run).collect();
            terms.dedup();
            if terms.last().is_some_and(|(term, member)| wanted(*term, member)) {
                return terms;
            }
            assert!(Instant::now() < deadline, "{terms:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Starts the hub where it was, with that state.
    fn restart_hub(&self, state: &Path) -> Running {
        let (https, mqtt) = (port(&self.env["EMULATOR_HTTPS"]), port(&self.env["EMULATOR_MQTT"]));
        let state = state.display().to_string();
        let args = ["emulator", "--https-port", https, "--mqtt-port", mqtt, "--print-env", "--state", &state];
        let mut hub = self.stage.start(&args);
        hub.wait_for_variables("IOTHUB_RESOURCE_ID");
        hub
    }
}

fn run(line: &str) -> (u64, String) {
    let (term, member) = line.split_once(' ').expect("a term and a member");
    (term.parse().expect("a term"), member.to_owned())
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("the hub's state").flatten() {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).expect("a copy");
        }
    }
}

#[test]
fn a_hub_that_has_forgotten_a_change_of_holder_lets_nobody_run_beside_the_other() {
    let (site, hub) = Site::open();
    let _agents: Vec<Running> = MEMBERS.map(|member| site.start_agent(member)).into();
    let controller = site.start_controller();
    site.wait_for(|_, _| true);
    site.run(&["switchover", "press_1", "--to", "edge-b", "--yes"]).expect(0);
    site.wait_for(|_, member| member == "edge-b");
    let known = site.stage.folder().join("known");
    hub.freeze();
    copy(&site.stage.folder().join("hub"), &known);
    hub.signal("CONT");
    site.run(&["rotate-keys", "press_1"]).expect(0);
    site.run(&["switchover", "press_1", "--to", "edge-c", "--yes"]).expect(0);
    let (forgotten, _) = site.wait_for(|_, member| member == "edge-c").pop().expect("the last one");

    // The lease of that term outlasts the hub, and the one controller that granted it.
    controller.signal("KILL");
    controller.wait();
    hub.signal("KILL");
    hub.wait();
    let _hub = site.restart_hub(&known);
    let shown = site.run(&["show", "press_1", "--json"]).expect(0);
    let shown: serde_json::Value = serde_json::from_str(&shown.stdout).expect("JSON");
    assert!(shown["term"].as_u64().is_some_and(|term| term < forgotten), "the hub has forgotten the term: {shown:#}");
    let _controller = site.start_controller();
    let terms = site.wait_for(|term, _| term > forgotten);
    assert!(terms.is_sorted_by(|one, next| one.0 < next.0), "no term is run twice: {terms:?}");
}
