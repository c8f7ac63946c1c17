//! Throttles, the daily quota and the bill.

use std::sync::Arc;
use std::time::Duration;

use iotedge_ha_emulator::Running;
use iotedge_ha_emulator::meters::{Bill, Meter};
use iotedge_ha_emulator::throttle::{Sku, Throttling};
use mqtt_protocol_core::mqtt::packet::{Packet, Qos};
use reqwest::Method;
use serde_json::json;

use crate::backend::Backend;
use crate::device::{Device, Login, Stream, in_memory, tls};
use crate::hub;

const GET_TWIN: &str = "$iothub/twin/GET/?$rid=";
const DAY_MS: i64 = 24 * 3600 * 1000;

fn impatient(hub: &Running, sku: Sku) {
    let throttling = Throttling { burst_s: 0, queue_s: 0, ..Throttling::new(sku, 1) };
    hub.set_throttling(Some(throttling)).expect("a hub of that size");
}

async fn leaf(hub: &Running) -> Device {
    leaf_over(hub, tls(hub, hub.mqtt_addr).await).await
}

async fn leaf_over(hub: &Running, stream: Box<dyn Stream>) -> Device {
    let mut device = Device::connect_over(stream, &Login::of(hub, "leaf", None)).await.expect("connected");
    device.subscribe("$iothub/twin/res/#", Qos::AtMostOnce).await;
    device
}

#[tokio::test]
async fn a_full_queue_answers_429_as_the_hub_does() {
    let hub = hub().await;
    let backend = Backend::new(&hub);
    impatient(&hub, Sku::S1);
    let entries: Vec<_> = (0..100).map(|n| json!({"id": format!("d{n}"), "importMode": "create"})).collect();
    assert_eq!(backend.post("/devices", json!(entries)).await.status, 200);
    // A hundred entries are paid for in a minute.
    let answer = backend.get("/devices/leaf").await;
    assert_eq!((answer.status.as_u16(), answer.error_code()), (429, "ThrottlingBacklogTimeout"));
    assert_eq!(answer.header("connection"), Some("close"));
    assert!(answer.header("retry-after").is_none());
    let text = "ErrorCode:ThrottlingBacklogTimeout;The request has been throttled. Wait 10 seconds and try again. \
                Operation type: RegistryRead";
    assert_eq!(answer.body["Message"], text);
    assert_eq!(backend.get("/twins/leaf").await.status, 200, "twins have a lane of their own");
    let status = backend.control(Method::GET, "/throttles", None).await.body;
    assert_eq!(status["sku"], "S1");
    assert_eq!(status["lanes"]["registry"]["refused"], 1);
    assert_eq!(backend.control(Method::DELETE, "/throttles", None).await.status, 204);
    assert_eq!(backend.get("/devices/leaf").await.status, 200);
    let wrong = json!({"sku": "F1", "units": 2});
    assert_eq!(backend.control(Method::PUT, "/throttles", Some(wrong)).await.status, 400);
}

#[tokio::test]
async fn a_device_that_asks_too_often_is_told_429() {
    let hub = Arc::new(hub().await);
    tokio::time::pause();
    let mut device = leaf_over(&hub, in_memory(&hub)).await;
    impatient(&hub, Sku::S1);
    for n in 0..50 {
        device.publish(&format!("{GET_TWIN}{n}"), Qos::AtMostOnce, b" ").await;
    }
    let mut statuses = Vec::new();
    for _ in 0..50 {
        let topic = device.receive().await.expect("an answer for each").topic;
        statuses.push(topic.split('/').nth(3).expect("a status").to_owned());
    }
    assert_eq!(statuses.remove(0), "200");
    assert!(statuses.iter().all(|status| status == "429"), "{statuses:?}");
    tokio::time::advance(Duration::from_millis(10)).await;
    assert_eq!(device.request(&format!("{GET_TWIN}x"), b" ").await.topic, "$iothub/twin/res/200/?$rid=x");
}

#[tokio::test]
async fn telemetry_is_held_up_rather_than_refused() {
    let hub = Arc::new(hub().await);
    tokio::time::pause();
    let mut device = leaf_over(&hub, in_memory(&hub)).await;
    let mut messages = hub.messages();
    impatient(&hub, Sku::S1);
    let started = tokio::time::Instant::now();
    for n in 0..30u8 {
        device.publish("devices/leaf/messages/events/", Qos::AtLeastOnce, &[n]).await;
    }
    for n in 0..30u8 {
        assert!(matches!(device.packet().await, Some(Packet::V3_1_1Puback(_))));
        assert_eq!(messages.recv().await.expect("a message").body.as_ref(), [n]);
    }
    assert_eq!(started.elapsed().as_millis() / 10, 29, "29 of them cost 10 ms each");
    assert_eq!(hub.meters().read(Meter::Queued), 29);
}

