//! Pages and lag.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::{DeviceBody, Dice, Expect, Hub, Id, ModuleBody};
use super::Page;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).expect("a time")
}

fn hub(lag_s: i64) -> Hub {
    Hub::new(Dice::new([7; 32]), SignedDuration::from_secs(lag_s))
}

fn put(hub: &mut Hub, id: &str, now: Timestamp) {
    hub.put_device(id, &DeviceBody::default(), &Expect::Nothing, now).expect("made");
}

fn tag(hub: &mut Hub, id: &Id, value: i64, now: Timestamp) {
    hub.patch_twin(id, &json!({"tags": {"n": value}}), &Expect::Nothing, now).expect("patched");
}

fn page(hub: &mut Hub, text: &str, size: usize, token: Option<&str>) -> Page {
    hub.query(text, size, token, at(0)).expect("a page")
}

fn ids(rows: &[Value]) -> Vec<&str> {
    rows.iter().filter_map(|row| row["deviceId"].as_str()).collect()
}

#[test]
fn a_continuation_is_good_for_its_query_only() {
    let mut hub = hub(0);
    for n in 0..5 {
        put(&mut hub, &format!("d{n}"), at(0));
    }
    let text = "SELECT * FROM devices";
    let token = page(&mut hub, text, 2, None).continuation.expect("more");
    assert_eq!(ids(&page(&mut hub, text, 9, Some(&token)).rows), ["d2", "d3", "d4"]);
    let moved = format!("{}A", &token[..token.len() - 1]);
    let other = "SELECT * FROM devices WHERE version > 0";
    for (text, token) in [(other, token.as_str()), (text, &moved), (text, "WzFd"), (text, "no token"), (text, "*")] {
        let refusal = hub.query(text, 2, Some(token), at(0)).expect_err("refused");
        assert!(refusal.text.contains("x-ms-continuation"), "{refusal}");
    }
}

#[test]
fn modules_continue_within_a_device() {
    let mut hub = hub(0);
    for device in ["a", "b"] {
        put(&mut hub, device, at(0));
        for module in ["m", "n", "o"] {
            hub.put_module(device, module, &ModuleBody::default(), &Expect::Nothing, at(0)).expect("made");
        }
    }
    let text = "SELECT deviceId, moduleId FROM devices.modules";
    let first = page(&mut hub, text, 2, None);
    hub.delete_module("a", "n", &Expect::Any, at(0)).expect("deleted");
    let second = page(&mut hub, text, 3, first.continuation.as_deref());
    let pair = |row: &Value| format!("{}/{}", row["deviceId"].as_str().unwrap(), row["moduleId"].as_str().unwrap());
    assert_eq!(second.rows.iter().map(pair).collect::<Vec<_>>(), ["a/o", "b/m", "b/n"]);
    assert_eq!(page(&mut hub, text, 3, second.continuation.as_deref()).continuation, None);
}

#[test]
fn groups_have_pages_and_a_top_as_well() {
    let mut hub = hub(0);
    for n in 0..7 {
        let id = format!("d{n}");
        put(&mut hub, &id, at(0));
        tag(&mut hub, &Id::device(&id), n % 5, at(0));
    }
    let text = "SELECT TOP 4 tags.n, COUNT() AS c FROM devices GROUP BY tags.n";
    let first = page(&mut hub, text, 3, None);
    assert_eq!(json!(first.rows), json!([{"n": 0, "c": 2}, {"n": 1, "c": 2}, {"n": 2, "c": 1}]));
    let second = page(&mut hub, text, 3, first.continuation.as_deref());
    assert_eq!((json!(second.rows), second.continuation), (json!([{"n": 3, "c": 1}]), None));
}

#[test]
fn a_lagging_index_shows_each_write_in_its_turn() {
    let mut hub = hub(10);
    let seen = |hub: &mut Hub, second| {
        let page = hub.query("SELECT deviceId, tags.n FROM devices", 100, None, at(second)).expect("a page");
        Value::Array(page.rows)
    };
    put(&mut hub, "d", at(0));
    tag(&mut hub, &Id::device("d"), 1, at(2));
    tag(&mut hub, &Id::device("d"), 2, at(9));
    assert_eq!(seen(&mut hub, 9), json!([]));
    assert_eq!(seen(&mut hub, 10), json!([{"deviceId": "d"}]));
    hub.delete_device("d", &Expect::Any, at(11)).expect("deleted");
    assert_eq!(seen(&mut hub, 18), json!([{"deviceId": "d", "n": 1}]));
    assert_eq!(seen(&mut hub, 20), json!([{"deviceId": "d", "n": 2}]));
    assert_eq!(seen(&mut hub, 21), json!([]));
}

proptest! {
    /// Whatever is there from the first page to the last comes exactly once, whatever else comes and goes.
    #[test]
    fn pages_neither_repeat_nor_hide(
        start in prop::collection::btree_set(0..40u8, 0..20),
        size in 1..6usize,
        writes in prop::collection::vec((0..40u8, any::<bool>()), 0..30),
    ) {
        let mut hub = hub(0);
        let name = |n: u8| format!("d{n:02}");
        let mut live: BTreeSet<u8> = start.clone();
        for n in &start {
            put(&mut hub, &name(*n), at(0));
        }
        let (mut stayed, mut seen, mut token) = (start, Vec::new(), None);
        let mut writes = writes.into_iter();
        loop {
            let page = page(&mut hub, "SELECT deviceId FROM devices", size, token.as_deref());
            prop_assert!(page.rows.len() <= size);
            seen.extend(page.rows.iter().map(|row| row["deviceId"].as_str().unwrap().to_owned()));
            token = page.continuation;
            if token.is_none() {
                break;
            }
            for (n, make) in writes.by_ref().take(2) {
                if make && live.insert(n) {
                    put(&mut hub, &name(n), at(0));
                } else if !make && live.remove(&n) {
                    hub.delete_device(&name(n), &Expect::Any, at(0)).expect("deleted");
                    stayed.remove(&n);
                }
            }
        }
        let once: BTreeSet<&String> = seen.iter().collect();
        prop_assert_eq!(once.len(), seen.len());
        prop_assert!(stayed.into_iter().all(|n| once.contains(&name(n))));
    }
}
