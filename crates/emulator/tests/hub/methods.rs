//! Direct methods.

use iotedge_ha_emulator::Running;
use iotedge_ha_emulator::meters::Meter;
use mqtt_protocol_core::mqtt::packet::Qos;
use serde_json::{Value, json};

use crate::backend::{Answer, Backend};
use crate::device::{Device, Login};
use crate::{eventually, hub};

const METHODS: &str = "/twins/edge-a/modules/ha-agent/methods";

async fn listening(hub: &Running) -> Device {
    let login = Login::of(hub, "edge-a", Some("ha-agent"));
    let mut device = Device::connect(hub, &login).await.expect("connected");
    device.subscribe("$iothub/methods/POST/#", Qos::AtLeastOnce).await;
    device
}

async fn answer_one(device: &mut Device, status: i64, payload: &[u8]) -> Value {
    let request = device.receive().await.expect("a method");
    let rid = request.topic.rsplit("$rid=").next().expect("a rid");
    let topic = format!("$iothub/methods/res/{status}/?$rid={rid}");
    device.publish(&topic, Qos::AtLeastOnce, payload).await;
    assert!(request.topic.starts_with("$iothub/methods/POST/haHello/"));
    request.json()
}

fn inner(answer: &Answer) -> Value {
    let text = answer.body["Message"].as_str().expect("a message");
    serde_json::from_str(text).expect("JSON in a string")
}

#[tokio::test]
async fn a_method_goes_there_and_back() {
    let hub = hub().await;
    let backend = Backend::new(&hub);
    let mut device = listening(&hub).await;
    let call = json!({"methodName": "haHello", "payload": {"term": 7}});
    let (answer, seen) = tokio::join!(backend.post(METHODS, call), answer_one(&mut device, 222, br#"{"ok":true}"#));
    assert_eq!(seen, json!({"term": 7}));
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body, json!({"status": 222, "payload": {"ok": true}}));
    let call = json!({"methodName": "haHello"});
    let (answer, seen) = tokio::join!(backend.post(METHODS, call), answer_one(&mut device, 200, b""));
    assert_eq!(seen, Value::Null);
    assert_eq!(answer.body, json!({"status": 200, "payload": null}));
}

#[tokio::test]
async fn an_offline_device_fails_at_once_and_one_without_subscription_too() {
    let hub = hub().await;
    let backend = Backend::new(&hub);
    let call = json!({"methodName": "haHello", "responseTimeoutInSeconds": 300});
    let answer = backend.post(METHODS, call.clone()).await;
    assert_eq!((answer.status.as_u16(), answer.error_code()), (404, "DeviceNotOnline"));
    assert_eq!(inner(&answer)["errorCode"], 404_103);
    assert_eq!(answer.body["ExceptionMessage"], "");
    let login = Login::of(&hub, "edge-a", Some("ha-agent"));
    let _mute = Device::connect(&hub, &login).await.expect("connected");
    let answer = backend.post(METHODS, call.clone()).await;
    assert_eq!(answer.error_code(), "DeviceNotOnline");
    let answer = backend.post("/twins/nobody/methods", call).await;
    assert_eq!((answer.status.as_u16(), answer.error_code()), (404, "DeviceNotFound"));
}

#[tokio::test]
async fn a_connect_timeout_waits_for_the_device() {
    let hub = hub().await;
    let backend = Backend::new(&hub);
    let call = json!({"methodName": "haHello", "connectTimeoutInSeconds": 120, "responseTimeoutInSeconds": 120});
    let late = async {
        eventually("the call is there", async || hub.meters().read(Meter::Methods) == 1).await;
        let mut device = listening(&hub).await;
        answer_one(&mut device, 200, b"1").await;
    };
    let (answer, ()) = tokio::join!(backend.post(METHODS, call), late);
    assert_eq!(answer.body, json!({"status": 200, "payload": 1}));
}

#[tokio::test]
async fn no_answer_in_time_is_a_gateway_timeout() {
    let hub = hub().await;
    let backend = Backend::new(&hub);
    let _device = listening(&hub).await;
    let call = json!({"methodName": "haHello", "responseTimeoutInSeconds": 5});
    let answer = backend.post(METHODS, call).await;
    assert_eq!((answer.status.as_u16(), answer.error_code()), (504, "GatewayTimeout"));
    assert_eq!(inner(&answer)["errorCode"], 504_101);
}

#[tokio::test]
async fn nonsense_is_refused_before_the_device_hears_of_it() {
    let hub = hub().await;
    let backend = Backend::new(&hub);
    for call in [
        json!({}),
        json!({"methodName": "a b"}),
        json!({"methodName": "a/b"}),
        json!({"methodName": "a", "responseTimeoutInSeconds": 4}),
        json!({"methodName": "a", "responseTimeoutInSeconds": 301}),
        json!({"methodName": "a", "responseTimeoutInSeconds": 5, "connectTimeoutInSeconds": 6}),
    ] {
        let answer = backend.post(METHODS, call.clone()).await;
        assert_eq!((answer.status.as_u16(), answer.error_code()), (400, "ArgumentInvalid"), "{call}");
    }
}
