use std::time::Duration;

use super::*;
use crate::access::Policies;
use crate::routing::{Message, Source};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).expect("a time")
}

fn begin() -> Beginning {
    let policies = Policies::make(|| Key::from_bytes(&[7; 32]));
    let local = vec!["hot".into()];
    Beginning { routing: None, local, size: None, disable_local_auth: false, upload_container: None, policies }
}

fn control_plane() -> ControlPlane {
    ControlPlane { takes: Duration::from_secs(10), ..ControlPlane::default() }
}

fn management() -> Management {
    Management::new(control_plane(), "hub.local".into(), begin(), None, at(0)).expect("a hub")
}

fn current_etag(hub: &Management, now: Timestamp) -> String {
    hub.show(now)["etag"].as_str().expect("an etag").to_owned()
}

fn put(hub: &Management, document: Value, now: Timestamp) -> Result<Accepted, Failure> {
    let etag = current_etag(hub, now);
    hub.put(document, Some(&etag), || Key::from_bytes(&[9; 32]), now)
}

fn goes_to(hub: &Management, now: Timestamp) -> Vec<String> {
    let message = Message::trial(Source::DeviceMessages, Vec::new(), Vec::new(), bytes::Bytes::new());
    hub.in_force(now).routes.route(&message, None, "hub").into_iter().map(|routed| routed.endpoint).collect()
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
    let key = || Key::from_bytes(&[9; 32]);
    for if_match in [None, Some(""), Some("AAAA")] {
        let refused = hub.put(document.clone(), if_match, key, at(0)).expect_err("refused");
        assert_eq!(refused.status, 412, "{if_match:?}");
    }
    hub.patch(&json!({"tags": {"a": "b"}}), at(0)).expect("patched");
    assert_eq!(hub.show(at(0))["tags"], json!({"a": "b"}));
    assert_eq!(hub.put(document.clone(), Some(&etag), key, at(0)).expect_err("stale").status, 412);
    assert_eq!(hub.patch(&json!({"properties": {}}), at(0)).expect_err("refused").status, 400);
    let quoted = format!("\"{}\"", current_etag(&hub, at(0)));
    hub.put(document, Some(&quoted), key, at(0)).expect("accepted");
}

