//! While the line to the cloud is good.

use mqtt_protocol_core::mqtt::result_code::ConnectReturnCode;
use serde_json::json;

use super::module::{Module, PATIENCE};
use super::{Site, apply, edge_hub_follows, eventually, timings};

#[tokio::test]
async fn a_twin_goes_through_both_ways() {
    let site = Site::open(timings()).await;
    site.patch("alpha", json!({"speed": 1})).await;
    let mut alpha = site.module("alpha").await;
    let twin = alpha.twin("1").await;
    assert_eq!((&twin["desired"]["speed"], &twin["desired"]["$version"]), (&json!(1), &json!(2)), "{twin}");
    eventually("the subscription has reached the hub", async || {
        site.patch("alpha", json!({"speed": 2})).await;
        let changed = alpha.receive("$iothub/twin/PATCH/properties/desired/");
        tokio::time::timeout(std::time::Duration::from_millis(200), changed).await.is_ok()
    })
    .await;
    assert_eq!(alpha.report("2", &json!({"state": {"ok": true}})).await, "$iothub/twin/res/204/?$rid=2");
    eventually("the report arrives", async || site.reported("alpha").await == json!({"state": {"ok": true}})).await;
}

#[tokio::test]
async fn a_method_of_the_cloud_is_answered_by_the_module() {
    let site = Site::open(timings()).await;
    let mut alpha = site.module("alpha").await;
    alpha.subscribe(&["$iothub/methods/POST/#"]).await;
    // A call that is given up and made again is answered again.
    let answering = tokio::spawn(async move {
        while let Some(call) = alpha.receive("$iothub/methods/POST/double/").await {
            let rid = call.topic.split("$rid=").nth(1).expect("a rid");
            let answer = json!({"n": call.json()["n"].as_i64().expect("a number") * 2});
            alpha.publish(&format!("$iothub/methods/res/201/?$rid={rid}"), answer.to_string()).await;
        }
    });
    let mut answer = None;
    eventually("the module can be called", async || {
        answer = site.call("alpha", "double", json!({"n": 21})).await.ok();
        answer.is_some()
    })
    .await;
    assert_eq!(answer, Some((201, json!({"n": 42}))));

    // It leaves.
    answering.abort();
    eventually("a module that left cannot be called", async || {
        // A call that is under way at that moment is waited out.
        let refused = site.call_within(5, "alpha", "double", json!({"n": 1})).await;
        matches!(refused, Err(ha_iothub::Error::DeviceNotOnline(_)))
    })
    .await;
}

#[tokio::test]
async fn messages_go_up_and_across_by_the_routes() {
    let site = Site::open(timings()).await;
    let mut messages = site.hub.messages();
    let routes = json!({
        "$edgeAgent": {"properties.desired": {"schemaVersion": "1.1", "modules": {}}},
        "$edgeHub": {"properties.desired": {"schemaVersion": "1.1", "routes": {
            "up": "FROM /messages/modules/alpha/* INTO $upstream",
            "across": "FROM /messages/modules/alpha/outputs/hot INTO BrokeredEndpoint(\"/modules/beta/inputs/in\")",
        }}},
    });
    apply(&site, &routes).await;
    edge_hub_follows(&site).await;
    let mut beta = site.module("beta").await;
    beta.subscribe(&["devices/edge-1/modules/beta/inputs/#"]).await;
    let mut alpha = site.module("alpha").await;
    alpha.publish("devices/edge-1/modules/alpha/messages/events/%24.on=hot&kind=heat", "hello").await;
    let across = beta.receive("devices/edge-1/modules/beta/inputs/in/").await.expect("a message");
    assert_eq!(across.payload, b"hello");
    assert!(across.topic.contains("kind=heat") && across.topic.contains("cmid=alpha"), "{}", across.topic);
    let up = tokio::time::timeout(PATIENCE, messages.recv()).await.expect("in time").expect("a message");
    assert_eq!((up.from.to_string(), &up.body[..]), ("edge-1/alpha".to_owned(), &b"hello"[..]));
}

#[tokio::test]
async fn one_module_calls_another_over_https() {
    let site = Site::open(timings()).await;
    let mut beta = site.module("beta").await;
    beta.subscribe(&["$iothub/methods/POST/#"]).await;
    let answering = tokio::spawn(async move {
        let call = beta.receive("$iothub/methods/POST/greet/").await.expect("a call");
        let rid = call.topic.split("$rid=").nth(1).expect("a rid").to_owned();
        beta.publish(&format!("$iothub/methods/res/200/?$rid={rid}"), "\"hi\"").await;
    });
    let client = super::https_client(site.edge.trust_bundle.as_bytes());
    let call = async |module: &str, caller: &str, token: String| {
        let url = format!(
            "https://localhost:{}/twins/edge-1/modules/{module}/methods?api-version=2018-06-30",
            site.edge.https_addr.port()
        );
        let body =
            json!({"methodName": "greet", "payload": 1, "responseTimeoutInSeconds": 30, "connectTimeoutInSeconds": 0});
        let request = client.post(url).header("x-ms-edge-moduleId", caller).header("Authorization", token);
        let answer = request.json(&body).send().await.expect("an answer");
        (answer.status().as_u16(), answer.json::<serde_json::Value>().await.expect("JSON"))
    };
    let token = || site.token("alpha", 600);
    assert_eq!(call("beta", "edge-1/alpha", token()).await, (200, json!({"status": 200, "payload": "hi"})));
    answering.await.expect("no panic");
    assert_eq!(call("nobody", "edge-1/alpha", token()).await.0, 404);
    assert_eq!(call("beta", "edge-1/beta", token()).await.0, 401, "a token of another module");
    assert_eq!(call("beta", "edge-2/alpha", token()).await.0, 401, "a caller elsewhere");
}

#[tokio::test]
async fn tokens_are_checked_at_the_login_and_again_later() {
    let mut quick = timings();
    quick.reauthentication = std::time::Duration::from_millis(20);
    let site = Site::open(quick).await;
    for bad in [site.token("beta", 600), String::new(), site.token("alpha", 600).replace("sig=", "sig=A")] {
        let refused = Module::connect(&site, "alpha", &bad).await.err();
        assert_eq!(refused, Some(ConnectReturnCode::NotAuthorized));
    }
    let stranger = Module::connect(&site, "stranger", &site.token("alpha", 600)).await.err();
    assert_eq!(stranger, Some(ConnectReturnCode::NotAuthorized));
    let mut short = None;
    eventually("it is shown before it has expired", async || {
        short = Module::connect(&site, "alpha", &site.token("alpha", 2)).await.ok();
        short.is_some()
    })
    .await;
    short.expect("connected").ended().await;
    let mut first = site.module("alpha").await;
    let _second = site.module("alpha").await;
    first.ended().await;
}

#[tokio::test]
async fn clients_stand_in_the_reports_of_edge_hub() {
    let site = Site::open(timings()).await;
    let alpha = site.module("alpha").await;
    let status = async || site.reported("$edgeHub").await["clients"]["edge-1/alpha"]["status"].clone();
    eventually("it is connected", async || status().await == "Connected").await;
    drop(alpha);
    eventually("it is disconnected", async || status().await == "Disconnected").await;
}
