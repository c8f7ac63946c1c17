use serde_json::{Value, json};

use super::*;

fn module(image: &str) -> Value {
    json!({"type": "docker", "status": "running", "restartPolicy": "always", "settings": {"image": image}})
}

fn agent_section() -> Value {
    let system = json!({"type": "docker", "settings": {"image": "agent:1"}});
    json!({"schemaVersion": "1.1", "runtime": {"type": "docker", "settings": {}},
        "systemModules": {"edgeAgent": system, "edgeHub": module("hub:1")}, "modules": {"press": module("press:2")}})
}

fn manifest() -> Manifest {
    let content = json!({"modulesContent": {
        "$edgeAgent": {"properties.desired": agent_section()},
        "$edgeHub": {"properties.desired": {"schemaVersion": "1.1", "routes": {"up": "FROM /* INTO $upstream"}}}}});
    Manifest::from_content(&content).expect("a manifest")
}

/// The twins of a member on which all is well, with something else at a place of `$edgeAgent`'s.
fn said(pointer: &str, value: Value) -> String {
    let mut desired = agent_section();
    desired["$version"] = json!(4);
    let mut reported = agent_section();
    reported["lastDesiredVersion"] = json!(4);
    reported["lastDesiredStatus"] = json!({"code": 200, "description": ""});
    reported["modules"]["press"]["runtimeStatus"] = json!("running");
    let mut twin = json!({"deviceId": "edge-b", "moduleId": "$edgeAgent", "configurations": {"ha-press_1-v2": {"status": "Applied"}},
        "properties": {"desired": desired, "reported": reported}});
    let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
    twin.pointer_mut(parent).and_then(Value::as_object_mut).expect("it is there").insert(key.to_owned(), value);
    let edge_hub = json!({"deviceId": "edge-b", "moduleId": "$edgeHub",
        "properties": {"desired": {"schemaVersion": "1.1", "routes": {"up": "FROM /* INTO $upstream"}}}});
    let read = |twin: Value| serde_json::from_value::<ha_wire::Twin>(twin).expect("a twin");
    let member = Member::read(&read(twin), Some(&read(edge_hub)), []);
    shown(progress(&member, "ha-press_1-v2", &manifest(), &[]))
}

fn shown(progress: Progress) -> String {
    match progress {
        Progress::Runs => "runs".to_owned(),
        Progress::Waiting(why) => format!("waiting: {why}"),
        Progress::Unknown(why) => format!("unknown: {why}"),
        Progress::Failed(why) => format!("failed: {why}"),
    }
}

const PRESS: &str = "/properties/reported/modules/press";

#[test]
fn a_member_runs_the_release_when_every_sign_says_so() {
    assert_eq!(said("/etag", json!("x")), "runs");
    for (pointer, value, expected) in [
        ("/configurations", json!({}), "waiting: the hub has not targeted it yet (it evaluates every five minutes)"),
        (
            "/configurations",
            json!({"other": {"status": "Applied"}, "ha-press_1-v2": {"status": "Targeted"}}),
            "waiting: targeted, but other has its place",
        ),
        (
            "/properties/desired/modules",
            json!({"press": module("press:9")}),
            "waiting: another deployment sets press image otherwise",
        ),
        ("/properties/desired/$version", json!(5), "waiting: $edgeAgent is at version 4 of its properties, 5 is told"),
        ("/properties/reported", json!({}), "waiting: $edgeAgent has reported nothing of it"),
        (
            "/properties/reported/lastDesiredStatus",
            json!({"code": 400, "description": "no"}),
            "failed: $edgeAgent answers with status 400: no",
        ),
        (
            "/properties/reported/lastDesiredStatus",
            json!({"code": 500, "description": "pull"}),
            "waiting: $edgeAgent answers with status 500: pull",
        ),
        ("/properties/reported/modules", json!({}), "waiting: press image and 2 more"),
    ] {
        assert_eq!(said(pointer, value.clone()), expected, "{pointer} {value}");
    }
}

#[test]
fn a_module_that_does_not_run_is_named_with_what_the_engine_says() {
    let status = |status: &str| {
        let mut entry = module("press:2");
        entry["runtimeStatus"] = json!(status);
        entry["statusDescription"] = json!("it ended");
        entry["exitCode"] = json!(3);
        said(PRESS, entry)
    };
    assert_eq!(status("running"), "runs");
    assert_eq!(status("backoff"), "waiting: press is backoff, last exit code 3: it ended");
    assert_eq!(status("failed"), "failed: press is failed, last exit code 3: it ended");
    assert_eq!(status("unknown"), "waiting: press is unknown, last exit code 3: it ended");
}
