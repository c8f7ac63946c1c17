//! Events by webhook.

use std::time::Duration;

use iotedge_ha_emulator::{Emulator, EventOptions, EventSubscription, Options, Running, Schema, Seed};
use mqtt_protocol_core::mqtt::packet::Qos;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::backend::Backend;
use super::device::{Device, Login};
use super::eventually;
use super::webhook::{Manner, Webhook};

async fn hub_with(events: EventOptions) -> Running {
    let seed = vec![Seed::parse("leaf").expect("a seed")];
    let events = EventOptions { connection_window: Duration::ZERO, ..events };
    Emulator::start(Options { seed, events, ..Options::default() }).await.expect("a hub")
}

async fn hub() -> Running {
    hub_with(EventOptions { retry_scale: 0.0, ..EventOptions::default() }).await
}

fn subscription(url: &str) -> EventSubscription {
    EventSubscription {
        name: "sub-1".into(),
        url: url.into(),
        schema: Schema::EventGrid,
        types: Vec::new(),
        audience: None,
    }
}

async fn subscribe(backend: &Backend, name: &str, body: Value) -> super::backend::Answer {
    backend.control(Method::PUT, &format!("/event-subscriptions/{name}"), Some(body)).await
}

async fn shown(backend: &Backend, name: &str) -> Value {
    backend.control(Method::GET, &format!("/event-subscriptions/{name}"), None).await.body
}

#[tokio::test]
async fn events_arrive_in_the_event_grid_schema() {
    let mut webhook = Webhook::open(Manner::Willing).await;
    let options = EventOptions { subscriptions: vec![subscription(&webhook.url)], ..EventOptions::default() };
    let hub = hub_with(options).await;
    let handshake = webhook.next().await;
    assert_eq!(handshake.header("aeg-event-type"), "SubscriptionValidation");
    assert_eq!(handshake.body[0]["eventType"], "Microsoft.EventGrid.SubscriptionValidationEvent");
    let made = webhook.event("DeviceCreated").await;
    for (name, value) in [
        ("aeg-event-type", "Notification"),
        ("aeg-subscription-name", "SUB-1"),
        ("aeg-delivery-count", "0"),
        ("aeg-data-version", "1"),
        ("aeg-metadata-version", "1"),
        ("content-type", "application/json; charset=utf-8"),
    ] {
        assert_eq!(made.header(name), value, "{name}");
    }
    assert_eq!(
        (&made.body[0]["subject"], &made.body[0]["data"]["twin"]["version"]),
        (&json!("devices/leaf"), &json!(2))
    );
    assert_eq!(made.body[0]["topic"], hub.resource_id().to_ascii_uppercase());
    let mut leaf = Device::connect(&hub, &Login::of(&hub, "leaf", None)).await.expect("connected");
    let topic = "devices/leaf/messages/events/%24.ct=application%2Fjson&%24.ce=utf-8&level=3";
    leaf.publish(topic, Qos::AtLeastOnce, b"{\"t\":21}").await;
    let number = |seen: &super::webhook::Seen| {
        let number = &seen.body[0]["data"]["deviceConnectionStateEventInfo"]["sequenceNumber"];
        number.as_str().expect("a number").to_owned()
    };
    let connected = webhook.event("DeviceConnected").await;
    let telemetry = webhook.event("DeviceTelemetry").await;
    assert_eq!(telemetry.body[0]["data"]["body"], json!({"t": 21}));
    assert_eq!(telemetry.body[0]["data"]["properties"], json!({"level": "3"}));
    assert_eq!(telemetry.body[0]["data"]["systemProperties"]["iothub-connection-device-id"], "leaf");
    drop(leaf);
    let disconnected = webhook.event("DeviceDisconnected").await;
    assert_eq!(number(&connected).len(), 64);
    assert!(number(&disconnected) > number(&connected));
    let backend = Backend::new(&hub);
    backend.call(Method::DELETE, "/devices/leaf", Some("*"), None).await;
    assert_eq!(webhook.event("DeviceDeleted").await.body[0]["data"]["deviceId"], "leaf");
}

