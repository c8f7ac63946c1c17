//! Stories of deployments, without waiting.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::super::{DeviceBody, Dice, Effect, Expect, Hub, Id, ModuleBody};
use super::Evaluated;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).expect("a time")
}

/// Two edge devices and a leaf, tagged.
fn hub() -> Hub {
    let mut hub = Hub::new(Dice::new([5; 32]), SignedDuration::ZERO);
    for (id, edge, site) in [("e1", true, "m1"), ("e2", true, "m2"), ("leaf", false, "m1")] {
        let body = DeviceBody::read(json!({"capabilities": {"iotEdge": edge}})).expect("a body");
        hub.put_device(id, &body, &Expect::Nothing, at(0)).expect("made");
        tag(&mut hub, id, json!({ "site": site }));
    }
    hub
}

fn tag(hub: &mut Hub, id: &str, tags: Value) {
    hub.patch_twin(&Id::device(id), &json!({ "tags": tags }), &Expect::Nothing, at(0)).expect("tagged");
}

fn put(hub: &mut Hub, id: &str, condition: &str, priority: i64, content: Value, second: i64) {
    let body = json!({"content": content, "targetCondition": condition, "priority": priority});
    hub.put_configuration(id, body, &Expect::Nothing, at(second)).expect("stored");
}

fn base(image: &str, modules: Value) -> Value {
    json!({"modulesContent": {
        "$edgeAgent": {"properties.desired": {"image": image, "modules": modules}},
        "$edgeHub": {"properties.desired": {"routes": {}}}}})
}

fn layer(module: &str, settings: Value) -> Value {
    json!({"modulesContent": {
        "$edgeAgent": {format!("properties.desired.modules.{module}"): {"type": "docker"}},
        "$edgeHub": {format!("properties.desired.routes.{module}"): "FROM /* INTO $upstream"},
        module: {"properties.desired.settings": settings}}})
}

fn desired(hub: &Hub, device: &str, module: &str) -> Value {
    let mut twin = hub.twin(&Id::module(device, module)).expect("a twin");
    let mut desired = twin["properties"]["desired"].take();
    let map = desired.as_object_mut().expect("an object");
    map.remove("$metadata");
    map.remove("$version");
    desired
}

fn status(hub: &Hub, id: &Id, configuration: &str) -> Value {
    hub.twin(id).expect("a twin")["configurations"][configuration]["status"].clone()
}

fn agent(device: &str) -> Id {
    Id::module(device, "$edgeAgent")
}

fn results(hub: &Hub, id: &str) -> Value {
    hub.configuration(id).expect("there").body["systemMetrics"]["results"].clone()
}

#[test]
fn the_highest_priority_wins_and_the_newer_among_equals() {
    let mut hub = hub();
    put(&mut hub, "low", "*", 1, base("low", json!({})), 1);
    put(&mut hub, "old", "tags.site = 'm1'", 5, base("old", json!({})), 2);
    put(&mut hub, "new", "tags.site = 'm1'", 5, base("new", json!({})), 3);
    hub.evaluate(at(4));
    assert_eq!(desired(&hub, "e1", "$edgeAgent")["image"], "new");
    assert_eq!(desired(&hub, "e2", "$edgeAgent")["image"], "low");
    for (configuration, shown) in [("new", json!("Applied")), ("old", json!("Targeted")), ("low", json!("Targeted"))] {
        assert_eq!(status(&hub, &agent("e1"), configuration), shown, "{configuration}");
    }
    assert_eq!(status(&hub, &agent("e2"), "new"), Value::Null);
    hub.delete_configuration("new", &Expect::Any).expect("deleted");
    hub.evaluate(at(5));
    assert_eq!(desired(&hub, "e1", "$edgeAgent")["image"], "old");
    assert_eq!(status(&hub, &agent("e1"), "old"), "Applied");
}

#[test]
fn layers_stand_on_a_base_of_lower_priority() {
    let mut hub = hub();
    put(&mut hub, "l2", "*", 20, layer("a", json!({"x": 2})), 1);
    hub.evaluate(at(2));
    assert_eq!(desired(&hub, "e1", "$edgeAgent"), json!({}));
    assert_eq!(status(&hub, &agent("e1"), "l2"), "Targeted");
    put(&mut hub, "base", "tags.site = 'm1'", 10, base("1.5", json!({"own": {}})), 3);
    put(&mut hub, "l1", "*", 15, layer("a", json!({"x": 1, "y": 1})), 4);
    put(&mut hub, "under", "*", 10, layer("b", json!({})), 5);
    hub.evaluate(at(6));
    let agent_wants = json!({"image": "1.5", "modules": {"own": {}, "a": {"type": "docker"}}});
    assert_eq!(desired(&hub, "e1", "$edgeAgent"), agent_wants);
    assert_eq!(desired(&hub, "e1", "a"), json!({"settings": {"x": 2}}));
    assert_eq!(desired(&hub, "e1", "$edgeHub"), json!({"routes": {"a": "FROM /* INTO $upstream"}}));
    assert!(hub.exists(&Id::module("e1", "own")) && !hub.exists(&Id::module("e1", "b")));
    for (configuration, shown) in [("base", "Applied"), ("l1", "Applied"), ("l2", "Applied"), ("under", "Targeted")] {
        assert_eq!(status(&hub, &agent("e1"), configuration), shown, "{configuration}");
    }
    assert!(!hub.exists(&Id::module("e2", "a")), "no base, no layers");
}

