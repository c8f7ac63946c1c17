//! Configurations and edge deployments from outside.

use std::time::Duration;

use iotedge_ha_emulator::{Emulator, Options, Running, Seed};
use reqwest::Method;
use serde_json::{Value, json};

use crate::backend::Backend;
use crate::{eventually, hub};

/// A hub that evaluates only when told to.
async fn patient_hub() -> Running {
    let seed = vec![Seed::parse("edge-a:edge").expect("a seed")];
    let options = Options { seed, evaluation_interval: Duration::ZERO, ..Options::default() };
    Emulator::start(options).await.expect("a hub")
}

fn deployment(image: &str) -> Value {
    json!({"content": {"modulesContent": {
        "$edgeAgent": {"properties.desired": {"modules": {"work": {"settings": {"image": image}}}}},
        "$edgeHub": {"properties.desired": {"routes": {}}},
        "work": {"properties.desired": {"speed": 3}}}},
        "targetCondition": "deviceId='edge-a'", "priority": 1})
}

#[tokio::test]
async fn a_deployment_reaches_its_devices_by_itself() {
    let hub = hub().await;
    let backend = Backend::new(&hub);
    assert_eq!(backend.put("/configurations/dep1", deployment("v1")).await.status, 200);
    eventually("the deployment is applied", async || {
        let agent = backend.get("/twins/edge-a/modules/%24edgeAgent").await.body;
        agent["configurations"]["dep1"]["status"] == "Applied"
    })
    .await;
    let work = backend.get("/twins/edge-a/modules/work").await.body;
    assert_eq!(work["properties"]["desired"]["speed"], 3);
    let shown = backend.get("/configurations/dep1").await.body;
    assert_eq!(shown["systemMetrics"]["results"]["appliedCount"], 1);
}

#[tokio::test]
async fn a_short_interval_puts_edits_back() {
    let seed = vec![Seed::parse("edge-a:edge").expect("a seed")];
    let options = Options { seed, evaluation_interval: Duration::from_millis(50), ..Options::default() };
    let hub = Emulator::start(options).await.expect("a hub");
    let backend = Backend::new(&hub);
    backend.put("/configurations/dep1", deployment("v1")).await;
    let speed = async || {
        let work = backend.get("/twins/edge-a/modules/work").await.body;
        work["properties"]["desired"]["speed"].clone()
    };
    eventually("the deployment is applied", async || speed().await == 3).await;
    backend.patch("/twins/edge-a/modules/work", json!({"properties": {"desired": {"speed": 9}}})).await;
    eventually("the edit is undone", async || speed().await == 3).await;
}

#[tokio::test]
async fn evaluation_on_request_says_what_it_did() {
    let hub = patient_hub().await;
    let backend = Backend::new(&hub);
    backend.put("/configurations/dep1", deployment("v1")).await;
    let done = backend.control(Method::POST, "/evaluate", None).await;
    assert_eq!(done.body, json!({"modules_made": 1, "twins_written": 3, "statuses_changed": 3}));
    let again = backend.control(Method::POST, "/evaluate", None).await;
    assert_eq!(again.body, json!({"modules_made": 0, "twins_written": 0, "statuses_changed": 0}));
    let query = "SELECT deviceId FROM devices.modules WHERE moduleId = '$edgeAgent' AND configurations.[[dep1]].status = 'Applied'";
    let found = backend.post("/devices/query", json!({ "query": query })).await.body;
    assert_eq!(found, json!([{"deviceId": "edge-a"}]));
}

