use expect_test::{Expect, expect};
use ha_core::anchor::{
    FOLLOWERS_MAX, HISTORY_MAX, Mark, OperatorRequest, Reason, Settled, Transition, UNPLANNED_MAX, Verb,
};
use ha_core::ids::{ControlId, Epoch, FollowerId, MemberId, NUMBER_MAX, RequestId, Term};
use ha_core::time::{Millis, WallTime};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::arbitrary::{any_json, number, pool, sentence};
use crate::merge::merged;

fn wall() -> impl Strategy<Value = WallTime> {
    (0..4_102_444_800_000i64).prop_map(WallTime)
}

fn member() -> impl Strategy<Value = MemberId> {
    "[A-Za-z0-9.$#%_-]{1,40}".prop_map(MemberId::new)
}

fn request_id() -> impl Strategy<Value = RequestId> {
    "[a-z0-9]{1,8}".prop_map(RequestId::new)
}

fn mark() -> impl Strategy<Value = Mark> {
    (sentence(40), wall()).prop_map(|(by, at)| Mark { by, at })
}

fn verb() -> impl Strategy<Value = Verb> {
    prop_oneof![
        option::of(member()).prop_map(|to| Verb::Switchover { to }),
        (option::of(member()), any::<bool>()).prop_map(|(to, fenced)| Verb::Failover { to, fenced }),
        Just(Verb::Pause),
        Just(Verb::Resume),
        (member(), any::<bool>()).prop_map(|(member, on)| Verb::Maintenance { member, on }),
    ]
}

fn operator_request() -> impl Strategy<Value = OperatorRequest> {
    (verb(), sentence(40), wall()).prop_map(|(verb, by, at)| OperatorRequest { verb, by, at })
}

fn reason() -> impl Strategy<Value = Reason> {
    prop_oneof![
        Just(Reason::First),
        Just(Reason::HolderSilent),
        Just(Reason::HolderLeaving),
        Just(Reason::HolderInMaintenance),
        Just(Reason::HolderDisabled),
        Just(Reason::HolderRemoved),
        sentence(40).prop_map(|said| Reason::WorkloadFailing { said }),
        Just(Reason::TermSpent),
        Just(Reason::Failback),
        (sentence(40), request_id(), any::<bool>()).prop_map(|(by, request, fenced)| Reason::Asked {
            by,
            request,
            fenced
        }),
        Just(Reason::Rebuilt),
    ]
}

fn transition() -> impl Strategy<Value = Transition> {
    (number(), member(), option::of(member()), wall(), reason())
        .prop_map(|(term, holder, from, at, reason)| Transition { term: Term(term), holder, from, at, reason })
}

fn settled() -> impl Strategy<Value = Settled> {
    (request_id(), wall(), option::of(sentence(40))).prop_map(|(request, at, refused)| Settled { request, at, refused })
}

/// Records that fit without being shortened.
fn anchor() -> impl Strategy<Value = Anchor> {
    let head = (pool(), "[a-z-]{1,20}", option::of(member()), number(), number(), number(), wall());
    let marks = (
        option::of(mark()),
        btree_map(member(), mark(), 0..3),
        btree_map(request_id(), operator_request(), 0..3),
        option::of(sentence(60)),
        btree_map("[a-z:_-]{1,48}".prop_map(FollowerId::new), number().prop_map(Term), 0..4),
    );
    let past = (vec(settled(), 0..=HISTORY_MAX), vec(transition(), 0..=HISTORY_MAX), vec(wall(), 0..=UNPLANNED_MAX));
    (head, marks, past).prop_map(
        |(
            (pool, control, holder, term, ttl, epoch, since),
            (paused, maintenance, requests, status, followed),
            (settled, history, unplanned),
        )| Anchor {
            pool,
            control: ControlId::new(control),
            holder,
            term: Term(term),
            ttl: Millis(ttl),
            epoch: Epoch(epoch),
            since,
            paused,
            maintenance,
            requests,
            settled,
            history,
            unplanned,
            status,
            followed,
        },
    )
}

