//! What of the resource and of event subscriptions outlives the process, and what does not.

use std::time::Duration;

use iotedge_ha_emulator::throttle::{Sku, Throttling};
use iotedge_ha_emulator::{ControlPlane, Emulator, Endpoint, EventOptions, Options, Restart, Running, Seed};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::backend::Backend;
use crate::eventually;
use crate::webhook::{Manner, Webhook};

fn options(change: impl FnOnce(&mut Options)) -> Options {
    let mut options = Options {
        control_plane: ControlPlane { takes: Duration::ZERO, ..ControlPlane::default() },
        events: EventOptions {
            endpoints: vec![Endpoint::parse("hot=http://127.0.0.1:1/").expect("an endpoint")],
            ..EventOptions::default()
        },
        seed: vec![Seed::parse("leaf").expect("a seed")],
        ..Options::default()
    };
    change(&mut options);
    options
}

fn manager(hub: &Running) -> Backend {
    let token = hub.bearer_token("somebody", "https://management.azure.com").expect("a token");
    Backend::with_token(hub, format!("Bearer {token}"))
}

async fn document(hub: &Running) -> Value {
    manager(hub).get(&hub.resource_id()).await.body
}

/// Writes a route, another policy and tags.
async fn write(hub: &Running) {
    let (manager, id) = (manager(hub), hub.resource_id());
    let mut document = document(hub).await;
    document["properties"]["routing"]["routes"] = json!([{"name": "hot", "source": "DeviceMessages",
        "condition": "true", "endpointNames": ["hot"], "isEnabled": true}]);
    document["properties"]["authorizationPolicies"] = json!([{"keyName": "iothubowner", "rights": "RegistryWrite, ServiceConnect, DeviceConnect"},
            {"keyName": "mine", "rights": "ServiceConnect"}]);
    let etag = document["etag"].as_str().expect("an etag").to_owned();
    let put = manager.call(Method::PUT, &id, Some(&etag), Some(document)).await;
    assert_eq!(put.status, StatusCode::CREATED, "{}", put.body);
    assert_eq!(manager.patch(&id, json!({"tags": {"site": "m1"}})).await.status, StatusCode::OK);
}

async fn assert_written(hub: &Running) {
    let document = document(hub).await;
    assert_eq!(document["properties"]["routing"]["routes"][0]["name"], "hot");
    assert_eq!(document["tags"], json!({"site": "m1"}));
    assert_eq!(Backend::with_policy(hub, "mine").get("/twins/leaf").await.status, StatusCode::OK);
    assert!(hub.policy_connection_string("service").is_none());
}

#[tokio::test]
async fn what_resource_manager_wrote_survives_in_a_state_folder_and_in_a_snapshot() {
    let folder = tempfile::tempdir().expect("a folder");
    for snapshot in [None, Some(folder.path().join("hub.json"))] {
        let state_dir = Some(folder.path().join("state").with_extension(snapshot.is_some().to_string()));
        let place = |options: &mut Options| (options.state_dir, options.snapshot) = (state_dir, snapshot);
        let options = options(place);
        let first = Emulator::start(options.clone()).await.expect("a hub");
        write(&first).await;
        let (written, mine) = (document(&first).await, first.policy_connection_string("mine").expect("a policy"));
        first.shutdown().await;
        let second = Emulator::start(options).await.expect("a hub");
        assert_written(&second).await;
        let key = |text: &str| text.split("SharedAccessKey=").nth(1).map(str::to_owned);
        let again = second.policy_connection_string("mine").expect("a policy");
        assert_eq!((document(&second).await, key(&again)), (written, key(&mine)));
    }
}

