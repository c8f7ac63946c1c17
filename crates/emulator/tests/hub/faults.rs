//! What breaks on request.

use std::sync::Arc;
use std::time::Duration;

use ha_wire::error::ErrorCode;
use iotedge_ha_emulator::Running;
use iotedge_ha_emulator::faults::{Cut, DeviceFault, RestFault, RestKind};
use iotedge_ha_emulator::meters::Meter;
use mqtt_protocol_core::mqtt::packet::Qos;
use reqwest::Method;
use serde_json::json;

use crate::backend::Backend;
use crate::device::{Device, Login, Stream, in_memory, tls};
use crate::{eventually, hub};

const DESIRED: &str = "$iothub/twin/PATCH/properties/desired/#";
const REPORT: &str = "$iothub/twin/PATCH/properties/reported/?$rid=";

async fn leaf(hub: &Running) -> Device {
    leaf_over(tls(hub, hub.mqtt_addr).await, &Login::of(hub, "leaf", None)).await
}

async fn leaf_over(stream: Box<dyn Stream>, login: &Login) -> Device {
    let mut device = Device::connect_over(stream, login).await.expect("connected");
    device.subscribe("$iothub/twin/res/#", Qos::AtMostOnce).await;
    device.subscribe(DESIRED, Qos::AtMostOnce).await;
    device
}

async fn desire(backend: &Backend, n: u64) {
    let body = json!({"properties": {"desired": {"n": n}}});
    assert_eq!(backend.patch("/twins/leaf", body).await.status, 200);
}

#[tokio::test]
async fn what_a_black_hole_held_back_flows_in_order_after_healing() {
    let hub = hub().await;
    let backend = Backend::new(&hub);
    let mut device = leaf(&hub).await;
    let both = json!({"cut": "both"});
    let put = backend.control(Method::PUT, "/faults/devices/leaf", Some(both));
    assert_eq!(put.await.status, 204);
    for n in 0..3 {
        desire(&backend, n).await;
        device.publish(&format!("{REPORT}{n}"), Qos::AtMostOnce, b"{\"x\":1}").await;
    }
    assert!(device.is_silent_for(Duration::from_millis(300)).await);
    assert_eq!(hub.meters().read(Meter::DeviceReports), 0);
    let heal = backend.control(Method::DELETE, "/faults/devices/leaf", None);
    assert_eq!(heal.await.status, 204);
    let mut notices = Vec::new();
    let mut answers = Vec::new();
    for _ in 0..6 {
        let received = device.receive().await.expect("still connected");
        match received.topic.strip_prefix("$iothub/twin/res/204/?$rid=") {
            Some(rest) => answers.push(rest.to_owned()),
            None => notices.push(received.json()["n"].clone()),
        }
    }
    assert_eq!(notices, [json!(0), json!(1), json!(2)]);
    assert_eq!(answers, ["0&$version=2", "1&$version=3", "2&$version=4"]);
}

#[tokio::test]
async fn each_direction_is_cut_by_itself() {
    let hub = hub().await;
    let backend = Backend::new(&hub);
    let mut device = leaf(&hub).await;
    hub.faults().set_device("leaf", DeviceFault::cut(Cut::ToDevice));
    device.publish(&format!("{REPORT}1"), Qos::AtMostOnce, b"{}").await;
    eventually("the report arrives", async || hub.meters().read(Meter::DeviceReports) == 1).await;
    assert!(device.is_silent_for(Duration::from_millis(200)).await);
    hub.faults().set_device("leaf", DeviceFault::cut(Cut::FromDevice));
    let answer = device.receive().await.expect("an answer");
    assert_eq!(answer.topic, "$iothub/twin/res/204/?$rid=1&$version=2");
    device.publish(&format!("{REPORT}2"), Qos::AtMostOnce, b"{}").await;
    desire(&backend, 1).await;
    assert_eq!(device.receive().await.expect("a notice").json()["n"], 1);
    assert_eq!(hub.meters().read(Meter::DeviceReports), 1);
}

#[tokio::test]
async fn a_fault_is_in_force_before_anything_that_comes_later() {
    let hub = Arc::new(hub().await);
    tokio::time::pause();
    let mut device = leaf_over(in_memory(&hub), &Login::of(&hub, "leaf", None)).await;
    // Fault and report reach the connection in the same moment, and what it looks at first is up to chance.
    for n in 0..32 {
        hub.faults().set_device("leaf", DeviceFault::cut(Cut::FromDevice));
        device.publish(&format!("{REPORT}{n}"), Qos::AtMostOnce, b"{}").await;
        assert!(device.is_silent_for(Duration::from_secs(1)).await);
        assert_eq!(hub.meters().read(Meter::DeviceReports), n);
        hub.faults().heal_device("leaf");
        let answer = device.receive().await.expect("an answer");
        assert!(answer.topic.starts_with(&format!("$iothub/twin/res/204/?$rid={n}&")), "{}", answer.topic);
    }
}

