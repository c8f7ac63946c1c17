use expect_test::{Expect, expect};
use ha_core::holder::Flag;
use ha_core::ids::{BootId, PoolName, Term};
use ha_core::messages::{HolderState, Workload};
use ha_core::time::WallTime;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::Error;
use crate::arbitrary::{any_json, number, pool, sentence};
use crate::key::{KeyRing, MemberKey};
use crate::merge::merged;

const KEY: MemberKey = MemberKey::from_bytes([7; 32]);

fn press() -> PoolName {
    "press_1".parse().expect("a pool name")
}

fn settings(settings: Value) -> Map<String, Value> {
    settings.as_object().expect("an object").clone()
}

#[test]
fn an_agents_twin_looks_like_this() {
    let install = install_patch(&Value::Null, &press(), &KEY, &settings(json!({ "stop_ms": 3_000 }))).expect("fits");
    let desired = merged(&install, &flag_patch(&press(), Flag { active: true, term: Term(7) }));
    expect![[r#"
        {
          "ha": {
            "v": 1,
            "pool": "press_1",
            "key": "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=",
            "settings": {
              "stop_ms": 3000
            },
            "active": true,
            "term": 7
          }
        }"#]]
    .assert_eq(&format!("{desired:#}"));
    let read = decode_desired(&desired);
    assert_eq!(read.nonsense, []);
    assert_eq!(read.keys, KeyRing::of(KEY));
    assert_eq!(read.flag, Some(Flag { active: true, term: Term(7) }));
}

#[test]
fn settings_that_vanished_are_removed() {
    let old = settings(json!({ "stop_ms": 3_000, "gate": { "kind": "file", "path": "/run/ha" } }));
    let old = install_patch(&Value::Null, &press(), &KEY, &old).expect("fits");
    let new = settings(json!({ "gate": { "kind": "http" }, "probe": {} }));
    let desired = merged(&old, &install_patch(&old, &press(), &KEY, &new).expect("fits"));
    assert_eq!(Value::Object(decode_desired(&desired).settings), Value::Object(new));
}

#[test]
fn settings_that_are_too_large_are_refused() {
    let settings = settings(json!({ "gate": "x".repeat(9_000) }));
    expect![[r#"the agent's settings would take 9004 of at most 8192 bytes in the hub: use fewer or shorter entries"#]]
        .assert_eq(&install_patch(&Value::Null, &press(), &KEY, &settings).expect_err("too large").to_string());
}

/// What was read, and what was not.
fn check(ha: Value, expected: Expect) {
    let read = decode_desired(&json!({ "ha": ha }));
    let parts = [
        ("pool", read.pool.is_some()),
        ("flag", read.flag.is_some()),
        ("key", read.keys.current.is_some()),
        ("settings", !read.settings.is_empty()),
    ];
    let good: Vec<&str> = parts.into_iter().filter(|(_, good)| *good).map(|(name, _)| name).collect();
    let nonsense: String = read.nonsense.iter().map(|problem| format!("\n{problem}")).collect();
    expected.assert_eq(&format!(
        "read: {}{nonsense}",
        if good.is_empty() { "nothing".to_owned() } else { good.join(", ") }
    ));
}

#[test]
fn twins_edited_by_hand_say_what_is_wrong() {
    let key = KEY.to_base64();
    check(json!(null), expect!["read: nothing"]);
    check(
        json!([]),
        expect![[r#"
            read: nothing
            ha: expected an object, found a list (length 0); remove the key or let the controller rewrite it"#]],
    );
    check(
        json!({ "pool": "press_1", "key": key, "active": "yes", "term": 7 }),
        expect![[r#"
        read: pool, key
        ha.active: expected true or false, found "yes"; remove the key or let the controller rewrite it"#]],
    );
    check(
        json!({ "pool": "press_1", "key": key, "active": true, "term": -3 }),
        expect![[r#"
        read: pool, key
        ha.term: expected a whole number from 0 to 4503599627370495, found -3; remove the key or let the controller rewrite it"#]],
    );
    check(
        json!({ "pool": "press_1", "key": key, "active": true, "term": 1e300 }),
        expect![[r#"
        read: pool, key
        ha.term: expected a whole number from 0 to 4503599627370495, found 1e+300; remove the key or let the controller rewrite it"#]],
    );
    check(
        json!({ "pool": "press_1", "key": key, "active": true }),
        expect![[r#"
        read: pool, key
        ha.term: expected a whole number from 0 to 4503599627370495, found nothing; remove the key or let the controller rewrite it"#]],
    );
    check(
        json!({ "pool": "Press", "key": "aHVudGVyMg==", "active": false, "term": 7 }),
        expect![[r#"
        read: flag
        ha.pool: expected a pool name ([a-z][a-z0-9_]*, at most 64 characters), found "Press"; remove the key or let the controller rewrite it
        ha.key: expected a key of 32 bytes in base64, found a text of 12 bytes; remove the key or let the controller rewrite it"#]],
    );
    check(
        json!({ "v": 2, "pool": 5, "key": 12_345_678, "settings": 5 }),
        expect![[r#"
            read: nothing
            ha.v: expected 1 (another version of iotedge-ha may have written this), found 2; remove the key or let the controller rewrite it
            ha.pool: expected a pool name ([a-z][a-z0-9_]*, at most 64 characters), found 5; remove the key or let the controller rewrite it
            ha.key: expected a key of 32 bytes in base64, found a number; remove the key or let the controller rewrite it
            ha.settings: expected an object of at most 8192 bytes, found 5; remove the key or let the controller rewrite it"#]],
    );
    check(
        json!({ "pool": "press_1", "settings": { "a": "x".repeat(9_000) } }),
        expect![[r#"
        read: pool
        ha.settings: expected an object of at most 8192 bytes, found an object; remove the key or let the controller rewrite it"#]],
    );
    check(json!({ "active": null, "term": null, "settings": { "stop_ms": 5 } }), expect!["read: settings"]);
}

#[test]
fn a_report_looks_like_this() {
    let reported = Reported {
        state: HolderState::Active,
        term: Term(7),
        since: WallTime(1_700_000_000_000),
        boot: BootId::new("b-1"),
        workload: Workload::Running,
        leaving: false,
        agent: "0.1.0".to_owned(),
    };
    expect![[r#"
        {
          "ha": {
            "v": 1,
            "state": "active",
            "term": 7,
            "since": "2023-11-14T22:13:20Z",
            "boot": "b-1",
            "workload": {
              "health": "running",
              "reason": null
            },
            "leaving": false,
            "agent": "0.1.0"
          }
        }"#]]
    .assert_eq(&format!("{:#}", reported_patch(&reported)));
}

#[test]
fn reports_that_make_no_sense_say_what_is_wrong() {
    assert_eq!(decode_reported(&json!({})), Ok(None));
    let error = decode_reported(&json!({ "ha": { "v": 1, "state": 5, "term": 1, "since": 3, "boot": "b" } }));
    expect![[r#"
        ha.state: expected one of "starting", "standby", "opening", "active", "stopping", found 5; the agent reports anew when it is restarted
        ha.since: expected a time as in 2026-01-31T12:00:00Z, found 3; the agent reports anew when it is restarted
        ha.workload: expected an object, found nothing; the agent reports anew when it is restarted
        ha.leaving: expected true or false, found nothing; the agent reports anew when it is restarted
        ha.agent: expected a text of 1 to 128 bytes, found nothing; the agent reports anew when it is restarted"#]].assert_eq(&error.expect_err("malformed").to_string());
}

#[test]
fn roles_are_read_one_by_one() {
    let roles = decode_roles(&json!({ "ha": {
        "press_1": { "role": "active", "term": 7 },
        "press_2": { "role": "king", "term": 7 },
        "press_3": "active",
        "Press": { "role": "active", "term": 7 },
        "press_4": null,
    } }));
    assert_eq!(roles.by_pool.len(), 1);
    let nonsense: Vec<String> = roles.nonsense.iter().map(ToString::to_string).collect();
    expect![[r#"
        ha.press_2.role: expected one of "active", "standby", "maintenance", found "king"; remove the key or let the controller rewrite it
        ha.press_3: expected an object, found "active"; remove the key or let the controller rewrite it
        ha: expected a pool name ([a-z][a-z0-9_]*, at most 64 characters), found "Press"; remove the key or let the controller rewrite it"#]].assert_eq(&nonsense.join("\n"));
}

fn reported() -> impl Strategy<Value = Reported> {
    let state = prop::sample::select(vec![HolderState::Starting, HolderState::Standby, HolderState::Stopping]);
    let workload = prop_oneof![
        Just(Workload::Unknown),
        Just(Workload::Running),
        sentence(100).prop_map(Workload::Unready),
        sentence(100).prop_map(Workload::Failing)
    ];
    (state, number(), 0..4_102_444_800_000i64, workload, any::<bool>()).prop_map(
        |(state, term, since, workload, leaving)| Reported {
            state,
            term: Term(term),
            since: WallTime(since),
            boot: BootId::new("b-1"),
            workload,
            leaving,
            agent: "0.1.0".to_owned(),
        },
    )
}

fn role_tag() -> impl Strategy<Value = RoleTag> {
    let role = prop::sample::select(vec![Role::Active, Role::Standby, Role::Maintenance]);
    (role, number()).prop_map(|(role, term)| RoleTag { role, term: Term(term) })
}

proptest! {
    #[test]
    fn flags_survive_and_leave_the_key_alone(pool in pool(), active: bool, term in number()) {
        let flag = Flag { active, term: Term(term) };
        let install = install_patch(&Value::Null, &pool, &KEY, &Map::new()).expect("fits");
        let read = decode_desired(&merged(&install, &flag_patch(&pool, flag)));
        let expected =
            Desired { pool: Some(pool), flag: Some(flag), keys: KeyRing::of(KEY), settings: Map::new(), nonsense: Vec::new() };
        prop_assert_eq!(read, expected);
    }

    #[test]
    fn reports_survive_whatever_was_reported_before(first in reported(), second in reported()) {
        let section = merged(&merged(&Value::Null, &reported_patch(&first)), &reported_patch(&second));
        prop_assert_eq!(decode_reported(&section), Ok(Some(second)));
    }

    #[test]
    fn roles_survive(pool in pool(), tag in role_tag(), other in role_tag()) {
        let tags = merged(&role_patch(&"other".parse().expect("a pool name"), Some(other)), &role_patch(&pool, Some(tag)));
        let roles = decode_roles(&tags);
        prop_assert_eq!(roles.by_pool.get(&pool), Some(&tag));
        prop_assert_eq!(roles.nonsense, []);
        let gone = merged(&tags, &role_patch(&pool, None));
        prop_assert!(!decode_roles(&gone).by_pool.contains_key(&pool));
    }

    #[test]
    fn no_json_panics(json in any_json()) {
        for section in [json.clone(), json!({ "ha": json })] {
            let _ = decode_desired(&section);
            let _ = decode_roles(&section);
            let _: Result<_, Error> = decode_reported(&section);
            let _ = install_patch(&section, &press(), &KEY, &settings(json!({ "a": { "b": 1 } })));
        }
    }

    #[test]
    fn no_mangled_twin_hides_the_key(field in "(pool|active|term|settings|v)", value in any_json()) {
        let install = install_patch(&Value::Null, &press(), &KEY, &Map::new()).expect("fits");
        let mut desired = merged(&install, &flag_patch(&press(), Flag { active: true, term: Term(7) }));
        desired["ha"][field] = value;
        prop_assert_eq!(decode_desired(&desired).keys.current, Some(KEY));
    }

    #[test]
    fn no_refused_key_is_shown(text in "[a-z]{12,60}") {
        let read = decode_desired(&json!({ "ha": { "key": text.clone() } }));
        let said = format!("{:?}", read.nonsense);
        prop_assert!(!said.contains(&text[..12]));
    }
}
