//! The guide from flags to a lease: its commands, as they stand, on two stand-ins for IoT Edge devices.

use iotedge_ha_e2e::{Stage, guide, port};

/// `systemctl restart iotedge-ha` without systemd. The controller has a process group of its own, by which it is ended with the guide.
const SYSTEMCTL: &str = r#"
sudo() { "$@"; }
systemctl() {
    if [ -n "${controller:-}" ]; then kill "$controller"; wait "$controller" || true; fi
    set -m
    iotedge-ha run --config pool.toml >> controller.log 2>&1 &
    controller=$!
    set +m
}
"#;

#[test]
fn the_guide_from_flags_to_a_lease() {
    let stage = Stage::default();
    let folder = |name: &str| stage.folder().join(name).display().to_string();
    let devices = ["--device=edge-a:edge:ha-agent,press", "--device=edge-b:edge:ha-agent,press"];
    let (_hub, hub_env) = stage.start_hub(&devices, "EDGE_B_HA_AGENT_CONNECTION_STRING");
    let mqtt_port = port(&hub_env["EMULATOR_MQTT"]);
    let string = hub_env["IOTHUB_CONNECTION_STRING"].as_str();
    let service = [("IOTHUB_CONNECTION_STRING", string), ("IOTHUB_CA_FILE", hub_env["IOTHUB_CA_FILE"].as_str())];

    let mut running = Vec::new();
    for (member, key) in [("edge-a", "EDGE_A"), ("edge-b", "EDGE_B")] {
        let device = format!("--device={member}");
        let args =
            ["emulator", "edge-hub", &device, "--mqtt-port=0", "--https-port=0", "--module=press", "--print-env"];
        let more = ["--hub-mqtt-port", mqtt_port, "--state", &folder(&format!("{member}-edge"))];
        let mut edge = stage.start_with(&[&args[..], &more].concat(), &service);
        edge.wait_for_variables("IOTEDGE_APIVERSION");
        running.push(edge);

        let state = folder(&format!("{member}-agent"));
        let args = [
            "agent",
            "--pool=press_1",
            "--connection-string-env=KEY",
            "--http-addr=127.0.0.1:0",
            "--state-dir",
            &state,
        ];
        let key = hub_env[&format!("{key}_HA_AGENT_CONNECTION_STRING")].as_str();
        let more = [("KEY", key), ("HA_AGENT_CA_FILE", service[1].1), ("HA_AGENT_MQTT_PORT", mqtt_port)];
        running.push(stage.start_with(&args, &more));
    }
    let ran = guide::run(&stage, "guides/from-flag-to-lease.md", SYSTEMCTL, &service).expect(0);
    assert!(ran.stdout.contains("not fenced") && ran.stdout.contains("edge-b"), "{}", ran.stdout);
    let (_, last) = ran.stdout.rsplit_once("POOL").expect("a table at the end");
    assert!(!last.contains("not fenced"), "{last}");
}