#[tokio::test]
async fn events_arrive_in_the_cloud_events_schema_if_their_type_is_wanted() {
    let mut webhook = Webhook::open(Manner::Willing).await;
    let hub = hub().await;
    let backend = Backend::new(&hub);
    let types = json!(["Microsoft.Devices.DeviceDeleted"]);
    let body = json!({"url": webhook.url, "schema": "cloud_events", "types": types});
    let made = subscribe(&backend, "cloud", body).await;
    assert_eq!((made.status, &made.body["state"]), (StatusCode::CREATED, &json!("active")));
    let handshake = webhook.next().await;
    assert_eq!(
        (&handshake.method, handshake.header("webhook-request-origin")),
        (&Method::OPTIONS, "eventgrid.azure.net")
    );
    backend.put("/devices/other", json!({"deviceId": "other"})).await;
    backend.call(Method::DELETE, "/devices/other", Some("*"), None).await;
    let event = webhook.next().await;
    assert_eq!(event.body["type"], "Microsoft.Devices.DeviceDeleted");
    assert_eq!((&event.body["specversion"], &event.body["subject"]), (&json!("1.0"), &json!("devices/other")));
    assert_eq!(event.header("content-type"), "application/cloudevents+json; charset=utf-8");
    assert_eq!(event.header("origin"), "eventgrid.azure.net");
    eventually("it counts", async || shown(&backend, "cloud").await["delivered"] == 1).await;
    assert_eq!(
        backend.control(Method::DELETE, "/event-subscriptions/cloud", None).await.status,
        StatusCode::NO_CONTENT
    );
    assert_eq!(backend.control(Method::GET, "/event-subscriptions", None).await.body, json!([]));
}

