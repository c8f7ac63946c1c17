//! Cloud-to-device messages, over MQTT and over HTTPS.

use std::time::Duration;

use iotedge_ha_emulator::hub::{Ack, CloudMessage, Code};
use iotedge_ha_emulator::meters::Meter;
use iotedge_ha_emulator::{Emulator, Options, Seed};
use mqtt_protocol_core::mqtt::packet::Qos;
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::backend::Backend;
use crate::device::{Device, Login};
use crate::{eventually, hub};

const FEEDBACK: &str = "/messages/serviceBound/feedback";
const FILTER: &str = "devices/leaf/messages/devicebound/#";

fn text(body: &str) -> CloudMessage {
    CloudMessage { message_id: Some(body.into()), body: body.as_bytes().to_vec(), ..CloudMessage::default() }
}

#[tokio::test]
async fn an_acknowledged_message_is_gone_and_another_comes_again() {
    let hub = hub().await;
    let backend = Backend::new(&hub);
    let count = async || backend.get("/devices/leaf").await.body["cloudToDeviceMessageCount"].clone();
    let mut login = Login::of(&hub, "leaf", None);
    login.clean = false;
    let mut device = Device::connect(&hub, &login).await.expect("connected");
    hub.send_to_device("leaf", text("a")).expect("queued");
    assert!(device.is_silent_for(Duration::from_millis(100)).await);
    assert_eq!(device.subscribe(FILTER, Qos::AtLeastOnce).await, [1]);
    hub.send_to_device("leaf", CloudMessage { ack: Some(Ack::Full), ..text("b") }).expect("queued");
    let (a, b) = (device.receive().await.expect("a"), device.receive().await.expect("b"));
    let to = "%24.to=%2Fdevices%2Fleaf%2Fmessages%2Fdevicebound";
    assert_eq!(a.topic, format!("devices/leaf/messages/devicebound/%24.mid=a&{to}"));
    assert_eq!(b.topic, format!("devices/leaf/messages/devicebound/%24.mid=b&{to}&iothub-ack=full"));
    assert_eq!((a.payload.as_slice(), b.payload.as_slice()), (&b"a"[..], &b"b"[..]));
    device.acknowledge(&a).await;
    eventually("the first is completed", async || count().await == 1).await;
    drop(device);
    eventually("the hub has noticed", async || hub.connections().is_empty()).await;
    hub.send_to_device("leaf", text("c")).expect("queued");
    // No SUBSCRIBE: the kept session has it.
    let mut device = Device::connect(&hub, &login).await.expect("connected");
    assert!(device.session_present);
    for expected in [b"b", b"c"] {
        let message = device.receive().await.expect("a message");
        assert_eq!(message.payload, expected);
        device.acknowledge(&message).await;
    }
    eventually("all are completed", async || count().await == 0).await;
    assert_eq!(backend.get("/twins/leaf").await.body["cloudToDeviceMessageCount"], 0);
    assert_eq!(hub.meters().read(Meter::CloudMessagesCompleted), 3);
    assert_eq!(hub.meters().read(Meter::CloudMessagesDelivered), 4);
}

#[tokio::test]
async fn a_take_over_in_a_kept_session_goes_on_listening() {
    let hub = hub().await;
    let mut login = Login::of(&hub, "leaf", None);
    login.clean = false;
    let mut old = Device::connect(&hub, &login).await.expect("connected");
    old.subscribe(FILTER, Qos::AtLeastOnce).await;
    hub.send_to_device("leaf", text("a")).expect("queued");
    old.receive().await.expect("a message");
    let mut new = Device::connect(&hub, &login).await.expect("connected");
    assert!(new.session_present);
    assert_eq!(new.receive().await.expect("again").payload, b"a");
    assert_eq!(old.receive().await, None);
}

