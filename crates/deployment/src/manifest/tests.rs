use expect_test::{Expect, expect};
use serde_json::json;

use super::*;

fn full() -> Value {
    json!({"modulesContent": {
        "$edgeAgent": {"properties.desired": {
            "schemaVersion": "1.1",
            "runtime": {"type": "docker", "settings": {}},
            "systemModules": {
                "edgeAgent": {"type": "docker", "settings": {"image": "agent:1.5"}},
                "edgeHub": {"type": "docker", "status": "running", "restartPolicy": "always", "settings": {"image": "hub:1.5"}}},
            "modules": {
                "workload": {"type": "docker", "status": "running", "restartPolicy": "always", "settings": {"image": "workload:1.0"}},
                "ha-agent": {"type": "docker", "status": "running", "restartPolicy": "always", "settings": {"image": "agent:0.1"},
                    "env": {"HA_AGENT_POOL": {"value": "press_1"}}}}}},
        "$edgeHub": {"properties.desired": {"schemaVersion": "1.1", "routes": {"up": "FROM /messages/* INTO $upstream"}}},
        "workload": {"properties.desired": {"speed": 3}}}})
}

fn layer(modules: Value) -> Value {
    json!({ "modulesContent": modules })
}

/// The full manifest with something else at a JSON pointer; `Null` takes it away.
fn with(pointer: &str, value: Value) -> Value {
    let mut manifest = full();
    let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
    let parent = manifest.pointer_mut(parent).and_then(Value::as_object_mut).expect("it is there");
    match value {
        Value::Null => drop(parent.shift_remove(key)),
        value => drop(parent.insert(key.to_owned(), value)),
    }
    manifest
}

fn check(manifest: &Value, expected: Expect) {
    let said = match Manifest::read(&manifest.to_string()) {
        Ok(manifest) => format!("{:?}", manifest.kind()),
        Err(err) => listed(&err),
    };
    expected.assert_eq(&said);
}

/// Without the hints: they say the same each time.
fn listed(err: &Error) -> String {
    let each = |p: &Problem| format!("{}: {}", p.path.trim_start_matches("/modulesContent/"), p.reason);
    err.problems().iter().map(each).collect::<Vec<_>>().join("\n")
}

const AGENT: &str = "/modulesContent/$edgeAgent/properties.desired";
const WORKLOAD: &str = "/modulesContent/$edgeAgent/properties.desired/modules/workload";

#[test]
fn published_samples_are_read() {
    for (text, kind) in [
        (include_str!("../../tests/samples/ha_full_manifest.synthetic.json"), Kind::Full),
        (include_str!("../../tests/samples/ha_layered_deployment.synthetic.json"), Kind::Layered),
        (include_str!("../../tests/samples/test_edge_deployment_v11.json"), Kind::Full),
        (include_str!("../../tests/samples/test_edge_deployment_layered.json"), Kind::Layered),
    ] {
        assert_eq!(Manifest::read(text).map(|manifest| manifest.kind()), Ok(kind));
    }
    check(&full(), expect!["Full"]);
}