#[tokio::test]
async fn behind_a_cut_the_keep_alive_expires_and_the_end_arrives_after_healing() {
    let hub = Arc::new(hub().await);
    tokio::time::pause();
    let mut device = leaf_over(in_memory(&hub), &Login::of(&hub, "leaf", None).keep_alive(20)).await;
    hub.faults().set_device("leaf", DeviceFault::cut(Cut::Both));
    assert!(device.is_silent_for(Duration::from_secs(29)).await);
    assert_eq!(hub.meters().read(Meter::KeepAliveExpiries), 0);
    assert!(device.is_silent_for(Duration::from_secs(29)).await);
    assert!(hub.meters().read(Meter::KeepAliveExpiries) == 1 && hub.connections().is_empty(), "the hub gives up");
    assert!(hub.faults().heal_device("leaf"));
    assert_eq!(device.receive().await, None);
}

#[tokio::test]
async fn a_new_connection_through_a_cut_hangs_until_it_heals() {
    let hub = hub().await;
    let login = Login::of(&hub, "edge-a", Some("ha-agent"));
    hub.faults().set_device("edge-a", DeviceFault::cut(Cut::FromDevice));
    let gone = Device::hello(tls(&hub, hub.mqtt_addr).await, &login).await;
    let mut waiting = Device::hello(tls(&hub, hub.mqtt_addr).await, &login).await;
    assert!(waiting.is_silent_for(Duration::from_millis(300)).await);
    drop(gone);
    assert_eq!(hub.meters().read(Meter::Connects), 0);
    hub.faults().heal_device("edge-a");
    let packet = waiting.packet().await;
    assert!(packet.is_some(), "the CONNACK arrives");
    assert_eq!(hub.meters().read(Meter::TakeOvers), 0);
    let other = Login::of(&hub, "leaf", None);
    hub.faults().set_device("edge-a", DeviceFault::cut(Cut::Both));
    assert!(Device::connect(&hub, &other).await.is_ok());
}

#[tokio::test]
async fn drop_and_delay_act_on_notices() {
    let hub = hub().await;
    let backend = Backend::new(&hub);
    let mut device = leaf(&hub).await;
    let fault = DeviceFault { drop: 1.0, ..DeviceFault::default() };
    hub.faults().set_device("leaf", fault);
    desire(&backend, 1).await;
    eventually("the notice is dropped", async || hub.meters().read(Meter::Dropped) == 1).await;
    let fault = DeviceFault { delay_ms: 300, ..DeviceFault::default() };
    hub.faults().set_device("leaf", fault);
    let started = tokio::time::Instant::now();
    desire(&backend, 2).await;
    assert_eq!(device.receive().await.expect("a notice").json()["n"], 2);
    assert!(started.elapsed() >= Duration::from_millis(300));
}

#[tokio::test]
async fn a_lost_answer_is_a_write_that_happened() {
    let hub = hub().await;
    let backend = Backend::new(&hub);
    let fault = json!({"count": 1, "method": "PATCH", "path": "/twins/leaf"});
    let put = backend.control(Method::PUT, "/faults/hub/lost_answers", Some(fault));
    assert_eq!(put.await.status, 204);
    let body = json!({"tags": {"a": 1}});
    let lost = backend.try_call(Method::PATCH, "/twins/leaf", None, Some(body)).await;
    assert!(lost.is_err());
    assert_eq!(backend.get("/twins/leaf").await.body["tags"]["a"], 1);
    assert_eq!(hub.meters().read(Meter::LostAnswers), 1);
}

