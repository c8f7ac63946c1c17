//! The samples for CI systems: they are YAML, and their steps run as they stand, at a hub whose pool nobody runs: each says so in its own way.

use std::collections::BTreeMap;

use iotedge_ha_e2e::{Ran, Stage};
use serde_json::Value;

fn parsed(text: &str) -> Value {
    serde_saphyr::from_str(text).expect("YAML")
}

/// The variables at `vars`, and each step with a name (`name`) and a command (`command`).
fn steps(
    sample: &Value,
    vars: &str,
    steps: &str,
    name: &str,
    command: &str,
) -> (Vec<(String, String)>, BTreeMap<String, String>) {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let variables = sample.pointer(vars).and_then(Value::as_object).expect("variables");
    let variables = variables.iter().map(|(name, value)| (name.clone(), text(value))).collect();
    let steps = sample.pointer(steps).and_then(Value::as_array).expect("steps");
    let named = steps.iter().filter_map(|step| Some((text(step.get(name)?), text(step.get(command)?))));
    (named.collect(), variables)
}

fn check(steps: &[(String, String)], variables: &BTreeMap<String, String>) {
    let stage = Stage::default();
    let (_hub, env) = stage.start_hub(&["--device=edge-a:edge", "--device=edge-b:edge"], "EDGE_B_CONNECTION_STRING");
    stage.file("iotedge-ha.toml", "[hub]\nsku = \"S1\"\n");
    stage.file("line.json", include_str!("../../deployment/tests/samples/test_edge_deployment_v11.json"));
    let bin = stage.programs();
    let bash = |command: &str| {
        let mut shell = stage.bare("bash");
        shell.args(["-euo", "pipefail", "-c", command]).env("PATH", &bin).envs(variables);
        shell.env("IOTEDGE_HA_CONNECTION_STRING", &env["IOTHUB_CONNECTION_STRING"]);
        shell.env("IOTEDGE_HA_HUB_CA_FILE", &env["IOTHUB_CA_FILE"]);
        Ran::from(shell.output().expect("bash starts"))
    };
    let pool = "iotedge-ha init press_1 --devices edge-a,edge-b --manifest line.json --output deployment.json --image reg.example.com/ha:1";
    bash(pool).expect(0);
    let names: Vec<_> = steps.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["Build", "Check", "Roll out", "Show the pool"]);
    for (name, command) in &steps[1..] {
        match name.as_str() {
            // No agent runs here, and a gate that does not close is none.
            "Check" => drop(bash(command).expect(1)),
            // It stops by itself where nobody holds; the press line (`examples/press-line`) rolls out for real.
            "Roll out" => {
                assert!(command.contains("--rolling"), "{command}");
                drop(bash(command).expect(3).says("nobody holds press_1"));
            }
            _ => assert!(bash(command).expect(0).stdout.contains("edge-b")),
        }
    }
    let found: Value =
        serde_json::from_slice(&std::fs::read(stage.folder().join("check.json")).expect("it is kept")).expect("JSON");
    assert!(found["errors"].as_u64().is_some_and(|errors| errors > 0));
}

#[test]
fn the_steps_for_github_actions_run() {
    let sample = parsed(include_str!("../../../deploy/ci/github-actions.yml"));
    assert!(sample["on"].is_object(), "a bare `on` is a word, not a truth");
    let (steps, variables) = steps(&sample, "/env", "/jobs/roll-out/steps", "name", "run");
    check(&steps, &variables);
}

#[test]
fn the_steps_for_azure_pipelines_run() {
    let sample = parsed(include_str!("../../../deploy/ci/azure-pipelines.yml"));
    let place = "/jobs/0/strategy/runOnce/deploy/steps";
    let (steps, variables) = steps(&sample, "/variables", place, "displayName", "bash");
    check(&steps, &variables);
}