/// As large as a record with device ids of that length can be before it is made to fit.
fn largest(id_length: usize) -> Anchor {
    let at = WallTime(1_700_000_000_123);
    let text = "ß".repeat(3_000);
    let member = |n: usize| MemberId::new(format!("{n:0>id_length$}"));
    let mark = Mark { by: text.clone(), at };
    let id = |n: usize| RequestId::new(format!("{n:0>32}"));
    let request = OperatorRequest { verb: Verb::Failover { to: Some(member(0)), fenced: true }, by: text.clone(), at };
    let reason = Reason::Asked { by: text.clone(), request: id(0), fenced: true };
    let transition = |n: usize| Transition {
        term: Term(NUMBER_MAX),
        holder: member(n),
        from: Some(member(n + 1)),
        at,
        reason: reason.clone(),
    };
    let settled = |n: usize| Settled { request: id(n), at, refused: Some(text.clone()) };
    let pool = "p".repeat(64).parse().expect("a pool name");
    let control = ControlId::new("c".repeat(id_length));
    let mut anchor = Anchor::vacant(pool, control, Term(NUMBER_MAX), Millis(NUMBER_MAX), Epoch(NUMBER_MAX), at);
    anchor.holder = Some(member(0));
    anchor.status = Some(text.clone());
    anchor.paused = Some(mark.clone());
    anchor.maintenance = (0..MAINTENANCE_MAX).map(|n| (member(n), mark.clone())).collect();
    anchor.requests = (0..REQUESTS_MAX).map(|n| (id(n), request.clone())).collect();
    anchor.followed = (0..FOLLOWERS_MAX).map(|n| (FollowerId::new(format!("{n:0>48}")), Term(NUMBER_MAX))).collect();
    anchor.settled = (0..40).map(settled).collect();
    anchor.history = (0..40).map(transition).collect();
    anchor.unplanned = vec![at; 40];
    anchor
}

#[test]
fn the_largest_record_fits() {
    let mut kept = Vec::new();
    for id_length in [20, 64, 128] {
        let anchor = largest(id_length);
        let tags = patch(&Value::Null, &anchor).expect("a record that fits");
        assert!(hub_size(&tags) <= SIZE_MAX, "{}", hub_size(&tags));
        let decoded = decode(&tags).expect("a good record").expect("a record");
        assert_eq!(decoded.nonsense, []);
        assert_eq!(decoded.anchor, bounded(&anchor).expect("a record that fits"));
        assert_eq!(decoded.anchor.requests.len(), REQUESTS_MAX);
        assert_eq!(decoded.anchor.unplanned.len(), UNPLANNED_MAX, "the flap guard forgets nothing");
        kept.push((id_length, decoded.anchor.history.len(), decoded.anchor.settled.len()));
    }
    expect!["[(20, 12, 3), (64, 8, 0), (128, 3, 0)]"].assert_eq(&format!("{kept:?}"));
}

#[test]
fn a_usual_record_loses_nothing() {
    let at = WallTime(1_700_000_000_123);
    let mut anchor = largest(24);
    anchor.requests.clear();
    anchor.followed = anchor.followed.into_iter().take(4).collect();
    anchor.maintenance = anchor.maintenance.into_iter().take(2).collect();
    for transition in &mut anchor.history {
        transition.reason = Reason::WorkloadFailing { said: "x".repeat(80) };
    }
    for settled in &mut anchor.settled {
        settled.refused = Some("x".repeat(100));
        settled.at = at;
    }
    let fitting = bounded(&anchor).expect("a record that fits");
    assert_eq!((fitting.history.len(), fitting.settled.len()), (HISTORY_MAX, HISTORY_MAX));
}

