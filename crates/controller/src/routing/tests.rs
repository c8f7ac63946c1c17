use expect_test::{Expect, expect};
use ha_iothub::management::Hub;
use serde_json::{Value, json};

use super::*;

fn pool() -> PoolName {
    "press_1".parse().unwrap()
}

fn edge_a() -> MemberId {
    MemberId::new("edge-a")
}

fn config(mode: Mode, condition: Option<&str>) -> RoutingConfig {
    let route = RouteConfig {
        name: "ha-press_1-events".to_owned(),
        endpoint: "events".to_owned(),
        source: "DeviceMessages".to_owned(),
        condition: condition.map(str::to_owned),
    };
    RoutingConfig { mode, routes: vec![route] }
}

fn route(name: &str, condition: &str) -> Value {
    json!({"name": name, "source": "DeviceMessages", "condition": condition, "endpointNames": ["events"], "isEnabled": true})
}

fn hub(routes: Vec<Value>) -> Hub {
    let resource = json!({"etag": "A", "sku": {"name": "S1"}, "properties": {"routing": {"routes": routes}}});
    Hub::from_json(resource).unwrap()
}

fn said(hub: &Hub, config: &RoutingConfig, adopt: bool) -> String {
    let wanted = config.wanted(&pool(), Some(&edge_a())).unwrap();
    match plan(hub, &pool(), &wanted, adopt) {
        Ok(plan) => plan.steps.iter().map(|step| format!("{step}\n")).collect(),
        Err(problem) => problem.to_string(),
    }
}

fn check(hub: &Hub, config: &RoutingConfig, expected: Expect) {
    expected.assert_eq(&said(hub, config, false));
}

#[test]
fn what_is_missing_is_made_and_then_nothing_is_left_to_do() {
    for mode in [Mode::Standing, Mode::Rules] {
        let config = config(mode, Some("level = 'high'"));
        let wanted = config.wanted(&pool(), Some(&edge_a())).unwrap();
        let mut hub = hub(vec![route("other", "true")]);
        plan(&hub, &pool(), &wanted, false).unwrap().apply(&mut hub);
        assert!(plan(&hub, &pool(), &wanted, false).unwrap().is_empty());
        assert_eq!(hub.routes().len(), 2, "the other one stays");
        assert!(belongs(&wanted[0].condition, &pool()));
    }
    check(
        &hub(vec![]),
        &config(Mode::Standing, Some("level = 'high'")),
        expect![[r#"
            route ha-press_1-events
              + source     DeviceMessages
              + condition  $twin.tags.ha.press_1.role = 'active' AND (level = 'high')
              + endpoint   events
              + enabled    true
        "#]],
    );
}

#[test]
fn a_rule_is_rewritten_for_the_new_holder() {
    check(
        &hub(vec![route("HA-press_1-events", "$connectionDeviceId = 'edge-b'")]),
        &config(Mode::Rules, None),
        expect![[r#"
            route ha-press_1-events
                source     DeviceMessages
              - condition  $connectionDeviceId = 'edge-b'
              + condition  $connectionDeviceId = 'edge-a'
                endpoint   events
                enabled    true
        "#]],
    );
    assert_eq!(config(Mode::Rules, None).wanted(&pool(), None), None, "nobody holds");
}

#[test]
fn what_is_somebody_elses_is_left_alone() {
    let theirs = hub(vec![route("ha-press_1-events", "level = 'high'")]);
    let config = config(Mode::Rules, None);
    check(
        &theirs,
        &config,
        expect!["the route ha-press_1-events is somebody else's: it leads to events if level = 'high'"],
    );
    assert!(
        said(&theirs, &config, true).contains("+ condition  $connectionDeviceId = 'edge-a'"),
        "unless it is wanted"
    );
    for condition in
        ["true", "$connectionDeviceId = 'a' OR true", "$twin.tags.ha.press_2.role = 'active'", "$connectionDeviceId"]
    {
        assert!(!belongs(condition, &pool()), "{condition}");
    }
    for condition in [
        "$connectionDeviceId = 'a'",
        "$connectionDeviceId = 'a' AND (b = 'c')",
        "$twin.tags.ha.press_1.role = 'active'",
    ] {
        assert!(belongs(condition, &pool()), "{condition}");
    }
    assert_eq!(steered_to("$connectionDeviceId = 'edge-a' AND (x = 'y')"), Some(edge_a()));
}

#[test]
fn what_the_hub_cannot_have_is_said_before_it_is_asked() {
    let mut config = config(Mode::Standing, None);
    let full = hub((0..100).map(|n| route(&format!("r{n}"), "true")).collect());
    check(&full, &config, expect!["the hub would have 101 routes; one of its tier may have 100"]);
    config.routes[0].endpoint = "alarms".to_owned();
    check(
        &hub(vec![]),
        &config,
        expect!["the hub has no endpoint alarms, which the route ha-press_1-events leads to; it has events"],
    );
    config.routes[0].condition = Some("x".repeat(9_000));
    check(
        &hub(vec![]),
        &config,
        expect!["the condition of the route ha-press_1-events has 9044 characters; at most 8192 are written"],
    );
}

#[test]
fn names_of_routes() {
    assert!(is_route_name("ha-press_1.events") && is_route_name(&"x".repeat(64)));
    assert!(!is_route_name("") && !is_route_name("a b") && !is_route_name(&"x".repeat(65)));
    assert_eq!(default_name(&pool(), "events"), "ha-press_1-events");
}