#[test]
fn no_json_is_refused_by_line() {
    let said = |text: &str| Manifest::read(text).expect_err("refused").to_string();
    expect!["no JSON: EOF while parsing a value at line 1 column 0"].assert_eq(&said(""));
    expect!["no JSON: trailing characters at line 2 column 2"].assert_eq(&said("{\n}}"));
    expect![[r#"no JSON: the key "a" is there twice at line 2 column 8"#]].assert_eq(&said("{\"a\": 1,\n \"a\": 2}"));
    expect!["no JSON: recursion limit exceeded at line 1 column 128"].assert_eq(&said(&"[".repeat(10_000)));
    expect!["/modulesContent: expected an object with the content of each module, found none; give a deployment manifest; a template must be built first"].assert_eq(&said("[1]"));
}

#[test]
fn what_is_missing_is_named() {
    check(&json!({}), expect!["/modulesContent: expected an object with the content of each module, found none"]);
    check(
        &json!({"modulesContent": []}),
        expect!["/modulesContent: expected an object with the content of each module, found none"],
    );
    check(&json!({"modulesContent": {}}), expect!["/modulesContent: names no module"]);
    check(
        &with("/modulesContent/$edgeHub", Value::Null),
        expect![[r#"/modulesContent: "$edgeHub" is a required property"#]],
    );
    check(
        &with(&format!("{AGENT}/runtime"), Value::Null),
        expect![[r#"$edgeAgent/properties.desired: "runtime" is a required property"#]],
    );
    check(
        &with(&format!("{AGENT}/systemModules/edgeHub"), Value::Null),
        expect![[r#"$edgeAgent/properties.desired/systemModules: "edgeHub" is a required property"#]],
    );
    check(
        &with(&format!("{WORKLOAD}/settings/image"), Value::Null),
        expect![[r#"$edgeAgent/properties.desired/modules/workload/settings: "image" is a required property"#]],
    );
    check(
        &with(&format!("{WORKLOAD}/restartPolicy"), Value::Null),
        expect![[r#"$edgeAgent/properties.desired/modules/workload: "restartPolicy" is a required property"#]],
    );
}

#[test]
fn what_is_wrong_is_named() {
    check(
        &with(&format!("{AGENT}/schemaVersion"), json!("2.0")),
        expect!["$edgeAgent/properties.desired/schemaVersion: $edgeAgent knows the versions 1.0, 1.1, not this one"],
    );
    check(
        &with(&format!("{AGENT}/extra"), json!(1)),
        expect!["$edgeAgent/properties.desired: Additional properties are not allowed ('extra' was unexpected)"],
    );
    check(
        &with(&format!("{AGENT}/modules/two words"), json!({})),
        expect![[r#"
        $edgeAgent/properties.desired/modules: Additional properties are not allowed ('two words' was unexpected)
        $edgeAgent/properties.desired/modules/two words: a name in a twin has no . $ # blank or control character"#]],
    );
    check(
        &with(&format!("{WORKLOAD}/status"), json!("on")),
        expect![[
            r#"$edgeAgent/properties.desired/modules/workload/status: the value is not one of "running" or "stopped""#
        ]],
    );
    check(
        &with(&format!("{WORKLOAD}/startupOrder"), json!(-1)),
        expect!["$edgeAgent/properties.desired/modules/workload/startupOrder: the value is less than the minimum of 0"],
    );
    check(
        &with(&format!("{WORKLOAD}/settings/image"), json!("${MODULES.workload}")),
        expect![
            "$edgeAgent/properties.desired/modules/workload/settings/image: ${MODULES.workload} still has a placeholder"
        ],
    );
    check(
        &with(&format!("{WORKLOAD}/settings/image"), json!("")),
        expect!["$edgeAgent/properties.desired/modules/workload/settings/image: no image name"],
    );
    check(
        &with(&format!("{WORKLOAD}/env"), json!({"A.B": {"value": 1}})),
        expect![[r#"
        $edgeAgent/properties.desired/modules/workload/env: Additional properties are not allowed ('A.B' was unexpected)
        $edgeAgent/properties.desired/modules/workload/env/A.B: a name in a twin has no . $ # blank or control character"#]],
    );
    check(
        &with(&format!("{WORKLOAD}/env"), json!({"A": "plain"})),
        expect![[r#"$edgeAgent/properties.desired/modules/workload/env/A: the value is not of type "object""#]],
    );
    check(
        &with("/modulesContent/$edgeHub/properties.desired/routes/up", json!({"route": "x", "priority": 10})),
        expect![
            "$edgeHub/properties.desired/routes/up: the value is not valid under any of the schemas listed in the 'anyOf' keyword"
        ],
    );
}

#[test]
fn what_no_twin_holds_is_named() {
    check(
        &with("/modulesContent/workload/properties.reported", json!({})),
        expect!["workload/properties.reported: no such key"],
    );
    check(
        &with("/modulesContent/workload/properties.desired", json!(3)),
        expect!["workload/properties.desired: expected an object"],
    );
    check(
        &with(
            "/modulesContent/workload/properties.desired",
            json!({"a": {"b": {"c": {"d": {"e": {"f": {"g": {"h": {"i": {"j": {"k": 1}}}}}}}}}}}),
        ),
        expect!["workload/properties.desired/a/b/c/d/e/f/g/h/i/j/k: deeper than 10 levels"],
    );
    check(
        &with(
            "/modulesContent/workload/properties.desired",
            json!({"a.b": 1, "big": 4503599627370496_i64, "long": "x".repeat(5000)}),
        ),
        expect![[r#"
            workload/properties.desired/a.b: a name in a twin has no . $ # blank or control character
            workload/properties.desired/big: a number outside ±(2^52−1)
            workload/properties.desired/long: a text of 5000 bytes, a twin holds at most 4096"#]],
    );
}

#[test]
fn create_options_are_joined_and_read() {
    let settings = |value: Value| with(&format!("{WORKLOAD}/settings"), value);
    check(
        &settings(json!({"image": "w:1", "createOptions": "{\"HostConfig\":", "createOptions01": "{}}"})),
        expect!["Full"],
    );
    check(
        &settings(json!({"image": "w:1", "createOptions": "{\"HostConfig\":"})),
        expect![
            "$edgeAgent/properties.desired/modules/workload/settings/createOptions: the text is no JSON: EOF while parsing a value at line 1 column 14"
        ],
    );
    check(
        &settings(json!({"image": "w:1", "createOptions": "[]"})),
        expect![
            "$edgeAgent/properties.desired/modules/workload/settings/createOptions: the text holds JSON, but no object"
        ],
    );
    check(
        &settings(json!({"image": "w:1", "createOptions": "{}", "createOptions02": ""})),
        expect![
            "$edgeAgent/properties.desired/modules/workload/settings/createOptions02: piece 1 is missing, or there twice"
        ],
    );
    check(
        &settings(json!({"image": "w:1", "createOptions": {}})),
        expect![[
            r#"$edgeAgent/properties.desired/modules/workload/settings/createOptions: the value is not of type "string""#
        ]],
    );
}

#[test]
fn layers_are_held_against_the_schema_too() {
    let module =
        json!({"type": "docker", "status": "running", "restartPolicy": "always", "settings": {"image": "w:1"}});
    let agent = |value: Value| layer(json!({"$edgeAgent": {"properties.desired.modules.more": value}}));
    check(&agent(module), expect!["Layered"]);
    check(&agent(Value::Null), expect!["Layered"]);
    check(
        &agent(json!({"type": "docker", "settings": {"image": "w:1"}})),
        expect![[r#"
        $edgeAgent/properties.desired.modules.more: "restartPolicy" is a required property
        $edgeAgent/properties.desired.modules.more: "status" is a required property"#]],
    );
    check(
        &layer(json!({"$edgeAgent": {}, "$edgeHub": {"properties.desired.routes.r1": 7}})),
        expect![
            "$edgeHub/properties.desired.routes.r1: the value is not valid under any of the schemas listed in the 'anyOf' keyword"
        ],
    );
    check(
        &layer(json!({"$edgeAgent": {"properties.desired.modules..x": {}}})),
        expect!["$edgeAgent/properties.desired.modules..x: no such key"],
    );
}

#[test]
fn content_that_would_write_a_flag_is_refused() {
    check(
        &with("/modulesContent/ha-agent", json!({"properties.desired": {}})),
        expect![
            "ha-agent/properties.desired: sets the whole twin of ha-agent, an agent, and with it its flag and key: IoT Hub would assert that again and again"
        ],
    );
    check(
        &with("/modulesContent/workload/properties.desired", json!({"ha": {"active": true}})),
        expect![
            "workload/properties.desired: sets the flag and key of workload: IoT Hub would assert that again and again"
        ],
    );
    check(
        &layer(json!({"$edgeAgent": {}, "ha-agent": {"properties.desired.ha.active": true}})),
        expect![
            "ha-agent/properties.desired.ha.active: sets the flag and key of ha-agent: IoT Hub would assert that again and again"
        ],
    );
    let manifest = Manifest::read(&with("/modulesContent/guard", json!({"properties.desired": {}})).to_string());
    let manifest = manifest.expect("nothing says that it is an agent");
    assert_eq!(manifest.spare(&["ha-agent"]), Ok(()));
    assert!(manifest.spare(&["guard"]).is_err());
}

#[test]
fn too_many_modules_are_refused() {
    let module =
        json!({"type": "docker", "status": "running", "restartPolicy": "always", "settings": {"image": "w:1"}});
    let modules: Map<String, Value> = (0..51).map(|n| (format!("m{n}"), module.clone())).collect();
    check(
        &with(&format!("{AGENT}/modules"), json!(modules)),
        expect!["/modulesContent: 52 modules, a deployment has at most 50"],
    );
}

#[test]
fn secrets_do_not_show() {
    let manifest = with(
        &format!("{AGENT}/runtime/settings"),
        json!({"registryCredentials": {"acr": {
        "username": "u", "password": {"hush": "hush"}, "address": "a b"}}}),
    );
    let said = Manifest::read(&manifest.to_string()).expect_err("refused").to_string();
    assert!(said.contains("password") && !said.contains("hush"), "{said}");
}
