//! The hub as a resource of Azure Resource Manager.

use std::time::Duration;

use iotedge_ha_emulator::{ControlPlane, Emulator, EventOptions, Options, Running, Seed};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::backend::{Answer, Backend};

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/azure/arm-examples-2023-06-30");

async fn hub(takes: Duration) -> (Running, Backend) {
    let control_plane = ControlPlane { takes, ..ControlPlane::default() };
    let endpoint = iotedge_ha_emulator::Endpoint::parse("hot=http://127.0.0.1:1/").expect("an endpoint");
    let events = EventOptions { endpoints: vec![endpoint], ..EventOptions::default() };
    let seed = vec![Seed::parse("leaf").expect("a seed")];
    let options = Options { control_plane, events, seed, ..Options::default() };
    let hub = Emulator::start(options).await.expect("a hub");
    let token = hub.bearer_token("somebody", "https://management.azure.com").expect("a token");
    let backend = Backend::with_token(&hub, format!("Bearer {token}"));
    (hub, backend)
}

async fn put(backend: &Backend, id: &str, document: Value) -> Answer {
    let etag = document["etag"].as_str().expect("an etag").to_owned();
    backend.call(Method::PUT, id, Some(&etag), Some(document)).await
}

fn with_route(mut document: Value, condition: &str) -> Value {
    document["properties"]["routing"]["routes"] = json!([{"name": "hot", "source": "DeviceMessages",
        "condition": condition, "endpointNames": ["hot"], "isEnabled": true}]);
    document
}

/// The path and query of a url that the hub gave.
fn path<'a>(hub: &Running, url: &'a str) -> &'a str {
    url.strip_prefix(&hub.https_url()).expect("on the hub")
}

#[tokio::test]
async fn a_write_is_an_operation_that_ends() {
    let (hub, backend) = hub(Duration::ZERO).await;
    let id = hub.resource_id();
    let document = backend.get(&id).await.body;
    let accepted = put(&backend, &id, with_route(document, "level = '3'")).await;
    assert_eq!((accepted.status, accepted.header("retry-after")), (StatusCode::CREATED, Some("1")));
    let status = backend.get(path(&hub, accepted.header("azure-asyncoperation").expect("a url"))).await;
    assert_eq!((status.status, &status.body["status"]), (StatusCode::OK, &json!("Succeeded")));
    let done = backend.get(path(&hub, accepted.header("location").expect("a url"))).await;
    assert_eq!((done.status, &done.body["properties"]["provisioningState"]), (StatusCode::OK, &json!("Succeeded")));
    assert_eq!(done.body["properties"]["routing"]["routes"][0]["name"], "hot");
    let message = json!({"body": "x", "appProperties": {"Level": "3"}});
    let input = json!({"routingSource": "DeviceMessages", "message": message});
    let matched = backend.post(&format!("{id}/routing/routes/$testall"), input).await.body;
    assert_eq!(matched["routes"][0]["properties"]["name"], "hot");
    assert_eq!(matched["routes"][1], Value::Null);
}

#[tokio::test]
async fn while_an_operation_runs_writes_are_refused() {
    let (hub, backend) = hub(Duration::from_secs(3600)).await;
    let id = hub.resource_id();
    let document = backend.get(&id).await.body;
    let accepted = put(&backend, &id, with_route(document, "true")).await;
    let running = backend.get(path(&hub, accepted.header("azure-asyncoperation").expect("a url"))).await;
    assert_eq!((&running.body["status"], running.header("retry-after")), (&json!("InProgress"), Some("1")));
    let location = backend.get(path(&hub, accepted.header("location").expect("a url"))).await;
    assert_eq!(location.status, StatusCode::ACCEPTED);
    let document = backend.get(&id).await.body;
    assert_eq!(document["properties"]["state"], "Transitioning");
    let refused = put(&backend, &id, document).await;
    assert_eq!((refused.status, &refused.body["httpStatusCode"]), (StatusCode::CONFLICT, &json!("Conflict")));
    assert!(refused.body["message"].as_str().expect("text").contains("not in active state"));
    let tags = backend.patch(&id, json!({"tags": {"a": "b"}})).await;
    assert_eq!(tags.status, StatusCode::CONFLICT);
    let input = json!({"routingSource": "DeviceMessages", "message": {"body": "x"}});
    let matched = backend.post(&format!("{id}/routing/routes/$testall"), input).await.body;
    assert_eq!(matched["routes"][0]["properties"]["name"], "$fallback", "the old routes are in force");
}

