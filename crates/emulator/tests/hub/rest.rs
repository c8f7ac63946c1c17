//! The service REST API beyond twins and methods.

use std::time::Duration;

use iotedge_ha_emulator::meters::Meter;
use iotedge_ha_emulator::{Emulator, Options, Seed};
use reqwest::Method;
use serde_json::{Value, json};

use crate::backend::Backend;
use crate::{eventually, hub};

#[tokio::test]
async fn a_device_lives_and_dies_by_its_etag() {
    let hub = hub().await;
    let backend = Backend::new(&hub);
    let path = "/devices/d%3A1";
    let created = backend.put(path, json!({"deviceId": "d:1"})).await;
    assert_eq!(created.status, 200);
    let etag = created.header("etag").expect("an etag").to_owned();
    assert_eq!(etag.trim_matches('"'), created.body["etag"]);
    assert_eq!(created.body["lastActivityTime"], "0001-01-01T00:00:00");
    let again = backend.put(path, json!({"deviceId": "d:1"})).await;
    assert_eq!((again.status.as_u16(), again.error_code()), (409, "DeviceAlreadyExists"));
    let get = backend.get(&format!("{path}/")).await;
    assert_eq!(get.body["lastActivityTime"], "0001-01-01T00:00:00Z");
    let disable = json!({"deviceId": "d:1", "status": "disabled"});
    let updated = backend.call(Method::PUT, path, Some(&etag), Some(disable.clone())).await;
    assert_eq!(updated.body["status"], "disabled");
    assert_ne!(updated.body["statusUpdatedTime"], "0001-01-01T00:00:00Z");
    let stale = backend.call(Method::PUT, path, Some(&etag), Some(disable)).await;
    assert_eq!((stale.status.as_u16(), stale.error_code()), (412, "PreconditionFailed"));
    let delete = async |etag| backend.call(Method::DELETE, path, etag, None).await.status;
    assert_eq!(delete(None).await, 412);
    assert_eq!(delete(Some("\"*\"")).await, 204);
    let gone = backend.get(path).await;
    assert_eq!((gone.status.as_u16(), gone.error_code()), (404, "DeviceNotFound"));
    assert_eq!(gone.body["Message"], "ErrorCode:DeviceNotFound;d:1");
}

#[tokio::test]
async fn an_edge_device_brings_its_runtime() {
    let hub = hub().await;
    let backend = Backend::new(&hub);
    let modules = backend.get("/devices/edge-a/modules").await.body;
    let names: Vec<&Value> = modules.as_array().expect("a list").iter().map(|module| &module["moduleId"]).collect();
    assert_eq!(names, ["$edgeAgent", "$edgeHub", "ha-agent"]);
    let agent = backend.get("/devices/edge-a/modules/%24edgeAgent").await.body;
    assert_eq!((&agent["managedBy"], &agent["authentication"]["type"]), (&json!("iotEdge"), &json!("none")));
    let device = backend.get("/devices/edge-a").await.body;
    let scope = device["deviceScope"].as_str().expect("a scope");
    assert!(scope.starts_with("ms-azure-iot-edge://edge-a-"));
    let content = json!({"modulesContent": {
        "$edgeAgent": {"properties.desired": {"modules": {"work": {"type": "docker"}}}},
        "work": {"properties.desired": {"speed": 3}}}});
    let path = "/devices/edge-a/applyConfigurationContent";
    assert_eq!(backend.post(path, content.clone()).await.status, 204);
    let twin = backend.get("/twins/edge-a/modules/work").await.body;
    assert_eq!(twin["properties"]["desired"]["speed"], 3);
    let path = "/devices/leaf/applyConfigurationContent";
    assert_eq!(backend.post(path, content).await.status, 400);
}

#[tokio::test]
async fn rights_are_kept_apart() {
    let hub = hub().await;
    for (policy, path, status) in [
        ("service", "/twins/leaf", 200),
        ("service", "/devices/leaf", 401),
        ("registryRead", "/devices/leaf", 200),
        ("registryReadWrite", "/devices/leaf", 200),
        ("registryReadWrite", "/twins/leaf", 401),
        ("device", "/twins/leaf", 401),
        ("iothubowner", "/statistics/devices", 200),
        ("iothubowner", "/nothing/here", 405),
    ] {
        let answer = Backend::with_policy(&hub, policy).get(path).await;
        assert_eq!(answer.status, status, "{policy} {path}");
        if status == 401 {
            let text = "ErrorCode:IotHubUnauthorizedAccess;Unauthorized";
            assert_eq!(answer.body["Message"], text);
        }
    }
}

#[tokio::test]
async fn queries_come_in_pages() {
    let hub = hub().await;
    let backend = Backend::new(&hub);
    for n in 0..120 {
        let seed = Seed::parse(&format!("q{n:03}")).expect("a seed");
        hub.seed(&seed).expect("made");
    }
    let query = json!({"query": "SELECT deviceId FROM devices WHERE deviceId >= 'q' AND deviceId < 'r'"});
    let first = backend.post("/devices/query", query).await;
    assert_eq!(first.header("x-ms-item-type"), Some("Raw"));
    assert_eq!(first.body.as_array().map(Vec::len), Some(100));
    assert!(first.header("x-ms-continuation").is_some());
    let query = json!({"query": "SELECT TOP 2 * FROM devices"});
    let top = backend.post("/devices/query", query).await;
    assert_eq!(top.header("x-ms-item-type"), Some("Twin"));
    assert_eq!(top.body.as_array().map(Vec::len), Some(2));
    assert!(top.header("x-ms-continuation").is_none());
    let bad = backend.post("/devices/query", json!({"query": "SELECT * FROM nowhere"})).await;
    assert_eq!(bad.body["Message"], "ErrorCode:ArgumentInvalid;BadRequest");
}

#[tokio::test]
async fn a_lagging_index_shows_changes_late() {
    let options = Options { index_lag: Duration::from_millis(300), ..Options::default() };
    let hub = Emulator::start(options).await.expect("a hub");
    let backend = Backend::new(&hub);
    hub.seed(&Seed::parse("late").expect("a seed")).expect("made");
    let count = async || {
        let query = json!({"query": "SELECT * FROM devices"});
        let rows = backend.post("/devices/query", query).await.body;
        rows.as_array().map_or(0, Vec::len)
    };
    assert_eq!(backend.get("/twins/late").await.status, 200);
    eventually("the index catches up", async || count().await == 1).await;
}

#[tokio::test]
async fn bulk_lists_what_failed_and_does_the_rest() {
    let hub = hub().await;
    let backend = Backend::new(&hub);
    let body = json!([
        {"id": "b1", "importMode": "Create", "tags": {"x": 1}},
        {"id": "leaf", "importMode": "create"},
        {"id": "edge-a", "importMode": "updateTwin", "tags": {"y": 2}}]);
    let answer = backend.post("/devices", body).await;
    assert_eq!((answer.status.as_u16(), answer.error_code()), (400, "BulkRegistryOperationFailure"));
    assert_eq!(hub.meters().read(Meter::RegistryWrites), 3);
    assert_eq!(answer.body["isSuccessful"], false);
    assert_eq!(answer.body["errors"][0]["errorCode"], "DeviceAlreadyExists");
    assert_eq!(backend.get("/twins/b1").await.body["tags"]["x"], 1);
    assert_eq!(backend.get("/twins/edge-a").await.body["tags"]["y"], 2);
}
