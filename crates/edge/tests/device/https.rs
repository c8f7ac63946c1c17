//! The HTTPS door beside methods: messages of leaf devices, and the control API.

use ha_iothub::Call;
use ha_wire::sas::Unsigned;
use ha_wire::{Device, SharedAccessKey};
use iotedge_ha_edge::Cut;
use serde_json::{Value, json};

use super::module::PATIENCE;
use super::{DEVICE, Site, https_client, timings};

/// A device in the registry, behind this Edge device or not; answers with a token of its own.
async fn leaf(site: &Site, name: &str, behind: bool) -> String {
    let call = || Call::within(PATIENCE);
    let mut leaf = Device::new(name);
    if behind {
        leaf.device_scope = site.service.device(DEVICE, &call()).await.expect("the device").device_scope;
    }
    let made = site.service.create_device(&leaf, &call()).await.expect("a leaf");
    let keys = made.authentication.and_then(|authentication| authentication.symmetric_key).expect("keys");
    let key = SharedAccessKey::from_base64(keys.primary().expect("a key").expose()).expect("base64");
    let expiry = u64::try_from(jiff::Timestamp::now().as_second()).expect("after 1970") + 600;
    Unsigned::device("localhost", name, expiry).sign(&key)
}

async fn send(site: &Site, name: &str, token: &str) -> u16 {
    let url = format!(
        "https://localhost:{}/devices/{name}/messages/events?api-version=2020-03-13",
        site.edge.https_addr.port()
    );
    let request = https_client(site.edge.trust_bundle.as_bytes()).post(url).header("Authorization", token);
    let request = request.header("iothub-app-kind", "heat").body("warm");
    request.send().await.expect("an answer").status().as_u16()
}

#[tokio::test]
async fn a_leaf_device_sends_through_its_parent_alone() {
    let site = Site::open(timings()).await;
    let mut messages = site.hub.messages();
    let (child, stranger) = (leaf(&site, "child", true).await, leaf(&site, "stranger", false).await);
    assert_eq!(send(&site, "stranger", &stranger).await, 401, "it is not behind this device");
    assert_eq!(send(&site, "child", &stranger).await, 401, "it is not its token");
    assert_eq!(send(&site, "child", &child).await, 204);
    let message = tokio::time::timeout(PATIENCE, messages.recv()).await.expect("in time").expect("a message");
    assert_eq!((message.from.to_string(), &message.body[..]), ("child".to_owned(), &b"warm"[..]));
    assert!(message.properties.contains(&("kind".to_owned(), "heat".to_owned())), "{:?}", message.properties);
}

#[tokio::test]
async fn the_control_api_cuts_the_line_for_whoever_has_the_token() {
    let site = Site::open(timings()).await;
    let client = https_client(site.edge.trust_bundle.as_bytes());
    let url = format!("{}/upstream", site.edge.control_url());
    let token = site.edge.control_token();
    let state = async || {
        let answer = client.get(&url).bearer_auth(token).send().await.expect("an answer");
        answer.json::<Value>().await.expect("JSON")["cut"].clone()
    };
    assert_eq!(state().await, "none");
    let put = async |token: &str, body: Value| {
        let answer = client.put(&url).bearer_auth(token).json(&body).send().await.expect("an answer");
        answer.status().as_u16()
    };
    assert_eq!(put("wrong", json!({"cut": "silent"})).await, 401);
    assert_eq!(put(token, json!({"cut": "slowly"})).await, 400);
    assert_eq!(state().await, "none");
    assert_eq!(put(token, json!({"cut": "silent"})).await, 204);
    assert_eq!(state().await, "silent");
    site.edge.cut(Cut::None);
    assert_eq!(state().await, "none");
}
