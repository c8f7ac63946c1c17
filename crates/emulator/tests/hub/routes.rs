//! Routes to files and webhooks, and the tail.

use iotedge_ha_emulator::{Emulator, Endpoint, EventOptions, Options, Running, Seed, Sink};
use mqtt_protocol_core::mqtt::packet::Qos;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::backend::Backend;
use super::device::{Device, Login, PATIENCE};
use super::eventually;
use super::webhook::{Manner, Webhook};

fn route(name: &str, source: &str, condition: &str, endpoint: &str) -> Value {
    json!({"name": name, "source": source, "condition": condition, "endpointNames": [endpoint], "isEnabled": true})
}

async fn hub(routing: Value, endpoints: Vec<Endpoint>) -> Running {
    let seed = Seed::parse("edge-a:edge:ha-agent").expect("a seed");
    let events = EventOptions { endpoints, routing: Some(routing), ..EventOptions::default() };
    let seed = vec![seed, Seed::parse("leaf").expect("a seed")];
    Emulator::start(Options { seed, events, ..Options::default() }).await.expect("a hub")
}

/// A reader of the tail.
pub(crate) struct Tail {
    response: reqwest::Response,
    buffer: Vec<u8>,
}

impl Tail {
    pub(crate) async fn open(hub: &Running, query: &str) -> Self {
        let ca = reqwest::Certificate::from_pem(hub.ca_pem.as_bytes()).expect("PEM");
        let client = reqwest::Client::builder().tls_certs_only([ca]).build().expect("a client");
        let url = format!("{}/tail?{query}", hub.control_url());
        let response = client.get(url).bearer_auth(hub.control_token()).send().await.expect("an answer");
        assert_eq!(response.status(), StatusCode::OK);
        Self { response, buffer: Vec::new() }
    }

    pub(crate) async fn next(&mut self) -> Value {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return serde_json::from_slice(&line).expect("JSON");
            }
            let chunk = tokio::time::timeout(PATIENCE, self.response.chunk()).await.expect("in time");
            self.buffer.extend(chunk.expect("a chunk").expect("no end"));
        }
    }
}

#[tokio::test]
async fn a_tag_of_the_sender_itself_decides_where_its_messages_go() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("active.jsonl");
    let endpoint = Endpoint { name: "active".into(), sink: Sink::File(path.clone()) };
    let routing = json!({
        "routes": [route("active", "DeviceMessages", "$twin.tags.ha.role = 'active' AND level = '3'", "active")],
        "enrichments": [{"key": "epoch", "value": "$twin.tags.ha.epoch", "endpointNames": ["active"]}],
    });
    let hub = hub(routing, vec![endpoint]).await;
    let backend = Backend::new(&hub);
    // A tag of the device says nothing about its module.
    backend.patch("/twins/edge-a", json!({"tags": {"ha": {"role": "active", "epoch": 1}}})).await;
    let mut tail = Tail::open(&hub, "kind=telemetry").await;
    let login = Login::of(&hub, "edge-a", Some("ha-agent"));
    let mut module = Device::connect(&hub, &login).await.expect("connected");
    let topic = "devices/edge-a/modules/ha-agent/messages/events/level=3&%24.mid=m1";
    module.publish(topic, Qos::AtLeastOnce, b"first").await;
    let unrouted = tail.next().await;
    assert_eq!((&unrouted["endpoint"], &unrouted["body"]), (&Value::Null, &json!("first")));
    backend.patch("/twins/edge-a/modules/ha-agent", json!({"tags": {"ha": {"role": "active", "epoch": 7}}})).await;
    module.publish(topic, Qos::AtLeastOnce, b"second").await;
    let routed = tail.next().await;
    assert_eq!((&routed["endpoint"], &routed["body"]), (&json!("active"), &json!("second")));
    assert_eq!(routed["properties"], json!({"level": "3", "epoch": "7"}));
    assert_eq!(routed["systemProperties"]["messageId"], "m1");
    assert_eq!(routed["systemProperties"]["iothub-connection-module-id"], "ha-agent");
    let lines = || std::fs::read_to_string(&path).unwrap_or_default();
    eventually("it is in the file", async || lines().ends_with('\n')).await;
    assert_eq!(serde_json::from_str::<Value>(&lines()).expect("one line"), routed);
}