#[test]
fn what_a_deployment_owns_is_put_back_and_the_rest_is_left_alone() {
    let mut hub = hub();
    put(&mut hub, "base", "*", 1, base("1.5", json!({"free": {}})), 1);
    put(&mut hub, "l", "*", 2, layer("part", json!({"x": 1})), 1);
    hub.evaluate(at(2));
    hub.take_effects();
    let edit = |hub: &mut Hub, module: &str, body: Value| {
        let body = json!({"properties": {"desired": body}});
        hub.patch_twin(&Id::module("e1", module), &body, &Expect::Nothing, at(3)).expect("patched");
    };
    edit(&mut hub, "free", json!({"anything": 1}));
    edit(&mut hub, "part", json!({"mine": 1, "settings": {"x": 9, "z": 9}}));
    hub.take_effects();
    let done = hub.evaluate(at(4));
    assert_eq!(done, Evaluated { twins_written: 1, ..Evaluated::default() });
    assert_eq!(desired(&hub, "e1", "free"), json!({"anything": 1}));
    assert_eq!(desired(&hub, "e1", "part"), json!({"mine": 1, "settings": {"x": 1}}));
    // The device hears of what changed, not of everything.
    let part = Id::module("e1", "part");
    let version = hub.twin(&part).expect("a twin")["properties"]["desired"]["$version"].as_u64().expect("a number");
    let body = json!({"settings": {"x": 1, "z": null}, "$version": version});
    let told = hub.take_effects().into_iter().filter(|effect| matches!(effect, Effect::Desired { .. }));
    assert_eq!(told.collect::<Vec<_>>(), [Effect::Desired { id: part, version, body }]);
}

#[test]
fn whoever_is_no_longer_targeted_keeps_what_it_has() {
    let mut hub = hub();
    put(&mut hub, "base", "tags.site = 'm1'", 1, base("1.5", json!({"m": {"v": 1}})), 1);
    hub.evaluate(at(2));
    let before = desired(&hub, "e1", "$edgeAgent");
    tag(&mut hub, "e1", json!({"site": "m9"}));
    hub.evaluate(at(3));
    assert_eq!(desired(&hub, "e1", "$edgeAgent"), before);
    assert_eq!(status(&hub, &agent("e1"), "base"), Value::Null);
    assert_eq!(results(&hub, "base")["targetedCount"], 0);
    tag(&mut hub, "e1", json!({"site": "m1"}));
    hub.evaluate(at(4));
    hub.delete_configuration("base", &Expect::Any).expect("deleted");
    hub.evaluate(at(5));
    assert_eq!(desired(&hub, "e1", "$edgeAgent"), before);
    assert!(hub.exists(&Id::module("e1", "m")));
    assert_eq!(hub.twin(&agent("e1")).expect("a twin").get("configurations"), None);
}

#[test]
fn metrics_count_what_the_queries_find() {
    let mut hub = hub();
    let body = json!({"content": base("1.5", json!({})), "targetCondition": "tags.site = 'm1' OR tags.site = 'm2'",
        "metrics": {"queries": {"tagged": "SELECT deviceId FROM devices WHERE tags.site = 'm1'"}}});
    hub.put_configuration("base", body, &Expect::Nothing, at(1)).expect("stored");
    assert_eq!(results(&hub, "base"), json!({}));
    hub.evaluate(at(2));
    let counts = |targeted, applied, good, bad| {
        json!({"targetedCount": targeted, "appliedCount": applied,
            "reportedSuccessfulCount": good, "reportedFailedCount": bad})
    };
    assert_eq!(results(&hub, "base"), counts(2, 2, 0, 0));
    assert_eq!(hub.configuration("base").expect("there").body["metrics"]["results"], json!({"tagged": 2}));
    for (device, code) in [("e1", 200), ("e2", 412)] {
        let version = hub.twin(&agent(device)).expect("a twin")["properties"]["desired"]["$version"].clone();
        let report = json!({"lastDesiredVersion": version, "lastDesiredStatus": {"code": code}});
        hub.report(&agent(device), report.as_object().expect("an object"), at(3)).expect("reported");
    }
    let etag = hub.configuration("base").expect("there").etag;
    hub.evaluate(at(4));
    assert_eq!(results(&hub, "base"), counts(2, 2, 1, 1));
    assert_eq!(hub.configuration("base").expect("there").etag, etag);
}

