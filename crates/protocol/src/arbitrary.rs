//! What the tests of this crate draw.

use ha_core::ids::{NUMBER_MAX, PoolName};
use proptest::prelude::*;
use serde_json::{Map, Value};

pub(crate) fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0..10u64, 0..=NUMBER_MAX]
}

pub(crate) fn pool() -> impl Strategy<Value = PoolName> {
    "[a-z][a-z0-9_]{0,63}".prop_map(|name| name.parse().expect("a pool name"))
}

/// A text without control characters, of at most `max` bytes.
pub(crate) fn sentence(max: usize) -> impl Strategy<Value = String> {
    proptest::collection::vec(any::<char>().prop_filter("control", |c| !c.is_control()), 0..=max / 4)
        .prop_map(|chars| chars.into_iter().collect())
}

/// Any JSON, often with names that mean something here.
pub(crate) fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,20}".prop_map(Value::from),
        "(ha|pool|control|active|[0-9a-f]{32}-[0-9]|2026-01-31T12:00:00Z)".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 8, |inner| {
        let name = "(ha|v|kind|pool|term|key|requests|history|settled|[a-z]{0,5}|.{0,5})";
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::btree_map(name, inner, 0..8)
                .prop_map(|map| Value::Object(map.into_iter().collect::<Map<String, Value>>())),
        ]
    })
}