#[tokio::test]
async fn a_route_can_be_tried_before_it_is_written() {
    let (hub, backend) = hub(Duration::ZERO).await;
    let path = format!("{}/routing/routes/$testnew", hub.resource_id());
    let system = json!({"contentType": "application/json", "contentEncoding": "utf-8"});
    let message = json!({"body": "{\"t\":21}", "appProperties": {"level": "3"}, "systemProperties": system});
    let twin = json!({"tags": {"role": "active"}, "properties": {"desired": {"a": 1}, "reported": {}}});
    for (condition, result) in [
        ("level = '3' AND $body.t > 20 AND $twin.tags.Role = 'active' AND $twin.properties.desired.a = 1", "true"),
        ("level = '4'", "false"),
        ("level > 2", "undefined"),
    ] {
        let route = json!({"name": "r", "source": "DeviceMessages", "condition": condition,
            "endpointNames": ["events"], "isEnabled": true});
        let answer = backend.post(&path, json!({"message": message, "route": route, "twin": twin})).await;
        assert_eq!((answer.status, &answer.body["result"]), (StatusCode::OK, &json!(result)), "{condition}");
    }
    let route = json!({"name": "r", "source": "DeviceMessages", "condition": "level = '3' AN x",
        "endpointNames": ["events"], "isEnabled": true});
    let answer = backend.post(&path, json!({"route": route})).await.body;
    let error = &answer["details"]["compilationErrors"][0];
    assert_eq!((&answer["result"], &error["severity"]), (&json!("false"), &json!("error")));
    assert_eq!(error["location"], json!({"start": {"line": 1, "column": 13}, "end": {"line": 1, "column": 15}}));
}

#[tokio::test]
async fn who_may_not_and_what_is_not_there() {
    let (hub, backend) = hub(Duration::ZERO).await;
    let id = hub.resource_id();
    let audience = hub.https_url();
    let own = hub.bearer_token("somebody", &format!("{audience}/")).expect("a token");
    assert_eq!(Backend::with_token(&hub, format!("Bearer {own}")).get(&id).await.status, StatusCode::OK);
    let data = hub.bearer_token("somebody", "https://iothubs.azure.net").expect("a token");
    for token in ["Bearer nonsense".to_owned(), format!("Bearer {data}")] {
        let refused = Backend::with_token(&hub, token).get(&id).await;
        assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
        assert_eq!(refused.body["error"]["code"], "InvalidAuthenticationToken");
        assert!(refused.header("www-authenticate").is_some());
    }
    assert_eq!(Backend::new(&hub).get(&id).await.status, StatusCode::UNAUTHORIZED, "a SAS token manages nothing");
    for (path, code) in [
        ("/subscriptions/other/providers/Microsoft.Devices/IotHubs".to_owned(), "SubscriptionNotFound"),
        (id.replace("resourceGroups/emulator", "resourceGroups/other"), "ResourceGroupNotFound"),
        (id.replace("IotHubs/emulator", "IotHubs/other"), "ResourceNotFound"),
        (id.replace("Microsoft.Devices", "Microsoft.Other"), "InvalidResourceType"),
        (format!("{id}/privateEndpointConnections/mine"), "NotFound"),
    ] {
        let missing = backend.get(&path).await;
        assert_eq!((missing.status, &missing.body["error"]["code"]), (StatusCode::NOT_FOUND, &json!(code)), "{path}");
    }
    let stale = backend.call(Method::PUT, &id, Some("AAAA"), Some(backend.get(&id).await.body)).await;
    assert_eq!(stale.status, StatusCode::PRECONDITION_FAILED);
    let wrong = with_route(backend.get(&id).await.body, "level =");
    let wrong = put(&backend, &id, wrong).await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST);
    assert!(wrong.body["message"].as_str().expect("text").contains("routing.routes[0].condition"), "{}", wrong.body);
}

/// Every name of the example must be in ours, with a value of the same type.
fn assert_alike(ours: &Value, example: &Value, place: &str) {
    match (ours, example) {
        (Value::Object(ours), Value::Object(example)) => {
            for (name, value) in example {
                let own = ours.get(name).unwrap_or_else(|| panic!("{place} lacks {name}"));
                assert_alike(own, value, &format!("{place}.{name}"));
            }
        }
        (Value::Array(ours), Value::Array(example)) => {
            if let (Some(ours), Some(example)) = (ours.first(), example.first()) {
                assert_alike(ours, example, &format!("{place}[0]"));
            }
        }
        (ours, example) => {
            let kind = |value: &Value| std::mem::discriminant(value);
            assert_eq!(kind(ours), kind(example), "{place}: {ours} / {example}");
        }
    }
}

