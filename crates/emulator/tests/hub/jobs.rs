//! Jobs over REST, down to connected devices.

use iotedge_ha_emulator::throttle::{Sku, Throttling};
use iotedge_ha_emulator::{Running, Seed};
use mqtt_protocol_core::mqtt::packet::Qos;
use reqwest::Method;
use serde_json::{Value, json};

use crate::backend::Backend;
use crate::device::{Device, Login};
use crate::{eventually, hub};

async fn query(backend: &Backend, text: &str) -> Value {
    let answer = backend.post("/devices/query", json!({"query": text})).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body
}

async fn ended(backend: &Backend, id: &str) -> Value {
    let path = format!("/jobs/v2/{id}");
    eventually("the job ends", async || backend.get(&path).await.body["status"] == "completed").await;
    backend.get(&path).await.body
}

async fn listening(hub: &Running, device: &str) -> Device {
    let mut device = Device::connect(hub, &Login::of(hub, device, None)).await.expect("connected");
    device.subscribe("$iothub/methods/POST/#", Qos::AtLeastOnce).await;
    device
}

fn method_job(condition: &str) -> Value {
    json!({"type": "scheduleDeviceMethod", "queryCondition": condition, "maxExecutionTimeInSeconds": 60,
        "cloudToDeviceMethod": {"methodName": "reboot", "payload": {"in": 3}}})
}

#[tokio::test]
async fn a_twin_job_runs_and_shows_what_it_did() {
    let hub = hub().await;
    let backend = Backend::new(&hub);
    let job = json!({"jobId": "j1", "type": "scheduleUpdateTwin", "queryCondition": "deviceId = 'leaf'",
        "startTime": "2020-01-01T00:00:00Z", "updateTwin": {"etag": "*", "properties": {"desired": {"x": 1}}}});
    let made = backend.put("/jobs/v2/j1", job.clone()).await;
    assert_eq!((made.status.as_u16(), &made.body["status"]), (200, &json!("queued")));
    assert_eq!(ended(&backend, "j1").await["deviceJobStatistics"]["succeededCount"], 1);
    assert_eq!(backend.get("/twins/leaf").await.body["properties"]["desired"]["x"], 1);
    let rows = query(&backend, "SELECT * FROM devices.jobs WHERE devices.jobs.jobId = 'j1'").await;
    assert_eq!((&rows[0]["deviceId"], &rows[0]["status"]), (&json!("leaf"), &json!("completed")));
    let again = backend.put("/jobs/v2/j1", job).await;
    assert_eq!((again.status.as_u16(), again.error_code()), (409, "JobAlreadyExists"));
    let list = backend.get("/jobs/v2/query?jobType=scheduleUpdateTwin&jobStatus=completed").await;
    assert_eq!((list.header("x-ms-item-type"), &list.body[0]["jobId"]), (Some("JobResponse"), &json!("j1")));
    assert_eq!(backend.get("/jobs/v2/query?jobStatus=failed").await.body, json!([]));
}

#[tokio::test]
async fn a_method_job_calls_connected_devices_and_fails_on_others() {
    let hub = hub().await;
    hub.seed(&Seed::parse("away").expect("a seed")).expect("made");
    let backend = Backend::new(&hub);
    let mut device = listening(&hub, "leaf").await;
    backend.put("/jobs/v2/m", method_job("deviceId IN ['leaf', 'away']")).await;
    let request = device.receive().await.expect("a method");
    assert!(request.topic.starts_with("$iothub/methods/POST/reboot/"));
    assert_eq!(request.json(), json!({"in": 3}));
    let rid = request.topic.rsplit("$rid=").next().expect("a rid");
    device.publish(&format!("$iothub/methods/res/207/?$rid={rid}"), Qos::AtLeastOnce, b"{\"ok\":1}").await;
    let done = ended(&backend, "m").await;
    assert_eq!(
        done["deviceJobStatistics"],
        json!({"deviceCount": 2, "failedCount": 1, "succeededCount": 1, "runningCount": 0, "pendingCount": 0})
    );
    let rows = query(&backend, "SELECT * FROM devices.jobs WHERE jobId = 'm'").await;
    assert_eq!(rows[0]["error"]["code"], "DeviceNotOnline");
    assert_eq!(rows[1]["outcome"], json!({"deviceMethodResponse": {"status": 207, "payload": {"ok": 1}}}));
}

#[tokio::test]
async fn a_scheduled_job_holds_the_place_until_it_is_cancelled() {
    let hub = hub().await;
    let backend = Backend::new(&hub);
    let mut later = method_job("*");
    let start = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24);
    later["startTime"] = json!(start.to_string());
    assert_eq!(backend.put("/jobs/v2/later", later).await.body["status"], "scheduled");
    let second = backend.put("/jobs/v2/second", method_job("*")).await;
    assert_eq!((second.status.as_u16(), second.error_code()), (429, "ThrottlingMaxActiveJobCountExceeded"));
    let cancelled = backend.call(Method::POST, "/jobs/v2/later/cancel", None, None).await;
    assert_eq!((cancelled.status.as_u16(), &cancelled.body["status"]), (200, &json!("cancelled")));
    assert_eq!(backend.get("/jobs/v2/later").await.body["status"], "cancelled");
    assert_eq!(backend.put("/jobs/v2/second", method_job("deviceId = 'nobody'")).await.status, 200);
    assert_eq!(ended(&backend, "second").await["deviceJobStatistics"]["deviceCount"], 0);
}

#[tokio::test]
async fn jobs_refuse_what_the_hub_refuses() {
    let hub = hub().await;
    let backend = Backend::new(&hub);
    let bad = backend.put("/jobs/v2/j", method_job("tags.a =")).await;
    assert_eq!((bad.status.as_u16(), bad.error_code()), (400, "ArgumentInvalid"));
    assert_eq!(
        bad.header("x-emulator-reason"),
        Some("queryCondition: a name is expected at character 8; '*' means all devices")
    );
    let unknown = backend.get("/jobs/v2/nobody").await;
    assert_eq!((unknown.status.as_u16(), &unknown.body["status"]), (200, &json!("unknown")));
    let cancel = backend.call(Method::POST, "/jobs/v2/nobody/cancel", None, None).await;
    assert_eq!((cancel.status.as_u16(), cancel.error_code()), (404, "JobNotFound"));
    let deleted = backend.call(Method::DELETE, "/jobs/v2/nobody", None, None).await;
    assert_eq!(deleted.status, 405);
    let reader = Backend::with_policy(&hub, "registryRead");
    assert_eq!(reader.get("/jobs/v2/nobody").await.status, 401);
}

#[tokio::test]
async fn a_throttled_job_waits_and_gets_there() {
    let hub = hub().await;
    let backend = Backend::new(&hub);
    hub.set_throttling(Some(Throttling { burst_s: 0, queue_s: 0, ..Throttling::new(Sku::S1, 1) })).expect("a size");
    let job = json!({"type": "scheduleUpdateTwin", "queryCondition": "*", "updateTwin": {"tags": {"a": 1}}});
    assert_eq!(backend.put("/jobs/v2/slow", job).await.status, 200);
    for twin in ["/twins/leaf", "/twins/edge-a"] {
        eventually("the twin is written", async || backend.get(twin).await.body["tags"]["a"] == 1).await;
    }
    hub.set_throttling(None).expect("none");
    assert_eq!(ended(&backend, "slow").await["deviceJobStatistics"]["succeededCount"], 2);
}
