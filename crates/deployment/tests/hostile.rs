//! Whatever others write: nothing panics, and what is equal has equal digests.

use ha_wire::Twin;
use iotedge_ha_deployment::diff::diff;
use iotedge_ha_deployment::{Digest, Manifest, Member, Runs, Sections};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// JSON that looks a little like a twin or a manifest: its keys are those that matter.
fn content() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        Just("{}".to_owned()),
        Just("{\"a\":1}".to_owned()),
        Just("running".to_owned()),
        Just("1.1".to_owned()),
        Just("press:1".to_owned()),
        "[ -~]{0,12}",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        text.prop_map(Value::from),
    ];
    let keys = [
        "modulesContent",
        "$edgeAgent",
        "$edgeHub",
        "press",
        "properties.desired",
        "properties.desired.modules.press",
        "properties.desired.routes.up",
        "schemaVersion",
        "modules",
        "systemModules",
        "edgeAgent",
        "edgeHub",
        "runtime",
        "settings",
        "image",
        "createOptions",
        "createOptions01",
        "env",
        "value",
        "routes",
        "ha",
        "a.b",
        "$version",
    ];
    leaf.prop_recursive(6, 64, 6, move |inner| {
        let key = prop::sample::select(keys.to_vec()).prop_map(str::to_owned);
        prop_oneof![
            4 => prop::collection::vec((key, inner.clone()), 0..6).prop_map(|entries| Value::Object(entries.into_iter().collect())),
            1 => prop::collection::vec(inner, 0..3).prop_map(Value::from),
        ]
    })
}

fn object() -> impl Strategy<Value = Map<String, Value>> {
    content().prop_map(|value| match value {
        Value::Object(map) => map,
        other => [("press".to_owned(), other)].into_iter().collect(),
    })
}

fn sections() -> impl Strategy<Value = Sections> {
    (object(), object(), object()).prop_map(|(agent, hub, press)| {
        [("$edgeAgent", agent), ("$edgeHub", hub), ("press", press)].map(|(name, map)| (name.to_owned(), map)).into()
    })
}

fn reversed(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            Value::Object(map.iter().rev().map(|(key, value)| (key.clone(), reversed(value))).collect())
        }
        Value::Array(entries) => entries.iter().map(reversed).collect(),
        other => other.clone(),
    }
}

proptest! {
    #[test]
    fn any_json_is_read_or_refused_with_a_place(modules in object()) {
        if let Err(error) = Manifest::from_content(&json!({ "modulesContent": modules })) {
            prop_assert!(!error.problems().is_empty());
            prop_assert!(error.problems().iter().all(|problem| problem.path.starts_with("/modulesContent")), "{error}");
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in "[{}\\[\\]\":,a$. 0-9]{0,64}") {
        let _ = Manifest::read(&text);
    }

    #[test]
    fn any_twin_is_read(desired in object(), reported in object()) {
        let twin = json!({"deviceId": "d", "properties": {"desired": desired, "reported": reported}});
        let twin: Twin = serde_json::from_value(twin).expect("a twin");
        let member = Member::read(&twin, Some(&twin), [("press", &twin)]);
        let _ = (member.astray(), member.differences(), member.release("press_1"));
    }

    #[test]
    fn the_order_of_keys_makes_no_difference(sections in sections()) {
        let turned = sections.iter().map(|(name, map)| {
            let turned = reversed(&json!(map));
            (name.clone(), turned.as_object().cloned().unwrap_or_default())
        });
        let (one, other) = (Runs::told(&sections), Runs::told(&turned.collect()));
        prop_assert_eq!(one.digest(), other.digest());
        prop_assert_eq!(Digest::of(&json!(sections)), Digest::of(&reversed(&json!(sections))));
    }

    #[test]
    fn digests_differ_exactly_where_a_difference_can_be_shown(one in sections(), other in sections()) {
        let (one, other) = (Runs::told(&one), Runs::told(&other));
        let same = diff(&one.modules, &other.modules).is_empty() && diff(&one.twins, &other.twins).is_empty();
        prop_assert_eq!(one.digest() == other.digest(), same);
        prop_assert_eq!(diff(&one.modules, &other.modules).len(), diff(&other.modules, &one.modules).len());
    }
}