#[tokio::test]
async fn other_sources_tell_of_twins_identities_and_connections() {
    let mut webhook = Webhook::open(Manner::Willing).await;
    let endpoint = Endpoint { name: "hook".into(), sink: Sink::Webhook(webhook.url.clone()) };
    let routing = json!({"routes": [
        route("twins", "TwinChangeEvents", "$body.properties.desired.mode = 'run'", "hook"),
        route("births", "DeviceLifecycleEvents", "opType = 'createDeviceIdentity' AND deviceId = 'new'", "hook"),
        route("links", "DeviceConnectionStateEvents", "opType = 'deviceConnected'", "hook"),
    ]});
    let hub = hub(routing, vec![endpoint]).await;
    let backend = Backend::new(&hub);
    backend.patch("/twins/leaf", json!({"tags": {"a": 1}})).await;
    backend.patch("/twins/leaf", json!({"properties": {"desired": {"mode": "run"}}})).await;
    let twin = webhook.next().await.body;
    assert_eq!(twin["properties"]["opType"], "updateTwin");
    assert_eq!(twin["properties"]["iothub-message-schema"], "twinChangeNotification");
    assert_eq!(twin["systemProperties"]["iothub-message-source"], "twinChangeEvents");
    let desired = &twin["body"]["properties"]["desired"];
    assert_eq!((&desired["mode"], &desired["$version"]), (&json!("run"), &json!(2)));
    assert_eq!(desired["$metadata"]["mode"]["$lastUpdatedVersion"], 2);
    assert_eq!(twin["body"]["version"], 4);
    backend.put("/devices/new", json!({"deviceId": "new"})).await;
    let birth = webhook.next().await.body;
    assert_eq!((&birth["body"]["deviceId"], &birth["body"]["etag"]), (&json!("new"), &json!("AAAAAAAAAAE=")));
    let mut leaf = Device::connect(&hub, &Login::of(&hub, "leaf", None)).await.expect("connected");
    leaf.publish("devices/leaf/messages/events/", Qos::AtLeastOnce, b"x").await;
    let link = webhook.next().await.body;
    assert_eq!(link["body"]["sequenceNumber"].as_str().map(str::len), Some(64));
    assert_eq!((&link["kind"], &link["device"]), (&json!("connection"), &json!("leaf")));
}

#[tokio::test]
async fn jobs_tell_what_they_do_to_each_device() {
    let mut webhook = Webhook::open(Manner::Willing).await;
    let endpoint = Endpoint { name: "hook".into(), sink: Sink::Webhook(webhook.url.clone()) };
    let condition = "opType = 'createDeviceJob' OR $body.status = 'completed' OR $body.status = 'failed'";
    let routing = json!({"routes": [route("jobs", "DeviceJobLifecycleEvents", condition, "hook")]});
    let hub = hub(routing, vec![endpoint]).await;
    let backend = Backend::new(&hub);
    let mut tail = Tail::open(&hub, "kind=job&device=leaf").await;
    let patch = json!({"etag": "*", "tags": {"a": 1}});
    let job = json!({"type": "scheduleUpdateTwin", "queryCondition": "deviceId = 'leaf'", "updateTwin": patch});
    assert_eq!(backend.put("/jobs/v2/j1", job).await.status, 200);
    let mut told = Vec::new();
    for _ in 0..3 {
        let line = tail.next().await;
        assert_eq!((&line["properties"]["jobId"], &line["body"]["jobId"]), (&json!("j1"), &json!("j1")));
        told.push((line["properties"]["opType"].clone(), line["body"]["status"].clone(), line["endpoint"].clone()));
    }
    let expected = [
        ("createDeviceJob", "pending", json!("hook")),
        ("updateDeviceJob", "running", Value::Null),
        ("updateDeviceJob", "completed", json!("hook")),
    ];
    assert_eq!(told, expected.map(|(operation, status, endpoint)| (json!(operation), json!(status), endpoint)));
    assert_eq!(webhook.next().await.body["properties"]["iothub-message-schema"], "deviceJobLifecycleNotification");
    let done = webhook.next().await.body;
    assert_eq!(done["systemProperties"]["iothub-message-source"], "deviceJobLifecycleEvents");
    let query = json!({"query": "SELECT * FROM devices.jobs"});
    assert_eq!(done["body"], backend.post("/devices/query", query).await.body[0]);
}

#[tokio::test]
async fn the_tail_follows_one_device_and_asks_for_the_token() {
    let hub = super::hub().await;
    let backend = Backend::new(&hub);
    let mut tail = Tail::open(&hub, "device=leaf&kind=telemetry,twin&endpoint=").await;
    let mut built_in = Tail::open(&hub, "endpoint=events").await;
    backend.patch("/twins/edge-a", json!({"tags": {"a": 1}})).await;
    backend.patch("/twins/leaf", json!({"tags": {"a": 1}})).await;
    let twin = tail.next().await;
    assert_eq!((&twin["device"], &twin["kind"], &twin["endpoint"]), (&json!("leaf"), &json!("twin"), &Value::Null));
    let mut leaf = Device::connect(&hub, &Login::of(&hub, "leaf", None)).await.expect("connected");
    leaf.publish("devices/leaf/messages/events/", Qos::AtLeastOnce, b"hi").await;
    assert_eq!(tail.next().await["body"], "hi");
    assert_eq!(built_in.next().await["body"], "hi", "the built-in endpoint got the message and nothing else");
    let wrong = backend.control(Method::GET, "/tail?kind=gossip", None).await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST);
    let stranger = backend.get("/_emulator/v1/tail").await;
    assert_eq!(stranger.status, StatusCode::UNAUTHORIZED);
}