#[test]
fn secrets_are_masked_and_kept_when_the_mask_comes_back() {
    let hub = management();
    let mut document = hub.show(at(0));
    let secret = "Endpoint=sb://x;SharedAccessKeyName=send;SharedAccessKey=top==;EntityPath=e";
    document["properties"]["routing"]["endpoints"]["eventHubs"] = json!([{"name": "cold", "connectionString": secret}]);
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
    let mut good = hub.show(at(0));
    good["properties"]["disableLocalAuth"] = json!(false);
    good["properties"]["authorizationPolicies"] = Value::Null;
    let shown = hub.show(at(0));
    let policies =
        |name: &str, key: &str, rights: &str| json!([{"keyName": name, "primaryKey": key, "rights": rights}]);
    let with = |pointer: &str, value: Value| {
        let mut document = good.clone();
        *document.pointer_mut(pointer).expect("a place") = value;
        document
    };
    for (document, status, text) in [
        (json!([]), 400, "a JSON object"),
        (with("/location", json!("mars")), 409, "cannot be moved"),
        (with("/sku/name", json!("X9")), 400, "sku.name must be one of F1"),
        (with("/sku/capacity", json!(-1)), 400, "sku.capacity: a hub of size S1 has 1 to 200 units"),
        (with("/sku", json!({"name": "F1", "capacity": 2})), 400, "sku.capacity: a hub of size F1 has one unit"),
        (with("/properties", json!(7)), 400, "properties must be an object"),
        (with("/properties/eventHubEndpoints/events", json!("x")), 400, "properties.eventHubEndpoints.events"),
        (with("/properties/cloudToDevice", json!(1)), 400, "properties.cloudToDevice must be an object"),
        (
            with("/properties/cloudToDevice/defaultTtlAsIso8601", json!("PT1S")),
            400,
            "cloudToDevice.defaultTtlAsIso8601",
        ),
        (with("/properties/cloudToDevice/maxDeliveryCount", json!(0)), 400, "cloudToDevice.maxDeliveryCount"),
        (with("/properties/routing", json!("x")), 400, "properties.routing must be an object"),
        (with("/properties/disableLocalAuth", json!("yes")), 400, "properties.disableLocalAuth must be true or false"),
        (with("/properties/authorizationPolicies", json!({})), 400, "authorizationPolicies must be a list"),
        (
            with("/properties/authorizationPolicies", policies("a;b", "", "ServiceConnect")),
            400,
            "authorizationPolicies[0].keyName",
        ),
        (with("/properties/authorizationPolicies", policies("a", "c2hvcnQ=", "ServiceConnect")), 400, "[0].primaryKey"),
        (
            with("/properties/authorizationPolicies", json!([{"keyName": "a", "rights": "Everything"}])),
            400,
            "[0].rights: 'Everything' is no right",
        ),
        (with("/properties/routing/routes", json!([7])), 400, "routing.routes[0]"),
        (with("/properties/routing/fallbackRoute/condition", json!("x =")), 400, "routing.fallbackRoute.condition"),
    ] {
        let failure = put(&hub, document, at(0)).expect_err(text);
        assert_eq!(failure.status, status, "{failure}");
        assert!(failure.message.contains(text), "{failure}");
    }
    assert_eq!(hub.show(at(0)), shown);
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

/// A write of everything that has an effect beside routes.
fn with_everything(mut document: Value) -> Value {
    document["sku"] = json!({"name": "S2", "capacity": 3});
    document["properties"]["disableDeviceSAS"] = json!(true);
    document["properties"]["cloudToDevice"] = json!({"defaultTtlAsIso8601": "P1DT30M", "maxDeliveryCount": 3});
    document["properties"]["authorizationPolicies"] = json!([
        {"keyName": "service", "rights": "ServiceConnect"},
        {"keyName": "mine", "rights": "RegistryRead, DeviceConnect"},
        {"keyName": "given", "primaryKey": Key::from_bytes(&[3; 32]).reveal(), "rights": "RegistryWrite"},
    ]);
    document
}

#[test]
fn what_is_written_beside_routes_counts_when_the_operation_is_over() {
    let hub = management();
    put(&hub, with_everything(hub.show(at(0))), at(0)).expect("accepted");
    let (before, after) = (hub.in_force(at(9)), hub.in_force(at(10)));
    assert_eq!((before.size, before.settings()), (Size::default(), crate::hub::Settings::default()));
    assert!(before.rules.signatures.of_devices && before.rules.policies.find("iothubowner").is_some());
    assert_eq!((after.size.sku.name(), after.size.units), ("S2", 3));
    let settings = after.settings();
    assert_eq!((settings.jobs_active_max, settings.message_deliveries_max), (5, 3));
    assert_eq!(settings.message_ttl, SignedDuration::from_mins(24 * 60 + 30));
    assert!(!after.rules.signatures.of_devices && after.rules.signatures.of_policies);
    let policies: Vec<_> = after.rules.policies.iter().map(|p| (p.name(), p.rights().to_string(), p.keys())).collect();
    let (kept, fresh, given) = (Key::from_bytes(&[7; 32]), Key::from_bytes(&[9; 32]), Key::from_bytes(&[3; 32]));
    let expected = [
        ("service", "ServiceConnect".to_owned(), [&kept, &kept]),
        ("mine", "RegistryRead, DeviceConnect".to_owned(), [&fresh, &fresh]),
        ("given", "RegistryWrite".to_owned(), [&given, &fresh]),
    ];
    assert_eq!(policies, expected);
    assert!(hub.show(at(10))["properties"].get("authorizationPolicies").is_none(), "keys are shown by listkeys alone");
    put(&hub, hub.show(at(10)), at(10)).expect("accepted");
    assert_eq!(hub.in_force(at(20)).rules.policies, after.rules.policies, "policies that are not named stay");
}

#[test]
fn what_was_kept_comes_back_as_if_the_operation_were_over() {
    let hub = management();
    let mut document = with_everything(hub.show(at(0)));
    document["properties"]["routing"]["routes"] = json!([{"name": "all", "source": "DeviceMessages",
        "condition": "true", "endpointNames": ["hot"], "isEnabled": true}]);
    let accepted = put(&hub, document, at(0)).expect("accepted");
    let kept = hub.keep(at(1));
    let resume = |beginning: Beginning| {
        Management::new(control_plane(), "hub.local".into(), beginning, Some(kept.clone()), at(2))
    };
    let again = resume(begin()).expect("a hub");
    assert_eq!(goes_to(&again, at(2)), ["hot"]);
    assert_eq!(again.progress(&accepted.operation, at(2)).expect("known").ended, Some(at(2)));
    assert_eq!(again.show(at(2)), hub.show(at(10)), "but for the operation that is over");
    assert_eq!(again.in_force(at(2)).rules, hub.in_force(at(10)).rules);
    let insisting = Beginning { size: Some(Size { units: 7, ..Size::default() }), disable_local_auth: true, ..begin() };
    let insisting = resume(insisting).expect("a hub");
    assert_eq!(insisting.in_force(at(2)).size.units, 7);
    assert!(!insisting.in_force(at(2)).rules.signatures.of_policies);
    let refused = resume(Beginning { local: Vec::new(), ..begin() }).expect_err("no such endpoint");
    assert!(refused.contains("there is no endpoint 'hot'") && refused.contains("--endpoint"), "{refused}");
    again.begin_again(at(0));
    assert_eq!(again.show(at(0)), management().show(at(0)));
}

#[test]
fn another_size_is_shown_and_keeps_the_routes() {
    let hub = management();
    let many: Vec<Value> = (0..6)
        .map(|n| {
            json!({"name": format!("r{n}"), "source": "DeviceMessages", "condition": "true",
                "endpointNames": ["hot"], "isEnabled": true})
        })
        .collect();
    let mut document = hub.show(at(0));
    document["properties"]["routing"]["routes"] = json!(many);
    put(&hub, document, at(0)).expect("accepted");
    let etag = current_etag(&hub, at(0));
    let free = Size { sku: crate::throttle::Sku::F1, units: 1 };
    hub.resize(free, at(1));
    assert_ne!(current_etag(&hub, at(1)), etag);
    assert_eq!(hub.show(at(1))["sku"], json!({"name": "F1", "tier": "Free", "capacity": 1}));
    assert_eq!((hub.in_force(at(1)).size, goes_to(&hub, at(1))), (free, vec!["events".to_owned()]));
    assert_eq!((hub.in_force(at(10)).size, goes_to(&hub, at(10))), (free, vec!["hot".to_owned()]));
    let refused = put(&hub, hub.show(at(10)), at(10)).expect_err("too many for the free tier");
    assert!(refused.message.contains("6 are too many"), "{refused}");
}