#[tokio::test]
async fn throttles_and_server_errors_change_nothing() {
    let hub = hub().await;
    let backend = Backend::new(&hub);
    let once = RestFault { count: Some(1), ..RestFault::default() };
    hub.faults().set_rest(RestKind::Throttle, once.clone());
    let body = json!({"tags": {"a": 1}});
    let answer = backend.patch("/twins/leaf", body.clone()).await;
    assert_eq!((answer.status.as_u16(), answer.error_code()), (429, "ThrottlingBacklogTimeout"));
    assert!(answer.header("retry-after").is_none());
    let unavailable = RestFault { status: Some(503), ..once.clone() };
    hub.faults().set_rest(RestKind::ServerError, unavailable);
    let answer = backend.patch("/twins/leaf", body.clone()).await;
    assert_eq!((answer.status.as_u16(), answer.error_code()), (503, "ServiceUnavailable"));
    for code in ErrorCode::ALL {
        let refusal = RestFault { code: Some(code.name().to_owned()), ..once.clone() };
        hub.faults().set_rest(RestKind::Refusal, refusal);
        let answer = backend.patch("/twins/leaf", body.clone()).await;
        assert_eq!((answer.status.as_u16(), answer.error_code()), (code.http_status(), code.name()));
    }
    assert!(backend.get("/twins/leaf").await.body.get("tags").is_none());
}

#[tokio::test]
async fn the_control_api_wants_its_token_and_checks_what_it_is_told() {
    let hub = hub().await;
    let backend = Backend::new(&hub);
    assert_eq!(backend.get("/_emulator/v1/faults").await.status, 401);
    for (path, body) in [
        ("/faults/devices/leaf", json!({"cut": "sideways"})),
        ("/faults/devices/leaf", json!({"drop": 2.0})),
        ("/faults/devices/leaf", json!({"unknown": 1})),
        ("/faults/hub/earthquake", json!({})),
        ("/faults/hub/server_error", json!({"status": 404})),
        ("/faults/hub/latency", json!({})),
        ("/faults/hub/refusal", json!({})),
        ("/faults/hub/refusal", json!({"code": "OutOfCoffee"})),
    ] {
        let answer = backend.control(Method::PUT, path, Some(body.clone())).await;
        assert_eq!(answer.status, 400, "{path} {body}");
    }
    let _device = leaf(&hub).await;
    let connections = backend.control(Method::GET, "/connections", None).await.body;
    assert_eq!(connections[0]["device_id"], "leaf");
    assert_eq!(connections[0]["transport"], "tls");
    let meters = backend.control(Method::GET, "/meters", None).await.body;
    assert_eq!(meters["connects"], 1);
}

#[tokio::test]
async fn a_frozen_hub_accepts_and_says_nothing_until_it_thaws() {
    let hub = hub().await;
    let backend = Backend::new(&hub);
    let mut device = leaf(&hub).await;
    assert_eq!(backend.control(Method::PUT, "/faults/hub/frozen", None).await.status, 204);
    device.publish(&format!("{REPORT}1"), Qos::AtMostOnce, b"{\"x\":1}").await;
    let mut newcomer =
        Device::hello(tls(&hub, hub.mqtt_addr).await, &Login::of(&hub, "edge-a", Some("ha-agent"))).await;
    let read = async {
        let asked = tokio::time::timeout(Duration::from_millis(300), backend.get("/twins/leaf"));
        assert!(asked.await.is_err(), "no answer");
    };
    let (silent, newcomer_silent, ()) = tokio::join!(
        device.is_silent_for(Duration::from_millis(300)),
        newcomer.is_silent_for(Duration::from_millis(300)),
        read,
    );
    assert!(silent && newcomer_silent);
    assert_eq!(backend.control(Method::GET, "/faults", None).await.body["hub"]["frozen"], json!({}));
    assert_eq!(backend.control(Method::DELETE, "/faults/hub/frozen", None).await.status, 204);
    assert_eq!(device.receive().await.expect("an answer").topic, "$iothub/twin/res/204/?$rid=1&$version=2");
    assert!(newcomer.packet().await.is_some(), "the CONNACK arrives");
    assert_eq!(backend.get("/twins/leaf").await.status, 200);
}

#[tokio::test]
async fn a_hub_that_stood_still_blames_nobody_for_the_silence() {
    let hub = Arc::new(hub().await);
    tokio::time::pause();
    let mut device = leaf_over(in_memory(&hub), &Login::of(&hub, "leaf", None).keep_alive(20)).await;
    hub.faults().set_frozen(true);
    device.publish(&format!("{REPORT}1"), Qos::AtMostOnce, b"{}").await;
    assert!(device.is_silent_for(Duration::from_secs(300)).await);
    hub.faults().set_frozen(false);
    assert_eq!(device.receive().await.expect("an answer").topic, "$iothub/twin/res/204/?$rid=1&$version=2");
    assert_eq!(hub.connections().len(), 1);
}