#[test]
fn what_cannot_be_shortened_is_refused() {
    let mut anchor = largest(20);
    anchor.term = Term(NUMBER_MAX + 1);
    expect![[r#"ha.term: 4503599627370496 is above 4503599627370495, the most that a twin carries; use a new pool name or control device"#]].assert_eq(&patch(&Value::Null, &anchor).expect_err("too big").to_string());
    let mut anchor = largest(20);
    let request = anchor.requests.values().next().expect("a request").clone();
    anchor.requests.insert(RequestId::new("more"), request.clone());
    expect![[
        r#"the list of requests would have 9 of at most 8 entries; let the controller settle some, or take some back"#
    ]]
    .assert_eq(&patch(&Value::Null, &anchor).expect_err("too many").to_string());
    anchor.requests = [(RequestId::new("a.b"), request)].into_iter().collect();
    expect![[r#""a.b" is no request id: 1 to 32 lower-case letters and digits"#]]
        .assert_eq(&patch(&Value::Null, &anchor).expect_err("no id").to_string());
}

#[test]
fn a_record_looks_like_this() {
    let at = WallTime(1_700_000_000_000);
    let pool = "press_1".parse().expect("a pool name");
    let mut anchor = Anchor::vacant(pool, ControlId::new("ha-control"), Term(6), Millis(15_000), Epoch(3), at);
    let asked = OperatorRequest { verb: Verb::Switchover { to: None }, by: "ana".to_owned(), at };
    anchor.requests.insert(RequestId::new("r1"), asked.clone());
    anchor.requests.insert(RequestId::new("r2"), OperatorRequest { verb: Verb::Pause, ..asked });
    let reason = Reason::Asked { by: "ana".to_owned(), request: RequestId::new("r1"), fenced: false };
    anchor.appoint(MemberId::new("edge-a"), Term(7), reason, at);
    anchor.maintenance.insert(MemberId::new("edge.b"), Mark { by: "ana".to_owned(), at });
    expect![[r#"
        {
          "ha": {
            "v": 1,
            "kind": "pool",
            "pool": "press_1",
            "control": "ha-control",
            "holder": "edge-a",
            "term": 7,
            "ttl_ms": 15000,
            "epoch": 3,
            "since": "2023-11-14T22:13:20Z",
            "requests": {
              "r2": {
                "verb": "pause",
                "by": "ana",
                "at": "2023-11-14T22:13:20Z"
              }
            },
            "maintenance": [
              {
                "member": "edge.b",
                "by": "ana",
                "at": "2023-11-14T22:13:20Z"
              }
            ],
            "history": [
              {
                "term": 7,
                "holder": "edge-a",
                "at": "2023-11-14T22:13:20Z",
                "why": "asked",
                "by": "ana",
                "request": "r1",
                "fenced": false
              }
            ],
            "settled": [
              {
                "request": "r1",
                "at": "2023-11-14T22:13:20Z"
              }
            ]
          }
        }"#]]
    .assert_eq(&format!("{:#}", patch(&Value::Null, &anchor).expect("a record that fits")));
}

#[test]
fn a_pools_device_is_known_by_its_id() {
    let press = "press_1".parse().expect("a pool name");
    assert_eq!(device_id(&press), "ha-anchor-press_1");
    assert_eq!(pool_of("ha-anchor-press_1"), Some(press));
    assert_eq!(pool_of("ha-anchor-press-1"), None);
    assert_eq!(pool_of("ha-control"), None);
}

fn check(document: Value, expected: Expect) {
    let said = match decode(&json!({ "ha": document })) {
        Err(error) => error.to_string(),
        Ok(Some(decoded)) => decoded.nonsense.iter().map(|problem| format!("ignored: {problem}\n")).collect(),
        Ok(None) => "no record".to_owned(),
    };
    expected.assert_eq(&said);
}

fn good() -> Value {
    json!({
        "v": 1, "kind": "pool", "pool": "press_1", "control": "ha-control", "holder": "edge-a", "term": 7,
        "ttl_ms": 15_000, "epoch": 3, "since": "2026-01-31T12:00:00Z",
    })
}

fn with(changes: Value) -> Value {
    merged(&good(), &changes)
}

#[test]
fn records_edited_by_hand_say_what_is_wrong() {
    check(good(), expect![""]);
    check(with(json!({ "colour": "green" })), expect![""]);
    check(json!(null), expect!["no record"]);
    check(
        json!("gone"),
        expect![[
            r#"ha: expected an object, found "gone"; put it right, or remove the key ha and let the controller build the record anew"#
        ]],
    );
    check(
        json!({}),
        expect![[r#"
            ha.v: expected 1 (another version of iotedge-ha may have written this), found nothing; put it right, or remove the key ha and let the controller build the record anew
            ha.kind: expected "pool", found nothing; put it right, or remove the key ha and let the controller build the record anew
            ha.pool: expected a pool name ([a-z][a-z0-9_]*, at most 64 characters), found nothing; put it right, or remove the key ha and let the controller build the record anew
            ha.control: expected a text of 1 to 128 bytes, found nothing; put it right, or remove the key ha and let the controller build the record anew
            ha.term: expected a whole number from 0 to 4503599627370495, found nothing; put it right, or remove the key ha and let the controller build the record anew
            ha.ttl_ms: expected a whole number from 0 to 4503599627370495, found nothing; put it right, or remove the key ha and let the controller build the record anew
            ha.epoch: expected a whole number from 0 to 4503599627370495, found nothing; put it right, or remove the key ha and let the controller build the record anew
            ha.since: expected a time as in 2026-01-31T12:00:00Z, found nothing; put it right, or remove the key ha and let the controller build the record anew"#]],
    );
    check(
        with(json!({ "v": 2, "kind": "control" })),
        expect![[r#"
            ha.v: expected 1 (another version of iotedge-ha may have written this), found 2; put it right, or remove the key ha and let the controller build the record anew
            ha.kind: expected "pool", found "control"; put it right, or remove the key ha and let the controller build the record anew"#]],
    );
    check(
        with(json!({ "term": -3, "epoch": 4_503_599_627_370_496u64, "ttl_ms": 1.5 })),
        expect![[r#"
        ha.term: expected a whole number from 0 to 4503599627370495, found -3; put it right, or remove the key ha and let the controller build the record anew
        ha.ttl_ms: expected a whole number from 0 to 4503599627370495, found 1.5; put it right, or remove the key ha and let the controller build the record anew
        ha.epoch: expected a whole number from 0 to 4503599627370495, found 4503599627370496; put it right, or remove the key ha and let the controller build the record anew"#]],
    );
    check(
        with(json!({ "holder": "", "pool": "Press 1", "since": "yesterday" })),
        expect![[r#"
        ha.pool: expected a pool name ([a-z][a-z0-9_]*, at most 64 characters), found "Press 1"; put it right, or remove the key ha and let the controller build the record anew
        ha.holder: expected a device id of at most 128 characters, found ""; put it right, or remove the key ha and let the controller build the record anew
        ha.since: expected a time as in 2026-01-31T12:00:00Z, found "yesterday"; put it right, or remove the key ha and let the controller build the record anew"#]],
    );
    check(
        with(json!({ "paused": true, "maintenance": { "edge-b": {} }, "status": "x".repeat(1_000) })),
        expect![[r#"
        ha.status: expected a text of at most 400 bytes, found "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…"; put it right, or remove the key ha and let the controller build the record anew
        ha.paused: expected an object, found true; put it right, or remove the key ha and let the controller build the record anew
        ha.maintenance: expected a list of at most 8 entries, found an object; put it right, or remove the key ha and let the controller build the record anew"#]],
    );
    check(
        with(json!({ "history": [{ "term": 1, "holder": "a", "at": "2026-01-31T12:00:00Z", "why": "boredom" }, 5] })),
        expect![[r#"
            ha.history[0].why: expected one of "first", "holder_silent", "holder_leaving", "holder_in_maintenance", "holder_disabled", "holder_removed", "workload_failing", "term_spent", "failback", "asked", "rebuilt", found "boredom"; put it right, or remove the key ha and let the controller build the record anew
            ha.history[1]: expected an object, found 5; put it right, or remove the key ha and let the controller build the record anew"#]],
    );
    check(
        with(json!({ "settled": vec![1; 13] })),
        expect![[
            r#"ha.settled: expected a list of at most 12 entries, found a list (length 13); put it right, or remove the key ha and let the controller build the record anew"#
        ]],
    );
}

#[test]
fn a_request_that_makes_no_sense_is_ignored_and_named() {
    let at = "2026-01-31T12:00:00Z";
    check(
        with(json!({ "requests": {
            "good": { "verb": "pause", "by": "ana", "at": at },
            "No Id": { "verb": "pause", "by": "ana", "at": at },
            "dance": { "verb": "dance", "by": "ana", "at": at },
            "whom": { "verb": "switchover", "to": 5, "by": "ana", "at": at },
            "vouch": { "verb": "failover", "by": "ana", "at": at },
            "text": "pause",
        } })),
        expect![[r#"
            ignored: ha.requests: expected a request id ([a-z0-9]{1,32}), found "No Id"; this request is ignored; ask again
            ignored: ha.requests.dance.verb: expected one of "switchover", "failover", "pause", "resume", "maintenance", found "dance"; this request is ignored; ask again
            ignored: ha.requests.whom.to: expected a device id of at most 128 characters, found 5; this request is ignored; ask again
            ignored: ha.requests.vouch.fenced: expected true or false, found nothing; this request is ignored; ask again
            ignored: ha.requests.text: expected an object, found "pause"; this request is ignored; ask again
        "#]],
    );
    check(
        with(json!({ "requests": "pause" })),
        expect![[r#"
        ignored: ha.requests: expected an object, found "pause"; this request is ignored; ask again
    "#]],
    );
}

#[test]
fn a_rewritten_record_keeps_fields_of_others_and_loses_what_vanished() {
    let at = WallTime(1_700_000_000_000);
    let mut before = bounded(&largest(20)).expect("a record that fits");
    before.requests.retain(|id, _| id.as_str().ends_with('0'));
    let mut tags = merged(&json!({ "site": "m1" }), &patch(&Value::Null, &before).expect("fits"));
    let kept = before.requests.keys().next().expect("a request").clone();
    tags["ha"]["colour"] = json!("green");
    tags["ha"]["requests"][kept.as_str()]["ticket"] = json!(5);
    tags["ha"]["requests"]["No Id"] = json!("nonsense");

    let mut after = Anchor::vacant(before.pool.clone(), before.control.clone(), Term(9), Millis(1), Epoch(4), at);
    after.requests.insert(kept, OperatorRequest { verb: Verb::Pause, by: "ana".to_owned(), at });
    let tags = merged(&tags, &patch(&tags, &after).expect("fits"));
    expect![[r#"
        {
          "site": "m1",
          "ha": {
            "v": 1,
            "kind": "pool",
            "pool": "pppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppp",
            "control": "cccccccccccccccccccc",
            "colour": "green",
            "term": 9,
            "ttl_ms": 1,
            "epoch": 4,
            "since": "2023-11-14T22:13:20Z",
            "settled": [],
            "history": [],
            "requests": {
              "00000000000000000000000000000000": {
                "verb": "pause",
                "ticket": 5,
                "at": "2023-11-14T22:13:20Z",
                "by": "ana"
              }
            },
            "maintenance": []
          }
        }"#]]
    .assert_eq(&format!("{tags:#}"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn records_survive(anchor in anchor()) {
        let tags = patch(&Value::Null, &anchor).expect("a record that fits");
        let decoded = decode(&tags).expect("a good record").expect("a record");
        prop_assert_eq!(decoded.nonsense, []);
        let fitting = bounded(&anchor).expect("a record that fits");
        prop_assert_eq!(&decoded.anchor, &fitting);
        if hub_size(&tags) < SIZE_MAX - 600 {
            prop_assert_eq!(fitting, anchor);
        }
    }

    #[test]
    fn a_rewritten_record_reads_as_the_new_one(before in anchor(), after in anchor()) {
        let tags = patch(&Value::Null, &before).expect("a record that fits");
        let tags = merged(&tags, &patch(&tags, &after).expect("a record that fits"));
        let decoded = decode(&tags).expect("a good record").expect("a record");
        prop_assert_eq!(decoded.anchor, bounded(&after).expect("a record that fits"));
    }

    #[test]
    fn any_document_can_be_rewritten(json in any_json(), after in anchor()) {
        for old in [json.clone(), json!({ "ha": json })] {
            let tags = merged(&old, &patch(&old, &after).expect("a record that fits"));
            let decoded = decode(&tags).expect("a good record").expect("a record");
            prop_assert_eq!(decoded.nonsense, []);
            prop_assert_eq!(decoded.anchor, bounded(&after).expect("a record that fits"));
        }
    }

    #[test]
    fn no_mangled_record_panics(anchor in anchor(), field: prop::sample::Index, value in any_json()) {
        let mut tags = patch(&Value::Null, &anchor).expect("a record that fits");
        let names: Vec<String> = tags["ha"].as_object().expect("an object").keys().cloned().collect();
        tags["ha"][field.get(&names).as_str()] = value.clone();
        let _ = decode(&tags);
        let _ = decode(&value);
        tags["ha"] = value;
        let _ = decode(&tags);
    }

    #[test]
    fn patches_hold_no_null_within_lists(anchor in anchor()) {
        let tags = patch(&Value::Null, &anchor).expect("a record that fits");
        prop_assert!(!tags.to_string().contains("null"));
    }
}
