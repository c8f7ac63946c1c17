use super::*;

fn configuration(name: &str, labels: &Value, minute: u32) -> Configuration {
    let module =
        json!({"type": "docker", "status": "running", "restartPolicy": "always", "settings": {"image": "press:1"}});
    let agent = json!({"schemaVersion": "1.1", "runtime": {"type": "docker", "settings": {}},
        "systemModules": {"edgeAgent": {"type": "docker", "settings": {"image": "agent:1"}}, "edgeHub": module}, "modules": {}});
    let hub = json!({"schemaVersion": "1.1", "routes": {}});
    let content = json!({"modulesContent": {
        "$edgeAgent": {"properties.desired": agent}, "$edgeHub": {"properties.desired": hub}}});
    let of_name = json!({"id": format!("ha-press_1-{name}"), "labels": labels, "content": content, "priority": 10,
        "lastUpdatedTimeUtc": format!("2026-01-01T00:{minute:02}:00Z")});
    serde_json::from_value(of_name).expect("it has the shape of one")
}

/// What `--resume` or `--rollback` would do, the last change having been to v2 with these labels.
fn asked(phase: &str, back: bool) -> String {
    let v1 = configuration("v1", &json!({"ha_phase": "done"}), 1);
    let v2 = configuration("v2", &json!({"ha_phase": phase, "ha_before": "ha-press_1-v1"}), 2);
    match rollout(&Survey::of("press_1", vec![v1, v2]), Part::Base, back) {
        Ok(found) => format!("{} {}", if found.is_way_back { "back to" } else { "on to" }, found.release.id()),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_roll_out_goes_on_in_the_direction_in_which_it_was_going() {
    for (phase, resumed, rolled_back) in [
        ("rolling", "on to ha-press_1-v2", "back to ha-press_1-v1"),
        ("stopped", "on to ha-press_1-v2", "back to ha-press_1-v1"),
        ("done", "the roll-out of ha-press_1-v2 is over: there is nothing to resume", "back to ha-press_1-v1"),
        ("rolling_back", "back to ha-press_1-v2", "back to ha-press_1-v2"),
        (
            "rolled_back",
            "the roll-out of ha-press_1-v2 is over: there is nothing to resume",
            "the members have been taken back to ha-press_1-v2 already",
        ),
    ] {
        assert_eq!([asked(phase, false), asked(phase, true)], [resumed, rolled_back], "{phase}");
    }
}
