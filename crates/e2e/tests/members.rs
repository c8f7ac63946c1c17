//! The guide to members, run as it stands: a pool is made, devices join, leave and take each other's place, keys change.

use iotedge_ha_e2e::{Ran, Stage, guide, port};

/// Agents on all four devices, as a deployment or systemd would run them; the first three for the guide's pool from the beginning.
const AGENTS: &str = "\
set -m
for d in a b c d; do
    iotedge-ha agent --pool press_1 --state-dir ./edge-$d --connection-string-env EDGE_${d^^}_HA_AGENT_CONNECTION_STRING \\
        -- sleep 600 > agent-$d.txt 2>&1 &
done
set +m
";

#[test]
fn the_guide_to_members_runs() {
    let stage = Stage::default();
    let devices = ["a", "b", "c", "d"].map(|name| format!("--device=edge-{name}:edge:ha-agent"));
    let (_hub, env) = stage.start_hub(&devices.each_ref().map(String::as_str), "EDGE_D_HA_AGENT_CONNECTION_STRING");
    stage.file("line.json", include_str!("../../deployment/tests/samples/test_edge_deployment_v11.json"));
    let mqtt_port = port(&env["EMULATOR_MQTT"]);
    let keys = env.iter().filter(|(name, _)| name.ends_with("_CONNECTION_STRING"));
    let mut variables: Vec<(&str, &str)> = keys.map(|(name, value)| (name.as_str(), value.as_str())).collect();
    variables.extend([
        ("IOTEDGE_HA_CONNECTION_STRING", env["IOTHUB_CONNECTION_STRING"].as_str()),
        ("IOTEDGE_HA_HUB_CA_FILE", env["IOTHUB_CA_FILE"].as_str()),
        ("HA_AGENT_CA_FILE", env["IOTHUB_CA_FILE"].as_str()),
        ("HA_AGENT_MQTT_PORT", mqtt_port),
    ]);
    let ran = guide::run(&stage, "guides/members.md", AGENTS, &variables);
    let log = |name: &str| std::fs::read_to_string(stage.folder().join(name)).unwrap_or_default();
    assert_eq!(ran.code, Some(0), "{}\n{}\n{}", ran.stdout, ran.stderr, log("stays-53.log"));

    let config = log("iotedge-ha.toml");
    assert!(config.starts_with("# The site in Moers.\n"), "{config}");
    assert!(config.contains("members = [\"edge-d\", \"edge-c\"]"), "{config}");
    assert!(log("line-ha.json").contains("HA_AGENT_HTTP_ADDR"));
    assert_eq!(ran.stdout.lines().filter(|line| line.ends_with(": changed")).count(), 2, "{}", ran.stdout);

    // Who has left is unknown to the pool, and a stranger is told apart from both.
    let run = |args: &[&str]| {
        let mut command = stage.command(args);
        Ran::from(command.envs(variables.iter().copied()).output().expect("the program starts"))
    };
    run(&["leave", "press_1", "edge-a", "--yes"])
        .expect(2)
        .says("edge-a is no member of press_1")
        .says("edge-d, edge-c");
    run(&["init", "press_1", "--json"]).expect(0).says("everything is there at the hub");
    run(&["init", "press_1", "--devices", "edge-a,edge-x"]).expect(2).says("the members of press_1 are edge-d, edge-c");
    run(&["init", "oven", "--devices", "edge-b,edge-x"])
        .expect(1)
        .says("edge-x: there is no such device")
        .says("--create");
    run(&["init", "oven", "--devices", "edge-c"]).expect(2).says("edge-c is in another pool already");
    run(&["leave", "press_1", "edge-d"]).expect(2).says("--yes");
    run(&["leave", "press_1", "edge-d", "--fenced"]).expect(2).says("--fenced needs --yes");
    let dry = run(&["leave", "press_1", "edge-d", "--dry-run", "--json"]).expect(0);
    assert_eq!(dry.json_lines()[0]["left"], false);
    // No controller runs: nothing is taken from a member that one may still count on.
    run(&["leave", "press_1", "edge-d", "--yes", "--timeout-s", "1"]).expect(5);
    run(&["rotate-keys", "press_1", "--member", "edge-x"]).expect(2).says("edge-x is no member of press_1");
    run(&["rotate-keys", "--timeout-s", "0"]).expect(5).says("the old keys work until then");
}