#[tokio::test]
async fn refusals_by_table() {
    let hub = patient_hub().await;
    let backend = Backend::new(&hub);
    let with = |change: Value| {
        let mut body = deployment("v1");
        ha_wire::twin::merge(body.as_object_mut().expect("an object"), change.as_object().expect("an object"));
        body
    };
    let many: serde_json::Map<String, Value> =
        (0..6).map(|n| (format!("m{n}"), json!("SELECT deviceId FROM devices"))).collect();
    for (id, body, status, code) in [
        ("Upper", with(json!({})), 400, "ArgumentInvalid"),
        ("d", with(json!({"id": "other"})), 400, "ArgumentInvalid"),
        ("d", with(json!({"priority": -1})), 400, "ArgumentInvalid"),
        ("d", with(json!({"labels": {"a": 1}})), 400, "ArgumentInvalid"),
        ("d", with(json!({"content": null})), 400, "InvalidConfigurationContent"),
        ("d", with(json!({"content": {"deviceContent": {}}})), 400, "InvalidConfigurationContent"),
        ("d", with(json!({"targetCondition": "tags.a = "})), 400, "InvalidConfigurationTargetCondition"),
        ("d", with(json!({"targetCondition": "tags.a = \"x\""})), 400, "InvalidConfigurationTargetCondition"),
        ("d", with(json!({"metrics": {"queries": {"m": "SELECT"}}})), 400, "InvalidConfigurationCustomMetricsQuery"),
        ("d", with(json!({"metrics": {"queries": many}})), 400, "InvalidConfigurationCustomMetricsQuery"),
        ("d", with(json!({})), 200, ""),
        ("d", with(json!({})), 409, "ConfigurationAlreadyExists"),
    ] {
        let answer = backend.put(&format!("/configurations/{id}"), body.clone()).await;
        assert_eq!((answer.status.as_u16(), answer.error_code()), (status, code), "{id} {body}");
    }
    for (method, id, if_match, status, code) in [
        (Method::PUT, "d", Some("MQ=="), 409, "ConfigurationAlreadyExists"),
        (Method::PUT, "d", Some("\"Mg==\""), 412, "PreconditionFailed"),
        (Method::PUT, "d", Some("\"MQ==\""), 200, ""),
        (Method::PUT, "d", Some("\"*\""), 200, ""),
        (Method::PUT, "nobody", Some("*"), 404, "ConfigurationNotFound"),
        (Method::DELETE, "d", Some("\"MQ==\""), 412, "PreconditionFailed"),
        (Method::DELETE, "d", None, 204, ""),
        (Method::DELETE, "d", None, 404, "ConfigurationNotFound"),
        (Method::GET, "d", None, 404, "ConfigurationNotFound"),
    ] {
        let body = (method == Method::PUT).then(|| deployment("v1"));
        let answer = backend.call(method.clone(), &format!("/configurations/{id}"), if_match, body).await;
        assert_eq!((answer.status.as_u16(), answer.error_code()), (status, code), "{method} {id} {if_match:?}");
    }
}

#[tokio::test]
async fn there_is_room_for_a_hundred() {
    let hub = patient_hub().await;
    let backend = Backend::new(&hub);
    for n in 0..100 {
        assert_eq!(backend.put(&format!("/configurations/d{n}"), deployment("v1")).await.status, 200);
    }
    let full = backend.put("/configurations/d100", deployment("v1")).await;
    assert_eq!((full.status.as_u16(), full.error_code()), (413, "ConfigurationCountLimitExceeded"));
    assert_eq!(backend.get("/configurations?top=3").await.body.as_array().map(Vec::len), Some(100));
}

#[tokio::test]
async fn queries_are_tested_without_consequences() {
    let hub = patient_hub().await;
    let backend = Backend::new(&hub);
    for (body, condition_fails, failing) in [
        (json!({"targetCondition": "tags.a = 'x'", "customMetricQueries": {}}), false, vec![]),
        (json!({"targetCondition": "FROM devices.modules WHERE moduleId = 'x'"}), false, vec![]),
        (json!({"targetCondition": "*"}), true, vec![]),
        (json!({"targetCondition": "tags.a ="}), true, vec![]),
        (json!({"customMetricQueries": {"good": "SELECT deviceId FROM devices", "bad": "SELECT"}}), false, vec!["bad"]),
    ] {
        let answer = backend.post("/configurations/testQueries", body.clone()).await;
        assert_eq!(answer.status, 200, "{body}");
        assert_eq!(answer.body["targetConditionError"].is_string(), condition_fails, "{body}");
        let errors = answer.body["customMetricQueryErrors"].as_object().expect("an object");
        assert_eq!(errors.keys().map(String::as_str).collect::<Vec<_>>(), failing, "{body}");
    }
    assert_eq!(backend.get("/configurations").await.body, json!([]));
}

#[tokio::test]
async fn content_for_one_device_replaces_what_was_there_or_nothing() {
    let hub = patient_hub().await;
    let backend = Backend::new(&hub);
    let path = "/devices/edge-a/applyConfigurationContent";
    let content = |work: Value| {
        let mut content = deployment("v1")["content"].take();
        content["modulesContent"]["work"] = work;
        content
    };
    assert_eq!(backend.post(path, content(json!({"properties.desired": {"a": 1, "b": 2}}))).await.status, 204);
    assert_eq!(backend.post(path, content(json!({"properties.desired": {"a": 3}}))).await.status, 204);
    let desired = async || backend.get("/twins/edge-a/modules/work").await.body["properties"]["desired"].take();
    let now = desired().await;
    assert_eq!((&now["a"], now.get("b")), (&json!(3), None));
    for (body, status, code) in [
        (content(json!({"properties.desired": {"a.b": 1}})), 400, "InvalidConfigurationContent"),
        (content(json!({"settings": 1})), 400, "InvalidConfigurationContent"),
        (json!({"modulesContent": {"work": {}}}), 400, "InvalidConfigurationContent"),
        (json!({}), 400, "InvalidConfigurationContent"),
    ] {
        let answer = backend.post(path, body.clone()).await;
        assert_eq!((answer.status.as_u16(), answer.error_code()), (status, code), "{body}");
    }
    assert_eq!(desired().await, now);
    let leaf = backend.post("/devices/nobody/applyConfigurationContent", content(json!({}))).await;
    assert_eq!((leaf.status.as_u16(), leaf.error_code()), (404, "DeviceNotFound"));
}
