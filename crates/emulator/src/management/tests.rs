use super::*;
use crate::routing::{Message, Source};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).expect("a time")
}

fn management() -> Management {
    let control_plane = ControlPlane { takes: Duration::from_secs(10), ..ControlPlane::default() };
    Management::new(control_plane, "hub.local".into(), vec!["hot".into()], None, at(0)).expect("a hub")
}

fn current_etag(hub: &Management, now: Timestamp) -> String {
    hub.show(now)["etag"].as_str().expect("an etag").to_owned()
}

fn put(hub: &Management, document: Value, now: Timestamp) -> Result<Accepted, Failure> {
    let etag = current_etag(hub, now);
    hub.put(document, Some(&etag), now)
}

fn goes_to(hub: &Management, now: Timestamp) -> Vec<String> {
    let message = Message::trial(Source::DeviceMessages, Vec::new(), Vec::new(), bytes::Bytes::new());
    hub.routes(now).route(&message, None, "hub").into_iter().map(|routed| routed.endpoint).collect()
}

#[test]
fn routes_change_when_the_operation_is_over_and_not_before() {
    let hub = management();
    let mut document = hub.show(at(0));
    document["properties"]["routing"]["routes"] = json!([{"name": "all", "source": "DeviceMessages",
        "condition": "true", "endpointNames": ["hot"], "isEnabled": true}]);
    let accepted = put(&hub, document, at(0)).expect("accepted");
    assert_eq!(accepted.resource["properties"]["state"], "Transitioning");
    assert_eq!(goes_to(&hub, at(9)), ["events"]);
    let progress = hub.progress(&accepted.operation, at(9)).expect("known");
    assert_eq!((progress.started, progress.ended), (at(0), None));
    let refused = put(&hub, hub.show(at(9)), at(9)).expect_err("busy");
    assert!(refused.message.contains("not in active state"), "{refused}");
    assert!(hub.patch(&json!({"tags": {}}), at(9)).is_err());
    assert_eq!(goes_to(&hub, at(10)), ["hot"]);
    assert_eq!(hub.progress(&accepted.operation, at(10)).expect("known").ended, Some(at(10)));
    assert_eq!(hub.show(at(10))["properties"]["provisioningState"], "Succeeded");
    assert_eq!(hub.progress("nothing", at(10)), None);
}

#[test]
fn what_is_not_known_survives_and_an_absent_fallback_is_off() {
    let hub = management();
    let mut document = hub.show(at(0));
    document["properties"]["somethingNew"] = json!({"a": [1]});
    document["zones"] = json!(["1"]);
    document["properties"]["routing"].as_object_mut().expect("an object").remove("fallbackRoute");
    put(&hub, document, at(0)).expect("accepted");
    let shown = hub.show(at(10));
    assert_eq!((&shown["properties"]["somethingNew"], &shown["zones"]), (&json!({"a": [1]}), &json!(["1"])));
    assert_eq!(goes_to(&hub, at(10)), [""; 0]);
    assert!(shown["properties"]["routing"].get("fallbackRoute").is_none());
}

#[test]
fn etags_guard_writes() {
    let hub = management();
    let (document, etag) = (hub.show(at(0)), current_etag(&hub, at(0)));
    for if_match in [None, Some(""), Some("AAAA")] {
        assert_eq!(hub.put(document.clone(), if_match, at(0)).expect_err("refused").status, 412, "{if_match:?}");
    }
    hub.patch(&json!({"tags": {"a": "b"}}), at(0)).expect("patched");
    assert_eq!(hub.show(at(0))["tags"], json!({"a": "b"}));
    assert_eq!(hub.put(document.clone(), Some(&etag), at(0)).expect_err("stale").status, 412);
    assert_eq!(hub.patch(&json!({"properties": {}}), at(0)).expect_err("refused").status, 400);
    let quoted = format!("\"{}\"", current_etag(&hub, at(0)));
    hub.put(document, Some(&quoted), at(0)).expect("accepted");
}

#[test]
fn secrets_are_masked_and_kept_when_the_mask_comes_back() {
    let hub = management();
    let mut document = hub.show(at(0));
    let secret = "Endpoint=sb://x;SharedAccessKeyName=send;SharedAccessKey=top==;EntityPath=e";
    document["properties"]["routing"]["endpoints"]["eventHubs"] = json!([{"name": "cold", "connectionString": secret}]);
    document["properties"]["authorizationPolicies"] = json!([{"keyName": "x", "primaryKey": "top", "rights": "y"}]);
    put(&hub, document, at(0)).expect("accepted");
    let shown = hub.show(at(10));
    assert!(!shown.to_string().contains("top"), "{shown}");
    let masked = "Endpoint=sb://x;SharedAccessKeyName=send;SharedAccessKey=****;EntityPath=e";
    let endpoint = &shown["properties"]["routing"]["endpoints"]["eventHubs"][0];
    assert_eq!(endpoint["connectionString"], masked);
    put(&hub, shown.clone(), at(10)).expect("accepted");
    let kept = &hub.settled(at(20)).document["properties"]["routing"]["endpoints"]["eventHubs"][0].clone();
    assert_eq!(kept["connectionString"], secret);
    let mut renamed = shown;
    renamed["properties"]["routing"]["endpoints"]["eventHubs"][0]["name"] = json!("other");
    let refused = put(&hub, renamed, at(20)).expect_err("nothing to keep");
    assert!(refused.message.contains("'other' is masked"), "{refused}");
}

#[test]
fn nonsense_is_refused_by_place() {
    let hub = management();
    let good = hub.show(at(0));
    let with = |pointer: &str, value: Value| {
        let mut document = good.clone();
        *document.pointer_mut(pointer).expect("a place") = value;
        document
    };
    for (document, status, text) in [
        (json!([]), 400, "a JSON object"),
        (with("/location", json!("mars")), 409, "cannot be moved"),
        (with("/sku/name", json!("X9")), 400, "sku.name must be one of F1"),
        (with("/sku/capacity", json!(-1)), 400, "sku.capacity"),
        (with("/properties", json!(7)), 400, "properties must be an object"),
        (with("/properties/eventHubEndpoints/events", json!("x")), 400, "properties.eventHubEndpoints.events"),
        (with("/properties/routing", json!("x")), 400, "properties.routing must be an object"),
        (with("/properties/routing/routes", json!([7])), 400, "routing.routes[0]"),
        (with("/properties/routing/fallbackRoute/condition", json!("x =")), 400, "routing.fallbackRoute.condition"),
    ] {
        let failure = put(&hub, document, at(0)).expect_err(text);
        assert_eq!(failure.status, status, "{failure}");
        assert!(failure.message.contains(text), "{failure}");
    }
    assert_eq!(hub.show(at(0)), good);
}

#[test]
fn a_failover_swaps_the_regions() {
    let hub = management();
    assert_eq!(hub.fail_over("local", at(0)).expect_err("refused").status, 400);
    hub.fail_over("LOCAL PAIRED", at(0)).expect("accepted");
    assert_eq!(hub.show(at(1))["properties"]["state"], "FailingOver");
    assert_eq!(hub.show(at(10))["properties"]["locations"][0]["location"], PAIRED_LOCATION);
}

#[test]
fn the_hub_is_named_after_its_host() {
    for (host, name) in
        [("myhub.azure-devices.net", "myhub"), ("localhost", "emulator"), ("127.0.0.1", "emulator"), ("hub", "hub")]
    {
        assert_eq!(document::name_of(host), name);
    }
}