#[tokio::test]
async fn routes_of_the_command_line_begin_a_hub_and_written_ones_go_before_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let start = async |routing: Value, endpoints: &[&str]| {
        let options = options(|options| {
            options.state_dir = Some(folder.path().to_owned());
            options.events.routing = Some(routing);
            let parsed = endpoints.iter().map(|text| Endpoint::parse(text).expect("an endpoint"));
            options.events.endpoints = parsed.collect();
        });
        Emulator::start(options).await
    };
    let to = |name: &str, endpoint: &str| {
        json!({"routes": [{"name": name, "source": "DeviceMessages", "condition": "true",
            "endpointNames": [endpoint], "isEnabled": true}]})
    };
    let hot = ["hot=http://127.0.0.1:1/"];
    for name in ["one", "two"] {
        let hub = start(to(name, "events"), &hot).await.expect("a hub");
        assert_eq!(document(&hub).await["properties"]["routing"]["routes"][0]["name"], name, "nobody has written yet");
        hub.shutdown().await;
    }
    let hub = start(to("two", "events"), &hot).await.expect("a hub");
    write(&hub).await;
    hub.shutdown().await;
    let hub = start(to("three", "events"), &hot).await.expect("a hub");
    assert_written(&hub).await;
    hub.shutdown().await;
    let refused = start(to("three", "events"), &[]).await.expect_err("an endpoint is missing").to_string();
    assert!(refused.contains("there is no endpoint 'hot'") && refused.contains("--endpoint"), "{refused}");
}

#[tokio::test]
async fn a_restart_keeps_it_or_is_as_a_start_on_an_empty_disk() {
    let hub = Emulator::start(options(|_| {})).await.expect("a hub");
    let fresh = document(&hub).await;
    write(&hub).await;
    for keep_state in [true, false] {
        hub.restart(Restart { down_ms: 0, keep_state }).expect("under way");
        let mut shown = Value::Null;
        eventually("the hub is up again", async || {
            let token = hub.bearer_token("somebody", "https://management.azure.com").expect("a token");
            let manager = Backend::with_token(&hub, format!("Bearer {token}"));
            let answer = manager.try_call(Method::GET, &hub.resource_id(), None, None).await;
            shown = answer.map(|answer| answer.body).unwrap_or_default();
            // Until its ports close the old life answers.
            shown.is_object() && (keep_state || shown["tags"] == json!({}))
        })
        .await;
        if keep_state {
            assert_written(&hub).await;
        } else {
            assert_eq!((&shown["properties"], &shown["tags"]), (&fresh["properties"], &fresh["tags"]));
            assert!(hub.policy_connection_string("service").is_some());
        }
    }
}

#[tokio::test]
async fn event_subscriptions_of_calls_are_kept_with_their_validation() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut webhook = Webhook::open(Manner::Willing).await;
    let options = options(|options| {
        options.state_dir = Some(folder.path().to_owned());
        options.events.connection_window = Duration::ZERO;
    });
    let names = async |hub: &Running| {
        let listed = Backend::new(hub).control(Method::GET, "/event-subscriptions", None).await.body;
        let listed = listed.as_array().expect("a list").clone();
        listed.iter().map(|one| format!("{} {}", one["name"], one["state"])).collect::<Vec<_>>()
    };
    let first = Emulator::start(options.clone()).await.expect("a hub");
    let backend = Backend::new(&first);
    for name in ["kept-one", "removed"] {
        let body = json!({"url": webhook.url, "types": ["Microsoft.Devices.DeviceCreated"]});
        let put = backend.control(Method::PUT, &format!("/event-subscriptions/{name}"), Some(body)).await;
        assert_eq!(put.status, StatusCode::CREATED, "{}", put.body);
    }
    assert_eq!(backend.control(Method::DELETE, "/event-subscriptions/removed", None).await.status, 204);
    first.shutdown().await;
    for _ in 0..2 {
        assert_eq!(webhook.next().await.header("aeg-event-type"), "SubscriptionValidation");
    }
    let second = Emulator::start(options).await.expect("a hub");
    let backend = Backend::new(&second);
    assert_eq!(names(&second).await, ["\"kept-one\" \"active\""]);
    assert_eq!(backend.put("/devices/d2", json!({"deviceId": "d2"})).await.status, 200);
    let next = webhook.next().await;
    assert_eq!(next.header("aeg-event-type"), "Notification", "it has agreed once and is not asked again");
    assert_eq!(next.body[0]["subject"], "devices/d2");
    second.restart(Restart { down_ms: 0, keep_state: false }).expect("under way");
    eventually("nothing is left of it", async || {
        let listed = backend.try_control(Method::GET, "/event-subscriptions").await;
        listed.is_ok_and(|listed| listed.body == json!([]))
    })
    .await;
}

