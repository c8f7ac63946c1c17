//! Who may connect, and what ends a connection.

use std::sync::Arc;
use std::time::Duration;

use iotedge_ha_emulator::meters::Meter;
use mqtt_protocol_core::mqtt::packet::Qos;
use mqtt_protocol_core::mqtt::result_code::ConnectReturnCode;
use reqwest::Method;
use serde_json::json;

use crate::backend::Backend;
use crate::device::{Device, Login, in_memory, unix_s};
use crate::{eventually, hub};

const NOT_AUTHORIZED: Option<ConnectReturnCode> = Some(ConnectReturnCode::NotAuthorized);
const PING: &[u8] = &[0xc0, 0];

#[tokio::test]
async fn a_good_key_connects_and_others_are_refused() {
    let hub = hub().await;
    let refusal = async |login: Login| Device::connect(&hub, &login).await.err();
    assert_eq!(refusal(Login::of(&hub, "leaf", None)).await, None);
    assert_eq!(refusal(Login::of(&hub, "edge-a", Some("ha-agent"))).await, None);
    let wrong = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let later = unix_s() + 60;
    let login = Login::with_key("leaf", None, wrong, later);
    assert_eq!(refusal(login).await, Some(NOT_AUTHORIZED));
    let login = Login::with_key("nobody", None, wrong, later);
    assert_eq!(refusal(login).await, Some(NOT_AUTHORIZED));
    assert_eq!(refusal(Login::until(&hub, "leaf", None, unix_s() - 1)).await, Some(NOT_AUTHORIZED));
}

#[tokio::test]
async fn a_disabled_device_is_cut_and_stays_out_with_its_modules() {
    let hub = hub().await;
    let backend = Backend::new(&hub);
    let login = Login::of(&hub, "edge-a", Some("ha-agent"));
    let mut module = Device::connect(&hub, &login).await.expect("connected");
    let identity = backend.get("/devices/edge-a").await.body;
    let mut disabled = identity.clone();
    disabled["status"] = json!("disabled");
    let answer = backend.call(Method::PUT, "/devices/edge-a", Some("*"), Some(disabled)).await;
    assert_eq!(answer.status, 200);
    assert_eq!(module.receive().await, None);
    let refused = Device::connect(&hub, &login).await.err();
    assert_eq!(refused, Some(NOT_AUTHORIZED));
}

#[tokio::test]
async fn a_newer_connection_takes_over() {
    let hub = hub().await;
    let login = Login::of(&hub, "leaf", None);
    let mut old = Device::connect(&hub, &login).await.expect("connected");
    let mut new = Device::connect(&hub, &login).await.expect("connected");
    assert_eq!(old.receive().await, None);
    new.subscribe("$iothub/twin/res/#", Qos::AtMostOnce).await;
    let answer = new.request("$iothub/twin/GET/?$rid=1", b" ").await;
    assert_eq!(answer.topic, "$iothub/twin/res/200/?$rid=1");
    assert_eq!(hub.meters().read(Meter::TakeOvers), 1);
    eventually("one connection is left", async || hub.connections().len() == 1).await;
}

#[tokio::test]
async fn silence_ends_a_connection_after_one_and_a_half_keep_alives() {
    let hub = Arc::new(hub().await);
    tokio::time::pause();
    let login = Login::of(&hub, "leaf", None).keep_alive(20);
    let started = tokio::time::Instant::now();
    let mut device = Device::connect_over(in_memory(&hub), &login).await.expect("connected");
    tokio::time::sleep(Duration::from_secs(29)).await;
    device.write_raw(PING).await;
    assert!(device.packet().await.is_some(), "a ping is answered, and ends the silence");
    assert_eq!(device.receive().await, None);
    assert_eq!(started.elapsed().as_secs(), 29 + 30);
    assert_eq!(hub.meters().read(Meter::KeepAliveExpiries), 1);
}

#[tokio::test]
async fn a_token_that_expires_ends_the_connection() {
    let hub = Arc::new(hub().await);
    tokio::time::pause();
    let login = Login::until(&hub, "leaf", None, unix_s() + 100);
    let mut device = Device::connect_over(in_memory(&hub), &login).await.expect("connected");
    assert!(device.is_silent_for(Duration::from_secs(30)).await);
    assert_eq!(device.receive().await, None);
    assert_eq!(hub.meters().read(Meter::KeepAliveExpiries), 0);
}

#[tokio::test]
async fn a_persistent_session_keeps_its_subscriptions() {
    let hub = hub().await;
    let mut login = Login::of(&hub, "leaf", None);
    login.clean = false;
    let mut device = Device::connect(&hub, &login).await.expect("connected");
    assert!(!device.session_present);
    device.subscribe("$iothub/twin/res/#", Qos::AtLeastOnce).await;
    drop(device);
    eventually("the hub has noticed", async || hub.connections().is_empty()).await;
    let mut device = Device::connect(&hub, &login).await.expect("connected");
    assert!(device.session_present);
    let answer = device.request("$iothub/twin/GET/?$rid=1", b"").await;
    assert_eq!(answer.json()["desired"]["$version"], 1);
    login.clean = true;
    drop(device);
    let device = Device::connect(&hub, &login).await.expect("connected");
    assert!(!device.session_present);
}

#[tokio::test]
async fn qos_two_foreign_topics_and_foreign_filters() {
    let hub = hub().await;
    let login = Login::of(&hub, "leaf", None);
    let mut device = Device::connect(&hub, &login).await.expect("connected");
    let filter = "devices/leaf/messages/devicebound/#";
    assert_eq!(device.subscribe(filter, Qos::ExactlyOnce).await, [1]);
    assert_eq!(device.subscribe("#", Qos::AtMostOnce).await, [0x80]);
    let other = "devices/edge-a/messages/events/";
    device.publish(other, Qos::AtMostOnce, b"x").await;
    assert_eq!(device.receive().await, None);
    let mut device = Device::connect(&hub, &login).await.expect("connected");
    let own = "devices/leaf/messages/events/";
    device.publish(own, Qos::ExactlyOnce, b"x").await;
    assert_eq!(device.receive().await, None);
}

#[tokio::test]
async fn only_messaging_makes_an_identity_connected() {
    let hub = hub().await;
    let backend = Backend::new(&hub);
    let state = async |path: &str| backend.get(path).await.body["connectionState"].clone();
    let mut messages = hub.messages();
    let leaf = Login::of(&hub, "leaf", None);
    let mut leaf = Device::connect(&hub, &leaf).await.expect("connected");
    leaf.subscribe("$iothub/methods/POST/#", Qos::AtMostOnce).await;
    assert_eq!(state("/devices/leaf").await, "Disconnected");
    leaf.publish("devices/leaf/messages/events/level=3", Qos::AtLeastOnce, b"hi").await;
    let message = messages.recv().await.expect("a message");
    assert_eq!(message.properties, [("level".into(), "3".into())]);
    assert_eq!(message.body.as_ref(), b"hi");
    assert_eq!(state("/devices/leaf").await, "Connected");
    drop(leaf);
    eventually("it shows", async || state("/devices/leaf").await == "Disconnected").await;
    let edge = Login::of(&hub, "edge-a", None);
    let mut edge = Device::connect(&hub, &edge).await.expect("connected");
    edge.publish("devices/edge-a/messages/events/", Qos::AtMostOnce, b"").await;
    messages.recv().await.expect("a message");
    assert_eq!(state("/devices/edge-a").await, "Disconnected");
}