#[test]
fn device_and_module_configurations_are_merged_by_priority() {
    let mut hub = hub();
    let device = |value: Value| json!({"deviceContent": {"properties.desired.a": value}});
    put(&mut hub, "low", "*", 1, device(json!({"x": 1})), 1);
    put(&mut hub, "high", "tags.site = 'm1'", 2, device(json!({"x": 2})), 1);
    put(&mut hub, "other", "deviceId = 'leaf'", 0, json!({"deviceContent": {"properties.desired.b": 3}}), 1);
    hub.put_module("leaf", "thermo", &ModuleBody::default(), &Expect::Nothing, at(1)).expect("made");
    let module = json!({"moduleContent": {"properties.desired.every.s": 5}});
    put(&mut hub, "mods", "FROM devices.modules WHERE moduleId = 'thermo'", 1, module.clone(), 1);
    put(&mut hub, "all-mods", "*", 1, module, 1);
    hub.evaluate(at(2));
    let leaf = Id::device("leaf");
    let twin = hub.twin(&leaf).expect("a twin");
    assert_eq!(
        (&twin["properties"]["desired"]["a"], &twin["properties"]["desired"]["b"]),
        (&json!({"x": 2}), &json!(3))
    );
    for (configuration, shown) in [("high", "Applied"), ("low", "Targeted"), ("other", "Applied")] {
        assert_eq!(status(&hub, &leaf, configuration), shown, "{configuration}");
    }
    assert_eq!(desired(&hub, "leaf", "thermo"), json!({"every": {"s": 5}}));
    assert_eq!(status(&hub, &Id::module("leaf", "thermo"), "mods"), "Applied");
    assert_eq!(status(&hub, &agent("e1"), "all-mods"), Value::Null, "the runtime's own are not configured");
    assert_eq!(results(&hub, "mods"), json!({"targetedCount": 1, "appliedCount": 1}));
    assert_eq!(results(&hub, "low"), json!({"targetedCount": 3, "appliedCount": 1}));
}

#[test]
fn a_module_that_a_deployment_makes_is_configured_in_the_same_round() {
    let mut hub = hub();
    put(&mut hub, "base", "deviceId = 'e1'", 1, base("1.5", json!({"m": {}})), 1);
    let module = json!({"moduleContent": {"properties.desired.speed": 5}});
    put(&mut hub, "mods", "moduleId = 'm'", 1, module, 1);
    assert_eq!(hub.evaluate(at(2)).modules_made, 1);
    assert_eq!(desired(&hub, "e1", "m"), json!({"speed": 5}));
    assert_eq!(hub.evaluate(at(3)), Evaluated::default());
}

#[test]
fn a_device_without_room_keeps_what_it_has() {
    let mut hub = hub();
    for n in 0..49 {
        hub.put_module("e1", &format!("own{n}"), &ModuleBody::default(), &Expect::Nothing, at(1)).ok();
    }
    let before = desired(&hub, "e1", "$edgeAgent");
    let modules: serde_json::Map<String, Value> = (0..3).map(|n| (format!("m{n}"), json!({}))).collect();
    put(&mut hub, "base", "*", 1, base("1.5", Value::Object(modules)), 1);
    hub.evaluate(at(2));
    assert_eq!(desired(&hub, "e1", "$edgeAgent"), before);
    assert_eq!(status(&hub, &agent("e1"), "base"), "Targeted");
    assert_eq!(status(&hub, &agent("e2"), "base"), "Applied");
}

#[test]
fn layers_that_grow_too_big_together_are_not_in_force() {
    let mut hub = hub();
    put(&mut hub, "base", "*", 1, base("1.5", json!({})), 1);
    for (n, priority) in [(1, 2), (2, 3)] {
        let blocks: Vec<String> = (0..5).map(|_| "x".repeat(4000)).collect();
        let content = json!({"modulesContent": {"$edgeAgent": {format!("properties.desired.big{n}"): blocks}}});
        put(&mut hub, &format!("big{n}"), "*", priority, content, 1);
    }
    hub.evaluate(at(2));
    assert_eq!(status(&hub, &agent("e1"), "base"), "Targeted");
    assert_eq!(desired(&hub, "e1", "$edgeAgent"), json!({}));
    assert_eq!(desired(&hub, "e1", "$edgeHub"), json!({}), "all of it or nothing");
}