#[tokio::test]
async fn the_size_is_one_and_the_same_wherever_it_is_said() {
    let hub = Emulator::start(options(|options| options.throttling = Some(Throttling::new(Sku::S2, 3)))).await;
    let hub = hub.expect("a hub");
    let (manager, id) = (manager(&hub), hub.resource_id());
    let mut document = document(&hub).await;
    assert_eq!(document["sku"], json!({"name": "S2", "tier": "Standard", "capacity": 3}));
    let quota = async || {
        let quota = manager.get(&format!("{id}/quotaMetrics")).await.body["value"].clone();
        (quota[0]["currentValue"].clone(), quota[0]["maxValue"].clone(), quota[1]["currentValue"].clone())
    };
    assert_eq!(quota().await, (json!(0), json!(18_000_000), json!(1)));
    assert_eq!(Backend::new(&hub).get("/twins/leaf").await.status, 200);
    assert_eq!(quota().await, (json!(1), json!(18_000_000), json!(1)), "a twin read is a message");
    document["sku"] = json!({"name": "F1", "capacity": 1});
    let etag = document["etag"].as_str().expect("an etag").to_owned();
    assert_eq!(manager.call(Method::PUT, &id, Some(&etag), Some(document)).await.status, StatusCode::CREATED);
    let throttles = Backend::new(&hub).control(Method::GET, "/throttles", None).await.body;
    assert_eq!((&throttles["sku"], &throttles["quota"]["max"]), (&json!("F1"), &json!(8000)));
    assert_eq!(quota().await, (json!(1), json!(8000), json!(1)));
    hub.set_throttling(Some(Throttling::new(Sku::S3, 2))).expect("a size");
    assert_eq!(self::document(&hub).await["sku"], json!({"name": "S3", "tier": "Standard", "capacity": 2}));
    hub.set_throttling(None).expect("none");
    assert_eq!(self::document(&hub).await["sku"]["name"], "S3", "the size stays");
}

#[tokio::test]
async fn the_size_bounds_configurations_and_jobs() {
    let hub = Emulator::start(options(|_| {})).await.expect("a hub");
    let backend = Backend::new(&hub);
    let configuration = || json!({"content": {"deviceContent": {}}, "targetCondition": "", "priority": 1});
    let job = |n: usize| {
        json!({"jobId": format!("j{n}"), "type": "scheduleUpdateTwin", "queryCondition": "*",
            "startTime": "2999-01-01T00:00:00Z", "updateTwin": {"tags": {"a": 1}}})
    };
    let mut made = (0, 0);
    for (sku, configurations, jobs) in [(Sku::F1, 10, 1), (Sku::S2, 11, 5), (Sku::B3, 11, 10)] {
        hub.set_throttling(Some(Throttling::new(sku, 1))).expect("a size");
        while made.0 < configurations {
            let put = backend.put(&format!("/configurations/c{}", made.0), configuration()).await;
            assert_eq!(put.status, 200, "{}", put.body);
            made.0 += 1;
        }
        if sku == Sku::F1 {
            let refused = backend.put("/configurations/one-more", configuration()).await;
            let code = "ConfigurationCountLimitExceeded";
            assert_eq!((refused.status.as_u16(), refused.error_code()), (413, code));
        }
        while made.1 < jobs {
            let mut body = job(made.1);
            body["startTime"] = json!(in_an_hour());
            assert_eq!(backend.put(&format!("/jobs/v2/j{}", made.1), body).await.status, 200);
            made.1 += 1;
        }
        let mut body = job(99);
        body["startTime"] = json!(in_an_hour());
        let refused = backend.put("/jobs/v2/j99", body).await;
        let code = "ThrottlingMaxActiveJobCountExceeded";
        assert_eq!((refused.status.as_u16(), refused.error_code()), (429, code), "{sku:?}");
    }
}

fn in_an_hour() -> String {
    let hour = jiff::SignedDuration::from_hours(1);
    jiff::Timestamp::now().checked_add(hour).expect("a time").to_string()
}