#[tokio::test]
async fn a_device_receives_and_settles_over_https() {
    let hub = hub().await;
    let (backend, leaf) = (Backend::new(&hub), Backend::device(&hub, "leaf"));
    let path = "/devices/leaf/messages/deviceBound";
    assert_eq!(leaf.get(path).await.status, StatusCode::NO_CONTENT);
    let sent = backend
        .send_to_device("leaf", &[("iothub-app-level", "3"), ("iothub-messageid", "m1"), ("iothub-ack", "full")], "hi")
        .await;
    assert_eq!((sent.status, sent.body["sequenceNumber"].clone()), (StatusCode::OK, 1.into()));
    let refused = backend.send_to_device("nobody", &[], "hi").await;
    assert_eq!(refused.error_code(), "DeviceNotFound");
    let bad = backend.send_to_device("leaf", &[("iothub-expiry", "tomorrow")], "hi").await;
    assert_eq!(bad.error_code(), "ArgumentInvalid");
    let receive = async || {
        let message = leaf.get(path).await;
        let lock = message.header("etag").expect("a lock").trim_matches('"').to_owned();
        (message, lock)
    };
    let (message, lock) = receive().await;
    assert_eq!((message.header("iothub-app-level"), message.header("iothub-messageid")), (Some("3"), Some("m1")));
    assert_eq!(message.header("iothub-deliverycount"), Some("1"));
    assert_eq!(message.body, "hi");
    assert_eq!(leaf.get(path).await.status, StatusCode::NO_CONTENT);
    let settle = async |method, path: String, if_match: &str| leaf.call(method, &path, Some(if_match), None).await;
    let other = settle(Method::DELETE, format!("{path}/{lock}"), "other").await;
    assert_eq!(other.status, StatusCode::PRECONDITION_FAILED);
    let abandoned = settle(Method::POST, format!("{path}/{lock}/abandon"), &lock).await;
    assert_eq!(abandoned.status, StatusCode::NO_CONTENT);
    let (message, lock) = receive().await;
    assert_eq!(message.header("iothub-deliverycount"), Some("2"));
    let rejected = settle(Method::DELETE, format!("{path}/{lock}?reject"), &format!("\"{lock}\"")).await;
    assert_eq!(rejected.status, StatusCode::NO_CONTENT);
    let late = settle(Method::DELETE, format!("{path}/{lock}"), &lock).await;
    assert_eq!((late.status, late.error_code()), (StatusCode::PRECONDITION_FAILED, "DeviceMessageLockLost"));
    assert_eq!(hub.meters().read(Meter::CloudMessagesLost), 1);
    let told = backend.get(FEEDBACK).await;
    assert_eq!(told.header("content-type"), Some("application/vnd.microsoft.iothub.feedback.json"));
    let record = told.body[0].as_object().expect("a record");
    assert_eq!(
        [&record["originalMessageId"], &record["deviceId"], &record["statusCode"]],
        [&json!("m1"), &json!("leaf"), &json!("Rejected")]
    );
    assert_eq!(record["deviceGenerationId"], backend.get("/devices/leaf").await.body["generationId"]);
    let lock = told.header("etag").expect("a lock").trim_matches('"').to_owned();
    let done = backend.call(Method::DELETE, &format!("{FEEDBACK}/{lock}"), None, None).await;
    assert_eq!(done.status, StatusCode::NO_CONTENT);
    assert_eq!(backend.get(FEEDBACK).await.status, StatusCode::NO_CONTENT);
    assert_eq!(Backend::with_policy(&hub, "registryRead").get(FEEDBACK).await.status, StatusCode::UNAUTHORIZED);
    let foreign = leaf.get("/devices/edge-a/messages/deviceBound").await;
    assert_eq!(foreign.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_queue_holds_fifty_and_is_purged() {
    let hub = hub().await;
    let backend = Backend::new(&hub);
    for n in 0..50 {
        hub.send_to_device("leaf", text(&n.to_string())).expect("queued");
    }
    let full = hub.send_to_device("leaf", text("x")).expect_err("full");
    assert_eq!(full.code, Code::DeviceMaximumQueueDepthExceeded);
    let purged = backend.call(Method::DELETE, "/devices/leaf/commands", None, None).await;
    assert_eq!((purged.status, purged.body["totalMessagesPurged"].clone()), (StatusCode::OK, 50.into()));
    assert_eq!(backend.get("/devices/leaf").await.body["cloudToDeviceMessageCount"], 0);
}

#[tokio::test]
async fn messages_survive_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = || Options {
        state_dir: Some(folder.path().to_owned()),
        snapshot: Some(folder.path().join("hub.json")),
        seed: vec![Seed::parse("leaf").expect("a seed")],
        ..Options::default()
    };
    let hub = Emulator::start(options()).await.expect("a hub");
    hub.send_to_device("leaf", text("a")).expect("queued");
    hub.shutdown().await;
    let hub = Emulator::start(options()).await.expect("a hub");
    let mut device = Device::connect(&hub, &Login::of(&hub, "leaf", None)).await.expect("connected");
    device.subscribe(FILTER, Qos::AtMostOnce).await;
    let message = device.receive().await.expect("a message");
    assert_eq!((message.payload.as_slice(), message.packet_id), (&b"a"[..], None));
    assert_eq!(Backend::new(&hub).get("/devices/leaf").await.body["cloudToDeviceMessageCount"], 0);
}

#[tokio::test]
async fn device_messages_over_https_carry_their_properties() {
    let hub = hub().await;
    let mut messages = hub.messages();
    let leaf = Backend::device(&hub, "leaf");
    let headers = [
        ("iothub-app-Level", "3"),
        ("IoTHub-MessageId", "m"),
        ("IoTHub-UserId", "u"),
        ("iothub-contenttype", "text/plain"),
    ];
    let path = "/devices/leaf/messages/events";
    assert_eq!(leaf.post_raw(path, &headers, "hi").await.status, StatusCode::NO_CONTENT);
    let message = messages.recv().await.expect("a message");
    let mut properties = message.properties.clone();
    properties.sort();
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let expected = [pair("$.ct", "text/plain"), pair("$.mid", "m"), pair("$.uid", "u"), pair("level", "3")];
    assert_eq!(properties, expected);
    let batch = [("content-type", "application/vnd.microsoft.iothub.json")];
    let body = r#"[{"body":"YQ==","properties":{"iothub-app-n":"1"}},{"body":"b","base64Encoded":false}]"#;
    assert_eq!(leaf.post_raw(path, &batch, body).await.status, StatusCode::NO_CONTENT);
    let (first, second) = (messages.recv().await.expect("one"), messages.recv().await.expect("two"));
    assert_eq!((first.body.as_ref(), second.body.as_ref()), (&b"a"[..], &b"b"[..]));
    assert_eq!(first.properties, [pair("n", "1")]);
    assert_eq!(leaf.post_raw(path, &batch, "[{}]").await.status, StatusCode::BAD_REQUEST);
    let module = Backend::module(&hub, "edge-a", "ha-agent");
    let path = "/devices/edge-a/modules/ha-agent/messages/events";
    assert_eq!(module.post_raw(path, &[], "x").await.status, StatusCode::NO_CONTENT);
    let too_long = "x".repeat(256 * 1024 + 1);
    assert_eq!(module.post_raw(path, &[], &too_long).await.error_code(), "MessageTooLarge");
}