#[tokio::test]
async fn answers_have_the_shape_of_microsofts_examples() {
    let (hub, backend) = hub(Duration::ZERO).await;
    let id = hub.resource_id();
    let list = |path: &str| id.split(path).next().expect("a prefix").to_owned();
    let lists = [list("/resourceGroups"), list("/providers")];
    for prefix in lists {
        let listed = backend.get(&format!("{prefix}/providers/Microsoft.Devices/IotHubs")).await.body;
        assert_eq!(listed["value"], json!([backend.get(&id).await.body]));
    }
    let route = json!({"name": "r", "source": "DeviceMessages", "condition": "x x", "endpointNames": ["events"],
        "isEnabled": true});
    for (file, answer) in [
        ("iothub_listkeys", backend.post(&format!("{id}/listkeys"), json!({})).await.body),
        ("iothub_getkey", backend.post(&format!("{id}/IotHubKeys/service/listkeys"), json!({})).await.body),
        ("iothub_quotametrics", backend.get(&format!("{id}/quotaMetrics")).await.body),
        ("iothub_stats", backend.get(&format!("{id}/IotHubStats")).await.body),
        (
            "iothub_testnewroute",
            backend.post(&format!("{id}/routing/routes/$testnew"), json!({"route": route})).await.body,
        ),
        ("iothub_patch", backend.patch(&id, json!({"tags": {"foo": "bar"}})).await.body),
        ("iothub_get", example_put(&backend, &id).await.unwrap_or_default()),
    ] {
        let Some(example) = example(file) else {
            return;
        };
        let mut shape = example["responses"]["200"]["body"].clone();
        if let Some(properties) = shape.get_mut("properties").and_then(Value::as_object_mut) {
            // Only where the hub was given them.
            if file == "iothub_patch" {
                for name in ["networkRuleSets", "minTlsVersion", "enableDataResidency"] {
                    properties.remove(name);
                }
            }
        }
        assert_alike(&answer, &shape, file);
    }
    let health = backend.get(&format!("{id}/routingEndpointsHealth")).await.body;
    assert_eq!(health, json!({"value": [{"endpointId": "hot", "healthStatus": "unknown"}]}));
    let keys = backend.post(&format!("{id}/IotHubKeys/registryReadWrite/listkeys"), json!({})).await.body;
    assert_eq!(keys["rights"], "RegistryWrite");
    let failover = backend.post(&format!("{id}/failover"), json!({"failoverRegion": "local paired"})).await;
    assert_eq!(failover.status, StatusCode::ACCEPTED);
    assert_eq!(backend.get(&id).await.body["properties"]["locations"][0]["location"], "local paired");
}

fn example(file: &str) -> Option<Value> {
    let Ok(text) = std::fs::read_to_string(format!("{EXAMPLES}/{file}.json")) else {
        eprintln!("skipped: Microsoft's examples are not here");
        return None;
    };
    Some(serde_json::from_str(&text).expect("JSON"))
}

/// What the example of an update sends is taken as it is, the region apart.
async fn example_put(backend: &Backend, id: &str) -> Option<Value> {
    let mut document = example("iothub_createOrUpdate")?["parameters"]["iotHubDescription"].clone();
    document["location"] = json!("local");
    document["properties"]["ipFilterRules"] = json!([{"filterName": "r", "action": "Accept", "ipMask": "1.2.3.4"}]);
    document["etag"] = backend.get(id).await.body["etag"].clone();
    let put = put(backend, id, document).await;
    assert_eq!(put.status, StatusCode::CREATED, "{}", put.body);
    Some(backend.get(id).await.body)
}

#[tokio::test]
async fn what_is_written_beside_routes_has_its_effect() {
    let (hub, manager) = hub(Duration::ZERO).await;
    let id = hub.resource_id();
    let write = async |properties: Value| {
        let mut document = manager.get(&id).await.body;
        for (name, value) in properties.as_object().expect("an object") {
            document["properties"][name] = value.clone();
        }
        let put = put(&manager, &id, document).await;
        assert_eq!(put.status, StatusCode::CREATED, "{}", put.body);
    };
    let owner = Backend::new(&hub);
    let device = Backend::device(&hub, "leaf");
    let send = async |backend: &Backend| backend.post_raw("/devices/leaf/messages/events", &[], "x").await.status;
    assert_eq!((owner.get("/twins/leaf").await.status, send(&device).await), (StatusCode::OK, StatusCode::NO_CONTENT));
    write(json!({"disableLocalAuth": true})).await;
    let statuses = (owner.get("/twins/leaf").await.status, send(&device).await, send(&owner).await);
    assert_eq!(statuses, (StatusCode::UNAUTHORIZED, StatusCode::NO_CONTENT, StatusCode::UNAUTHORIZED));
    write(json!({"disableLocalAuth": false, "disableDeviceSAS": true})).await;
    assert_eq!(
        (owner.get("/twins/leaf").await.status, send(&device).await),
        (StatusCode::OK, StatusCode::UNAUTHORIZED)
    );
    write(json!({"disableDeviceSAS": false, "cloudToDevice": {"defaultTtlAsIso8601": "PT2M", "maxDeliveryCount": 1}}))
        .await;
    assert_eq!(owner.send_to_device("leaf", &[], "one").await.status, StatusCode::OK);
    assert_eq!(owner.get("/devices/leaf").await.body["cloudToDeviceMessageCount"], 1);
    let received = device.get("/devices/leaf/messages/deviceBound").await;
    let lock = received.header("etag").expect("a lock").trim_matches('"').to_owned();
    let abandon = format!("/devices/leaf/messages/deviceBound/{lock}/abandon");
    device.call(Method::POST, &abandon, Some(&lock), None).await;
    assert_eq!(owner.get("/devices/leaf").await.body["cloudToDeviceMessageCount"], 0, "one delivery was all it had");
    let keys = async |name: &str| manager.post(&format!("{id}/IotHubKeys/{name}/listkeys"), json!({})).await.body;
    let before = keys("iothubowner").await;
    let primary = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo=";
    let renewed = json!({"keyName": "iothubowner", "primaryKey": primary, "rights": before["rights"]});
    write(json!({"authorizationPolicies": [renewed]})).await;
    let after = keys("iothubowner").await;
    assert_eq!((&after["primaryKey"], &after["secondaryKey"]), (&json!(primary), &before["secondaryKey"]));
    assert_eq!(owner.get("/twins/leaf").await.status, StatusCode::UNAUTHORIZED, "its key is another one");
    assert_eq!(Backend::new(&hub).get("/twins/leaf").await.status, StatusCode::OK);
    assert_eq!(keys("service").await["code"], "NotFound");
}

