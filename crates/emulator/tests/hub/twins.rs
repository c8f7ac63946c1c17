//! Twins from both sides.

use mqtt_protocol_core::mqtt::packet::Qos;
use reqwest::Method;
use serde_json::json;

use crate::backend::Backend;
use crate::device::{Device, Login};
use crate::hub;

const TWIN: &str = "/twins/edge-a/modules/ha-agent";

async fn agent(hub: &iotedge_ha_emulator::Running) -> Device {
    let login = Login::of(hub, "edge-a", Some("ha-agent"));
    let mut device = Device::connect(hub, &login).await.expect("connected");
    let granted = device.subscribe("$iothub/twin/res/#", Qos::AtLeastOnce);
    assert_eq!(granted.await, [1]);
    device
}

#[tokio::test]
async fn desired_properties_reach_the_device_as_patches_in_order() {
    let hub = hub().await;
    let backend = Backend::new(&hub);
    let mut device = agent(&hub).await;
    device.subscribe("$iothub/twin/PATCH/properties/desired/#", Qos::AtMostOnce).await;
    for n in 0..20 {
        let body = json!({"properties": {"desired": {"n": n, "gone": null}}});
        assert_eq!(backend.patch(TWIN, body).await.status, 200);
    }
    for n in 0..20 {
        let notice = device.receive().await.expect("a notice");
        let version = n + 2;
        let topic = format!("$iothub/twin/PATCH/properties/desired/?$version={version}");
        assert_eq!(notice.topic, topic);
        let patch = json!({"n": n, "gone": null, "$version": version});
        assert_eq!(notice.json(), patch);
    }
    let twin = device.request("$iothub/twin/GET/?$rid=z", b" ").await;
    assert_eq!(twin.json(), json!({"desired": {"n": 19, "$version": 21}, "reported": {"$version": 1}}));
}

#[tokio::test]
async fn reported_properties_move_their_version_and_no_etag() {
    let hub = hub().await;
    let backend = Backend::new(&hub);
    let before = backend.get(TWIN).await.body;
    let mut device = agent(&hub).await;
    let topic = "$iothub/twin/PATCH/properties/reported/?$rid=";
    let report = json!({"ha": {"state": "active"}, "none": null}).to_string();
    let answer = device.request(&format!("{topic}r1"), report.as_bytes()).await;
    assert_eq!(answer.topic, "$iothub/twin/res/204/?$rid=r1&$version=2");
    assert!(answer.payload.is_empty());
    for (rid, bad) in [("r2", "{"), ("r3", "[1]"), ("r4", r#"{"a.b":1}"#)] {
        let answer = device.request(&format!("{topic}{rid}"), bad.as_bytes()).await;
        assert_eq!(answer.topic, format!("$iothub/twin/res/400/?$rid={rid}"));
    }
    let after = backend.get(TWIN).await.body;
    assert_eq!(after["etag"], before["etag"]);
    assert_eq!((&before["version"], &after["version"]), (&json!(2), &json!(3)));
    let reported = &after["properties"]["reported"];
    assert_eq!(reported["ha"], json!({"state": "active"}));
    assert!(reported["$metadata"]["ha"]["state"]["$lastUpdated"].is_string());
}

#[tokio::test]
async fn tags_are_swapped_by_etag_and_replaced_whole_by_put() {
    let hub = hub().await;
    let backend = Backend::new(&hub);
    let call = async |method, etag: Option<&str>, body| backend.call(method, "/twins/leaf", etag, Some(body)).await;
    let first = call(Method::PATCH, None, json!({"tags": {"a": {"b": 1}, "c": 2}})).await;
    assert_eq!(first.body["etag"], "AAAAAAAAAAI=");
    let stale = call(Method::PATCH, Some("\"AAAAAAAAAAE=\""), json!({"tags": {"c": 3}})).await;
    assert_eq!(stale.status, 412);
    assert_eq!(stale.error_code(), "PreconditionFailed");
    let text = stale.body["Message"].as_str().expect("a message");
    assert_eq!(text, "ErrorCode:PreconditionFailed;ETag mismatch for device ID 'leaf'");
    let fresh = call(Method::PATCH, Some("\"AAAAAAAAAAI=\""), json!({"tags": {"a": {"b": null}}})).await;
    assert_eq!(fresh.body["tags"], json!({"a": {}, "c": 2}));
    let replaced = call(Method::PUT, Some("*"), json!({"properties": {"desired": {"x": 1}}})).await;
    assert_eq!(replaced.status, 200);
    assert!(replaced.body.get("tags").is_none());
    assert_eq!(replaced.body["properties"]["desired"]["x"], 1);
    assert_eq!(replaced.body["properties"]["desired"]["$version"], 2);
}