#[tokio::test]
async fn a_spent_day_refuses_what_is_metered_until_midnight() {
    let hub = hub().await;
    let backend = Backend::new(&hub);
    // Noon by its clock: no midnight comes while this goes on.
    let since_noon_ms = (jiff::Timestamp::now().as_millisecond() - DAY_MS / 2).rem_euclid(DAY_MS);
    hub.faults().set_clock_skew_ms(-since_noon_ms);
    hub.set_throttling(Some(Throttling::new(Sku::F1, 1))).expect("free");
    let mut device = leaf(&hub).await;
    // Half a kilobyte each on the free tier: 16 x 512 messages.
    let large = vec![b'x'; 256 * 1024];
    for _ in 0..16 {
        device.publish("devices/leaf/messages/events/", Qos::AtLeastOnce, &large).await;
        assert!(matches!(device.packet().await, Some(Packet::V3_1_1Puback(_))));
    }
    assert_eq!(hub.meters().billed().by_kind[&Bill::Telemetry], 16 * 512);
    let answer = backend.get("/twins/leaf").await;
    assert_eq!((answer.status.as_u16(), answer.error_code()), (403, "IotHubQuotaExceeded"));
    assert_eq!(backend.get("/devices/leaf").await.status, 200, "the registry is not metered");
    let refused = device.request(&format!("{GET_TWIN}1"), b" ").await;
    assert_eq!(refused.topic, "$iothub/twin/res/403/?$rid=1");
    device.publish("devices/leaf/messages/events/", Qos::AtLeastOnce, b"x").await;
    assert_eq!(device.packet().await.map(|_| ()), None, "the connection is closed");
    // Tokens are good for ten minutes, so tomorrow needs a clock that has gone on and back.
    hub.faults().set_clock_skew_ms(-since_noon_ms - DAY_MS);
    assert_eq!(backend.get("/twins/leaf").await.status, 200);
}

#[tokio::test]
async fn the_bill_by_operation() {
    let hub = hub().await;
    let backend = Backend::new(&hub);
    let billed = || hub.meters().billed().total;
    let mut before = 0;
    let mut costs = |what: &str, messages: u64| {
        let total = billed();
        assert_eq!(total - before, messages, "{what}");
        before = total;
    };
    backend.get("/devices/leaf").await;
    backend.get("/statistics/devices").await;
    costs("registry and statistics", 0);
    backend.get("/twins/leaf").await;
    costs("a twin read", 1);
    backend.get("/twins/nobody").await;
    costs("a twin that is not there", 0);
    let long = "x".repeat(3000);
    backend.patch("/twins/leaf", json!({"tags": {"a": long.clone(), "b": long.clone()}})).await;
    costs("6000 bytes of tags", 2);
    backend.post("/devices/query", json!({"query": "SELECT * FROM devices WHERE tags.a = 'none'"})).await;
    costs("an empty page", 1);
    let call = json!({"methodName": "ping", "payload": null});
    assert_eq!(backend.post("/twins/leaf/methods", call).await.status, 404);
    costs("a method to a device that is away", 1);
    let mut device = leaf(&hub).await;
    device.subscribe("$iothub/twin/PATCH/properties/desired/#", Qos::AtMostOnce).await;
    device.subscribe("$iothub/methods/POST/#", Qos::AtMostOnce).await;
    costs("connecting", 0);
    backend.patch("/twins/leaf", json!({"properties": {"desired": {"x": 1}}})).await;
    device.receive().await.expect("a notice");
    costs("desired properties and their notice", 2);
    device.request(&format!("{GET_TWIN}1"), b" ").await;
    costs("the device reads its twin", 1);
    device.request("$iothub/twin/PATCH/properties/reported/?$rid=2", b"{\"y\":2}").await;
    costs("the device reports", 1);
    let request = json!({"methodName": "ping", "payload": long.repeat(2)});
    let (answer, ()) = tokio::join!(backend.post("/twins/leaf/methods", request), async {
        let call = device.receive().await.expect("a call");
        let rid = call.topic.split("$rid=").nth(1).expect("a request id").to_owned();
        device.publish(&format!("$iothub/methods/res/200/?$rid={rid}"), Qos::AtMostOnce, b"").await;
    });
    assert_eq!(answer.status, 200);
    costs("two for the request, one for the response", 3);
    let billed = backend.control(Method::GET, "/meters/billed", None).await.body;
    assert_eq!(billed["by_kind"]["methods"], 4);
    let devices = backend.control(Method::GET, "/meters/devices", None).await.body;
    assert_eq!(devices["leaf"]["device_reports"], 1);
}

#[tokio::test]
async fn metrics_are_open_metrics_behind_the_token() {
    let hub = hub().await;
    let backend = Backend::new(&hub);
    backend.get("/twins/leaf").await;
    assert_eq!(backend.get("/_emulator/metrics").await.status, 401);
    let (content_type, text) = backend.metrics().await;
    assert_eq!(content_type, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(text.contains("iothub_operations_total{kind=\"twin_reads\"} 1\n"), "{text}");
    assert!(text.ends_with("# EOF\n"), "{text}");
}