#[tokio::test]
async fn what_azure_knows_around_a_hub() {
    let (hub, backend) = hub(Duration::ZERO).await;
    let id = hub.resource_id();
    let (subscription, name) = (id.split('/').nth(2).expect("a part"), id.split('/').next_back().expect("a name"));
    let provider = format!("/subscriptions/{subscription}/providers/Microsoft.Devices");
    let operations = backend.get("/providers/Microsoft.Devices/operations").await.body;
    assert_eq!(operations["value"][0]["name"], "Microsoft.Devices/iotHubs/Read");
    let usages = backend.get(&format!("{provider}/usages")).await.body;
    assert_eq!([&usages["value"][0]["currentValue"], &usages["value"][1]["currentValue"]], [1, 0]);
    let sizes = backend.get(&format!("{id}/skus")).await.body;
    assert_eq!(sizes["value"].as_array().map(Vec::len), Some(7));
    let check = async |name: &str| {
        let asked = json!({"name": name});
        let answer = backend.post(&format!("{provider}/checkNameAvailability"), asked).await.body;
        (answer["nameAvailable"].clone(), answer["reason"].clone())
    };
    assert_eq!(check("another-hub").await, (json!(true), Value::Null));
    assert_eq!(check(name).await, (json!(false), json!("AlreadyExists")));
    assert_eq!(check("a_b").await, (json!(false), json!("Invalid")));
    for (part, none) in [
        ("certificates", json!({"value": []})),
        ("privateLinkResources", json!({"value": []})),
        ("privateEndpointConnections", json!([])),
    ] {
        assert_eq!(backend.get(&format!("{id}/{part}")).await.body, none, "{part}");
    }
    let reader = Backend::with_token(&hub, "Bearer x".to_owned());
    assert_eq!(reader.get("/providers/Microsoft.Devices/operations").await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn consumer_groups_are_made_shown_and_deleted() {
    let (hub, backend) = hub(Duration::ZERO).await;
    let at = format!("{}/eventHubEndpoints/events/ConsumerGroups", hub.resource_id());
    let names = async || {
        let list = backend.get(&at).await.body;
        let groups = list["value"].as_array().expect("a list").iter();
        groups.map(|group| group["name"].as_str().expect("a name").to_owned()).collect::<Vec<_>>()
    };
    let put = async |name: &str| backend.put(&format!("{at}/{name}"), json!({"properties": {"name": name}})).await;
    let made = put("Watch").await;
    assert_eq!((made.status, &made.body["name"]), (StatusCode::OK, &json!("Watch")));
    assert_eq!(put("Watch").await.body, made.body, "a second time changes nothing");
    assert_eq!(backend.get(&format!("{at}/Watch")).await.body, made.body);
    assert_eq!(names().await, ["$Default", "Watch"]);
    assert_eq!(put("a%20b").await.status, StatusCode::BAD_REQUEST);
    for n in 2..20 {
        put(&format!("g{n}")).await;
    }
    assert_eq!(put("one-too-many").await.status, StatusCode::BAD_REQUEST);
    let delete = async |name: &str| backend.call(Method::DELETE, &format!("{at}/{name}"), None, None).await.status;
    assert_eq!(delete("Watch").await, StatusCode::OK);
    assert_eq!((delete("Watch").await, delete("$Default").await), (StatusCode::NOT_FOUND, StatusCode::NOT_FOUND));
    assert_eq!(names().await.len(), 19);
}