#[tokio::test]
async fn tokens_and_timestamps_go_by_the_hubs_own_clock() {
    let hub = hub().await;
    let backend = Backend::new(&hub);
    let mut device = leaf(&hub).await;
    let ahead = json!({"skew_ms": 2 * 3600 * 1000});
    assert_eq!(backend.control(Method::PUT, "/faults/hub/clock", Some(ahead)).await.status, 204);
    assert_eq!(backend.get("/twins/leaf").await.status, 401, "the token has expired by that clock");
    assert_eq!(device.receive().await, None, "so has the device's");
    let behind = json!({"skew_ms": -24 * 3600 * 1000});
    assert_eq!(backend.control(Method::PUT, "/faults/hub/clock", Some(behind)).await.status, 204);
    let written = backend.patch("/twins/leaf", json!({"properties": {"desired": {"n": 1}}})).await.body;
    let stamp = written["properties"]["desired"]["$metadata"]["$lastUpdated"].as_str().expect("a date");
    let stamp: jiff::Timestamp = stamp.parse().expect("an instant");
    let hours = jiff::Timestamp::now().duration_since(stamp).as_hours();
    assert!((23..=24).contains(&hours), "{hours} hours ago");
}

#[tokio::test]
async fn the_index_slows_down_while_the_hub_runs() {
    let hub = hub().await;
    let backend = Backend::new(&hub);
    let all = json!({"query": "SELECT deviceId FROM devices WHERE tags.a = 1"});
    let found = async || backend.post("/devices/query", all.clone()).await.body.as_array().map_or(0, Vec::len);
    backend.patch("/twins/leaf", json!({"tags": {"a": 1}})).await;
    let slow = json!({"lag_ms": 3_600_000});
    assert_eq!(backend.control(Method::PUT, "/faults/hub/index", Some(slow)).await.status, 204);
    backend.patch("/twins/edge-a", json!({"tags": {"a": 1}})).await;
    assert_eq!(found().await, 1, "what was shown stays shown, what is new is not");
    assert_eq!(backend.control(Method::DELETE, "/faults/hub/index", None).await.status, 204);
    assert_eq!(found().await, 2);
}

#[tokio::test]
async fn a_connection_state_flaps_without_its_connection() {
    let hub = hub().await;
    let backend = Backend::new(&hub);
    let mut device = leaf(&hub).await;
    device.publish("devices/leaf/messages/events/", Qos::AtLeastOnce, b"x").await;
    device.packet().await.expect("a PUBACK");
    let before = backend.get("/devices/leaf").await.body;
    assert_eq!(before["connectionState"], "Connected");
    let flap = backend.control(Method::POST, "/faults/devices/leaf/flap", Some(json!({"count": 3})));
    assert_eq!(flap.await.status, 204);
    let after = backend.get("/devices/leaf").await.body;
    assert_eq!(after["connectionState"], "Connected");
    assert_ne!(after["connectionStateUpdatedTime"], before["connectionStateUpdatedTime"]);
    device.request(&format!("{REPORT}1"), b"{}").await;
    let flap = backend.control(Method::POST, "/faults/devices/nobody/flap", None);
    assert_eq!(flap.await.status, 400);
}

#[tokio::test]
async fn a_restart_closes_refuses_and_opens_again() {
    let hub = hub().await;
    let backend = Backend::new(&hub);
    backend.patch("/twins/leaf", json!({"tags": {"a": 1}})).await;
    let down = async |down_ms: u64, keep_state: bool| {
        let mut device = leaf(&hub).await;
        let restart = json!({"down_ms": down_ms, "keep_state": keep_state});
        assert_eq!(backend.control(Method::POST, "/faults/hub/restart", Some(restart)).await.status, 204);
        assert_eq!(device.receive().await, None, "closed");
    };
    for (keep_state, tag) in [(true, json!(1)), (false, json!(null))] {
        down(300, keep_state).await;
        let mut found = None;
        eventually("it is up again", async || {
            let answer = backend.try_call(Method::GET, "/twins/leaf", None, None).await;
            found = answer.ok().map(|answer| answer.body["tags"]["a"].clone());
            found.is_some()
        })
        .await;
        assert_eq!(found, Some(tag));
    }
    down(24 * 3600 * 1000, true).await;
    eventually("nobody listens", async || {
        let refused = tokio::net::TcpStream::connect(hub.mqtt_addr).await.map_err(|e| e.kind());
        matches!(refused, Err(std::io::ErrorKind::ConnectionRefused))
    })
    .await;
}