#[tokio::test]
async fn a_webhook_that_does_not_agree_gets_nothing() {
    let (vague, mute) = (Webhook::open(Manner::Vague).await, Webhook::open(Manner::Mute).await);
    let hub = hub().await;
    let backend = Backend::new(&hub);
    for (body, reason) in [
        (json!({"url": vague.url}), "202 Accepted; 200 is expected"),
        (json!({"url": vague.url, "schema": "cloud_events"}), "202 Accepted to OPTIONS"),
        (json!({"url": mute.url, "schema": "cloud_events"}), "did not answer with WebHook-Allowed-Origin"),
        (json!({"url": "http://127.0.0.1:1/"}), "not validated"),
        (json!({"url": "ftp://x/"}), "url must begin with http"),
        (json!({"url": mute.url, "types": ["Microsoft.Devices.Nothing"]}), "there is no event type"),
        (json!({"url": mute.url, "colour": "red"}), "unknown field `colour`"),
        (json!({"url": mute.url, "name": "other"}), "names another subscription"),
    ] {
        let refused = subscribe(&backend, "sub-1", body.clone()).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{body}");
        assert!(refused.body["error"].as_str().expect("a reason").contains(reason), "{} / {reason}", refused.body);
    }
    assert_eq!(backend.control(Method::GET, "/event-subscriptions", None).await.body, json!([]));
    assert_eq!(backend.control(Method::GET, "/event-subscriptions/sub-1", None).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn somebody_may_follow_the_validation_url() {
    let mut webhook = Webhook::open(Manner::Mute).await;
    let hub = hub().await;
    let backend = Backend::new(&hub);
    let made = subscribe(&backend, "sub-1", json!({"url": webhook.url})).await;
    assert_eq!(made.body["state"], "awaiting_manual_action");
    let url = webhook.next().await.body[0]["data"]["validationUrl"].as_str().expect("a url").to_owned();
    let path = url.strip_prefix(&hub.https_url()).expect("on the hub").to_owned();
    assert_eq!(backend.get(&format!("{path}0")).await.status, StatusCode::NOT_FOUND);
    backend.put("/devices/early", json!({"deviceId": "early"})).await;
    assert_eq!(backend.get(&path).await.status, StatusCode::OK);
    assert_eq!(shown(&backend, "sub-1").await["state"], "active");
    assert_eq!(webhook.event("DeviceCreated").await.body[0]["data"]["deviceId"], "early");
    assert_eq!(backend.get(&path).await.status, StatusCode::NOT_FOUND, "a code is good once");
}

#[tokio::test]
async fn what_fails_is_tried_again_and_a_devices_events_keep_their_order() {
    let mut webhook = Webhook::with_statuses(Manner::Willing, &[500, 205, 400]).await;
    let hub = hub().await;
    let backend = Backend::new(&hub);
    let types = json!(["Microsoft.Devices.DeviceCreated", "Microsoft.Devices.DeviceDeleted"]);
    subscribe(&backend, "sub-1", json!({"url": webhook.url, "types": types})).await;
    webhook.next().await;
    backend.put("/devices/x", json!({"deviceId": "x"})).await;
    backend.call(Method::DELETE, "/devices/x", Some("*"), None).await;
    let mut order = Vec::new();
    for _ in 0..4 {
        let seen = webhook.next().await;
        let kind = seen.body[0]["eventType"].as_str().expect("a type").rsplit('.').next().map(str::to_owned);
        order.push((kind.expect("a name"), seen.header("aeg-delivery-count").to_owned()));
    }
    // 500 and 205 are no success; 400 is final.
    let expected = [("DeviceCreated", "0"), ("DeviceCreated", "1"), ("DeviceCreated", "2"), ("DeviceDeleted", "0")];
    assert_eq!(order, expected.map(|(kind, count)| (kind.to_owned(), count.to_owned())));
    eventually("it counts", async || shown(&backend, "sub-1").await["delivered"] == 1).await;
    let shown = shown(&backend, "sub-1").await;
    assert_eq!((&shown["failed_attempts"], &shown["dropped"]), (&json!(3), &json!(1)));
    assert_eq!(shown["last_error"], "it answered 400");
}

#[tokio::test]
async fn some_answers_are_final() {
    let mut webhook = Webhook::with_statuses(Manner::Willing, &[400, 401, 403, 413, 404]).await;
    let hub = hub().await;
    let backend = Backend::new(&hub);
    subscribe(&backend, "sub-1", json!({"url": webhook.url})).await;
    webhook.next().await;
    for n in 0..5 {
        let device = format!("d{n}");
        backend.put(&format!("/devices/{device}"), json!({"deviceId": device})).await;
        let seen = webhook.next().await;
        assert_eq!(seen.body[0]["data"]["deviceId"], device, "nothing comes twice");
        assert_eq!(seen.header("aeg-delivery-count"), "0");
    }
    assert_eq!(webhook.next().await.header("aeg-delivery-count"), "1", "404 is not final");
    let counted = async || shown(&backend, "sub-1").await;
    eventually("all are settled", async || counted().await["waiting"] == 0).await;
    let shown = counted().await;
    assert_eq!((&shown["dropped"], &shown["delivered"]), (&json!(4), &json!(1)));
}

#[tokio::test]
async fn a_queue_is_bounded_and_what_is_lost_is_counted() {
    let webhook = Webhook::with_statuses(Manner::Willing, &[500; 100]).await;
    // Nothing is tried twice within the test.
    let hub = hub_with(EventOptions { retry_scale: 1000.0, waiting_max: 3, ..EventOptions::default() }).await;
    let backend = Backend::new(&hub);
    subscribe(&backend, "sub-1", json!({"url": webhook.url})).await;
    for n in 0..5 {
        backend.put(&format!("/devices/d{n}"), json!({"deviceId": format!("d{n}")})).await;
    }
    let shown = shown(&backend, "sub-1").await;
    assert_eq!((&shown["waiting"], &shown["dropped"], &shown["delivered"]), (&json!(3), &json!(2), &json!(0)));
}
