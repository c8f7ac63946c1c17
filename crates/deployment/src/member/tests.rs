use serde_json::json;

use super::*;
use crate::diff::diff;

fn healthy() -> Value {
    serde_json::from_str(include_str!("../../tests/samples/edgeagent_twin_healthy.synthetic.json")).expect("JSON")
}

fn read(agent: &Value) -> Member {
    let agent: Twin = serde_json::from_value(agent.clone()).expect("a twin");
    Member::read(&agent, None, [])
}

/// The sample with something else at a JSON pointer.
fn with(pointer: &str, value: Value) -> Value {
    let mut twin = healthy();
    let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
    twin.pointer_mut(parent).and_then(Value::as_object_mut).expect("it is there").insert(key.to_owned(), value);
    twin
}

const DESIRED: &str = "/properties/desired";
const REPORTED: &str = "/properties/reported";

#[test]
fn a_healthy_device_runs_what_it_is_told() {
    let member = read(&healthy());
    assert_eq!(member.astray(), None);
    assert_eq!(member.agent, Uptake::Taken);
    assert_eq!(member.differences(), []);
    assert_eq!(member.deployments["ha-base-7"], "Applied");
    assert_eq!(member.modules["workload"].status, "running");
}

#[test]
fn what_is_astray_is_said_in_one_sentence() {
    let said = |pointer: &str, value: Value| read(&with(pointer, value)).astray().unwrap_or_default();
    assert_eq!(said(&format!("{REPORTED}/modules/workload/settings/image"), json!("workload:9")), "workload image");
    assert_eq!(said(&format!("{REPORTED}/modules"), json!({})), "ha-agent image and 8 more");
    assert_eq!(
        said(&format!("{DESIRED}/$version"), json!(12)),
        "$edgeAgent is at version 11 of its properties, 12 is told"
    );
    let refused = json!({"code": 412, "description": "schema\nversion"});
    assert_eq!(
        said(&format!("{REPORTED}/lastDesiredStatus"), refused),
        "$edgeAgent answers with status 412: schema version"
    );
    assert_eq!(said(REPORTED, json!({})), "$edgeAgent has never reported");
    // Stopped in an orderly way: that says nothing of the content.
    assert_eq!(said(&format!("{REPORTED}/lastDesiredStatus"), json!({"code": 406, "description": "shut down"})), "");
    assert_eq!(said(DESIRED, json!({})), "");
}

#[test]
fn what_is_no_content_makes_no_difference() {
    let digest = |twin: &Value| read(twin).told.digest();
    let original = digest(&healthy());
    let workload = format!("{DESIRED}/modules/workload");
    for (pointer, value) in [
        (format!("{DESIRED}/$version"), json!(99)),
        (format!("{workload}/configuration"), json!({"id": "other"})),
        (format!("{workload}/imagePullPolicy"), json!("on-create")),
        (format!("{workload}/startupOrder"), json!(4_294_967_295_u32)),
        (format!("{workload}/env"), json!({})),
        (format!("{workload}/settings/createOptions"), json!("{}")),
        (
            format!("{DESIRED}/runtime/settings/registryCredentials"),
            json!({"r": {"username": "u", "password": "p", "address": "a"}}),
        ),
    ] {
        assert_eq!(digest(&with(&pointer, value)), original, "{pointer}");
    }
    for (pointer, value) in [
        (format!("{workload}/settings/image"), json!("workload:3")),
        (format!("{workload}/settings/createOptions"), json!("{\"Hostname\":\"x\"}")),
        (format!("{workload}/env"), json!({"MODE": {"value": "fast"}})),
        (format!("{workload}/status"), json!("stopped")),
        (format!("{workload}/restartPolicy"), json!("never")),
        (format!("{workload}/startupOrder"), json!(7)),
    ] {
        assert_ne!(digest(&with(&pointer, value)), original, "{pointer}");
    }
}

#[test]
fn pieces_and_the_order_of_keys_make_no_difference() {
    let options = |settings: Value| read(&with(&format!("{DESIRED}/modules/workload/settings"), settings)).told;
    let whole =
        options(json!({"image": "w", "createOptions": "{\"HostConfig\":{\"Binds\":[\"a:b\"]},\"Hostname\":\"x\"}"}));
    let pieces = options(
        json!({"createOptions": "{\"Hostname\": \"x\", \"HostConfig\":{\"Bin", "createOptions01": "ds\":[\"a:b\"]}}", "image": "w"}),
    );
    assert_eq!(whole.digest(), pieces.digest());
    let other =
        options(json!({"image": "w", "createOptions": "{\"HostConfig\":{\"Binds\":[\"a:c\"]},\"Hostname\":\"x\"}"}));
    let said: Vec<String> = diff(&whole.modules, &other.modules).iter().map(ToString::to_string).collect();
    assert_eq!(said, ["workload createOptions.HostConfig.Binds: [\"a:b\"] | [\"a:c\"]"]);
}

#[test]
fn our_own_keys_and_secrets_stay_out_of_sight() {
    let agent: Twin = serde_json::from_value(healthy()).expect("a twin");
    let twin = |desired: Value| {
        serde_json::from_value::<Twin>(json!({"deviceId": "d", "moduleId": "m", "properties": {"desired": desired}}))
            .expect("a twin")
    };
    let told = |desired: Value| Member::read(&agent, None, [("m", &twin(desired))]).told;
    assert_eq!(told(json!({"ha": {"term": 1}})).digest(), told(json!({"ha": {"term": 2}})).digest());
    let (left, right) = (told(json!({"api_key": "hush", "n": 1})), told(json!({"api_key": "quiet", "n": 2})));
    let said: Vec<String> = diff(&left.twins, &right.twins).iter().map(ToString::to_string).collect();
    assert!(said[0].starts_with("m desired.api_key: (hidden") && !said[0].contains("hush"), "{said:?}");
    assert_eq!(said[1], "m desired.n: 1 | 2");
}

#[test]
fn hostile_twins_do_no_harm() {
    for reported in [
        json!(null),
        json!([]),
        json!({"modules": 3}),
        json!({"modules": {"m": []}, "systemModules": {"edgeHub": {"settings": 1}}}),
    ] {
        let twin = with(REPORTED, reported.as_object().map_or(json!({}), |map| json!(map)));
        let _ = read(&twin).astray();
    }
    let told = with(&format!("{DESIRED}/modules/workload/settings/createOptions"), json!("{{"));
    assert!(read(&told).astray().expect("it differs").contains("createOptions"));
}
