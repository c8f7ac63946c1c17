use expect_test::{Expect, expect};
use ha_core::ids::{BootId, Epoch, GrantorId, MemberId, NUMBER_MAX, Nonce, PoolName, Term};
use ha_core::messages::{Answer, Grant, Hello, HolderState, Refusal, Request, Revoke, Workload};
use ha_core::time::Millis;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::arbitrary::{any_json, number, pool, sentence};
use crate::key::{KeyRing, MemberKey};

const KEY: MemberKey = MemberKey::from_bytes([7; 32]);
const RING: KeyRing = KeyRing::of(KEY);

fn press() -> PoolName {
    "press_1".parse().expect("a pool name")
}

fn edge() -> MemberId {
    MemberId::new("edge-a")
}

fn a_grant() -> Request {
    Request::Grant(Grant {
        grantor: GrantorId::controller(),
        epoch: Epoch(3),
        term: Term(7),
        nonce: Nonce { run: 10, count: 5 },
        ttl: Millis(15_000),
    })
}

#[test]
fn a_grant_looks_like_this() {
    let (method, body) = encode(&edge(), &KEY, &press(), &a_grant(), Millis(4_000));
    expect![[r#"
        haGrant {
          "v": 1,
          "pool": "press_1",
          "grantor": "controller",
          "epoch": 3,
          "hold_ms": 4000,
          "auth": "3j8Yk1qMeovG/gYHEEZOipKr7UOEPqEJ7UP0Fr1ZlvA=",
          "term": 7,
          "nonce": "0000000000000000000000000000000a-5",
          "ttl_ms": 15000
        }"#]]
    .assert_eq(&format!("{method} {body:#}"));
}

#[test]
fn the_grantor_may_be_left_out() {
    let (method, mut body) = encode(&edge(), &KEY, &press(), &a_grant(), Millis(4_000));
    body.as_object_mut().expect("an object").remove("grantor");
    assert_eq!(decode(&edge(), &RING, &press(), method, &body), Ok((a_grant(), Millis(4_000))));
}

#[test]
fn fields_of_later_versions_are_left_alone() {
    let (method, mut body) = encode(&edge(), &KEY, &press(), &a_grant(), Millis::ZERO);
    body["colour"] = json!("green");
    assert!(decode(&edge(), &RING, &press(), method, &body).is_ok());
}

fn check_refused(method: &str, keys: &KeyRing, pool: &str, change: impl FnOnce(&mut Value), expected: Expect) {
    let (_, mut body) = encode(&edge(), &KEY, &press(), &a_grant(), Millis::ZERO);
    change(&mut body);
    let pool = pool.parse().expect("a pool name");
    let error = decode(&edge(), keys, &pool, method, &body).expect_err("should be refused");
    let (status, answer) = encode_error(&error);
    expected.assert_eq(&format!("{status} {}", answer["error"].as_str().expect("a text")));
}

#[test]
fn refusals_say_why() {
    check_refused(
        "haDance",
        &RING,
        "press_1",
        |_| {},
        expect![[r#"404 no method of this agent; update it to the controller's version"#]],
    );
    check_refused(
        GRANT,
        &KeyRing::default(),
        "press_1",
        |_| {},
        expect![[r#"503 no key has reached this agent yet; it comes with the module twin, try again in a moment"#]],
    );
    check_refused(
        GRANT,
        &RING,
        "press_2",
        |_| {},
        expect![[r#"404 this agent serves the pool press_2; check which module the controller calls"#]],
    );
    check_refused(
        GRANT,
        &KeyRing::of(MemberKey::from_bytes([8; 32])),
        "press_1",
        |_| {},
        expect![[
            r#"401 the request was not made with this member's key for this pool; let the controller install the key anew"#
        ]],
    );
    check_refused(
        GRANT,
        &RING,
        "press_1",
        |body| *body = json!([1]),
        expect![[
            r#"400 haGrant: expected an object, found a list (length 1); check that controller and agent are of matching versions"#
        ]],
    );
    check_refused(
        GRANT,
        &RING,
        "press_1",
        |body| {
            body["term"] = json!(-3);
            body["nonce"] = json!("x");
            body["auth"] = json!("s3cret".repeat(20));
            body["v"] = json!(2);
        },
        expect![[
            r#"400 haGrant.term: expected a whole number from 0 to 4503599627370495, found -3; check that controller and agent are of matching versions haGrant.nonce: expected a nonce (32 hexadecimal digits, a dash, a count), found "x"; check that controller and agent are of matching versions haGrant.auth: expected a text of 1 to 64 bytes, found a text of 120 bytes; check that controller and agent are of matching versions haGrant.v: expected 1 (another version of iotedge-ha may have written this), found 2; check that controller and agent are of matching versions"#
        ]],
    );
}

#[test]
fn an_agent_that_could_not_read_says_so_to_the_controller() {
    let (status, body) = encode_error(&Error::NoKey);
    let error = decode_reply(i64::from(status), &body).expect_err("an error");
    assert!(error.is_transient());
    expect![[r#"the agent answered with status 503: no key has reached this agent yet; it comes with the module twin, try again in a moment"#]]
        .assert_eq(&error.to_string());
}

#[test]
fn answers_that_make_no_sense_say_what_is_wrong() {
    let answer =
        json!({ "v": 1, "pool": "P", "agent": "", "boot": 3, "state": "dancing", "refused": { "code": "no" } });
    expect![[r#"
        answer.pool: expected a pool name ([a-z][a-z0-9_]*, at most 64 characters), found "P"; check that controller and agent are of matching versions
        answer.agent: expected a text of 1 to 128 bytes, found ""; check that controller and agent are of matching versions
        answer.boot: expected a text of 1 to 128 bytes, found 3; check that controller and agent are of matching versions
        answer.state: expected one of "starting", "standby", "opening", "active", "stopping", found "dancing"; check that controller and agent are of matching versions
        answer.term: expected a whole number from 0 to 4503599627370495, found nothing; check that controller and agent are of matching versions
        answer.workload: expected an object, found nothing; check that controller and agent are of matching versions
        answer.leaving: expected true or false, found nothing; check that controller and agent are of matching versions
        answer.refused.code: expected one of "unknown_grantor", "stale_epoch", "stale_term", "released", "unknown_nonce", "too_late", "ttl_too_long", "leaving", "flag_inactive", "starting", found "no"; check that controller and agent are of matching versions"#]]
    .assert_eq(&decode_reply(200, &answer).expect_err("malformed").to_string());
}

fn nonce() -> impl Strategy<Value = Nonce> {
    (any::<u128>(), any::<u64>()).prop_map(|(run, count)| Nonce { run, count })
}

fn request() -> impl Strategy<Value = Request> {
    let grantor = || "[a-z]{1,12}".prop_map(GrantorId::new);
    let epoch = || number().prop_map(Epoch);
    prop_oneof![
        (grantor(), epoch(), any::<bool>()).prop_map(|(grantor, epoch, wants_nonce)| Request::Hello(Hello {
            grantor,
            epoch,
            wants_nonce
        })),
        (grantor(), epoch(), number(), nonce(), number()).prop_map(|(grantor, epoch, term, nonce, ttl)| {
            Request::Grant(Grant { grantor, epoch, term: Term(term), nonce, ttl: Millis(ttl) })
        }),
        (grantor(), epoch(), number()).prop_map(|(grantor, epoch, term)| Request::Revoke(Revoke {
            grantor,
            epoch,
            term: Term(term)
        })),
    ]
}

fn refusal() -> impl Strategy<Value = Refusal> {
    prop_oneof![
        Just(Refusal::UnknownGrantor),
        number().prop_map(|n| Refusal::StaleEpoch { seen: Epoch(n) }),
        number().prop_map(|n| Refusal::StaleTerm { seen: Term(n) }),
        number().prop_map(|n| Refusal::Released { through: Term(n) }),
        Just(Refusal::UnknownNonce),
        Just(Refusal::TooLate),
        number().prop_map(|n| Refusal::TtlTooLong { max: Millis(n) }),
        Just(Refusal::Leaving),
        number().prop_map(|n| Refusal::FlagInactive { term: Term(n) }),
        Just(Refusal::Starting),
    ]
}

fn workload() -> impl Strategy<Value = Workload> {
    prop_oneof![
        Just(Workload::Unknown),
        Just(Workload::Ready),
        Just(Workload::Running),
        sentence(60).prop_map(Workload::Unready),
        sentence(60).prop_map(Workload::Failing),
    ]
}

fn reply() -> impl Strategy<Value = Reply> {
    let state = proptest::sample::select(vec![
        HolderState::Starting,
        HolderState::Standby,
        HolderState::Opening,
        HolderState::Active,
        HolderState::Stopping,
    ]);
    let optional = || proptest::option::of(number());
    (
        (pool(), state, number(), optional(), workload()),
        (any::<bool>(), proptest::option::of(refusal()), optional(), proptest::option::of(nonce())),
    )
        .prop_map(|((pool, state, term, left, workload), (leaving, refused, released, nonce))| Reply {
            pool,
            agent: "0.1.0".to_owned(),
            answer: Answer {
                boot: BootId::new("b-1"),
                state,
                term: Term(term),
                lease_left: left.map(Millis),
                workload,
                leaving,
                refused,
                released: released.map(Term),
                nonce,
            },
        })
}

/// Every change of one field to another value that could have been signed.
fn changed(body: &Value) -> Vec<(String, Value)> {
    let fields = body.as_object().expect("an object");
    fields
        .iter()
        .filter(|(name, _)| *name != "v")
        .map(|(name, value)| {
            let other = match value {
                Value::Bool(b) => json!(!b),
                Value::Number(n) => json!(if n.as_u64() == Some(0) { 1 } else { 0 }),
                Value::String(s) if s.ends_with('-') || name == "nonce" => json!(format!("{:032x}-1", 99)),
                Value::String(s) if name == "auth" => json!(s.chars().rev().collect::<String>()),
                Value::String(s) => json!(format!("{s}x")),
                other => other.clone(),
            };
            let mut body = body.clone();
            body[name] = other;
            (name.clone(), body)
        })
        .collect()
}

proptest! {
    #[test]
    fn requests_survive(request in request(), pool in pool(), hold in 0..=HOLD_MAX.0) {
        let (method, body) = encode(&edge(), &KEY, &pool, &request, Millis(hold));
        prop_assert_eq!(decode(&edge(), &RING, &pool, method, &body), Ok((request, Millis(hold))));
    }

    #[test]
    fn no_changed_request_is_believed(request in request(), hold in 0..=HOLD_MAX.0) {
        let (method, body) = encode(&edge(), &KEY, &press(), &request, Millis(hold));
        for (name, changed) in changed(&body) {
            prop_assert!(decode(&edge(), &RING, &press(), method, &changed).is_err(), "{} was not covered", name);
        }
        prop_assert_eq!(decode(&MemberId::new("edge-b"), &RING, &press(), method, &body), Err(Error::BadAuth));
        let longer: PoolName = "press_1x".parse().expect("a pool name");
        let mut moved = body.clone();
        moved["pool"] = json!("press_1x");
        prop_assert_eq!(decode(&edge(), &RING, &longer, method, &moved), Err(Error::BadAuth));
    }

    #[test]
    fn no_request_passes_for_another_method(request in request(), hold in 0..=HOLD_MAX.0) {
        let (method, mut body) = encode(&edge(), &KEY, &press(), &request, Millis(hold));
        for (name, value) in [("wants_nonce", json!(true)), ("term", json!(1)), ("ttl_ms", json!(1)), ("nonce", json!(format!("{:032x}-1", 9)))] {
            if body.get(name).is_none() {
                body[name] = value;
            }
        }
        for other in [HELLO, GRANT, REVOKE].into_iter().filter(|other| *other != method) {
            prop_assert_eq!(decode(&edge(), &RING, &press(), other, &body), Err(Error::BadAuth));
        }
    }

    #[test]
    fn replies_survive(reply in reply()) {
        prop_assert_eq!(decode_reply(200, &encode_reply(&reply)), Ok(reply));
    }

    #[test]
    fn no_json_panics(json in any_json(), status in prop_oneof![Just(200), any::<i64>()]) {
        for method in [HELLO, GRANT, REVOKE, "other"] {
            prop_assert!(decode(&edge(), &RING, &press(), method, &json).is_err());
        }
        prop_assert!(decode_reply(status, &json).is_err());
    }

    #[test]
    fn no_mangled_message_panics(request in request(), reply in reply(), field: prop::sample::Index, value in any_json()) {
        for mut body in [encode(&edge(), &KEY, &press(), &request, Millis::ZERO).1, encode_reply(&reply)] {
            let names: Vec<String> = body.as_object().expect("an object").keys().cloned().collect();
            body[field.get(&names).as_str()] = value.clone();
            for method in [HELLO, GRANT, REVOKE] {
                let _ = decode(&edge(), &RING, &press(), method, &body);
            }
            let _ = decode_reply(200, &body);
        }
    }
}

#[test]
fn long_texts_are_cut() {
    let answer = Answer {
        boot: BootId::new("b"),
        state: HolderState::Active,
        term: Term(NUMBER_MAX),
        lease_left: None,
        workload: Workload::Failing("ä".repeat(5_000)),
        leaving: false,
        refused: None,
        released: None,
        nonce: None,
    };
    let body = encode_reply(&Reply { pool: press(), agent: "0.1.0".to_owned(), answer });
    assert!(body.to_string().len() < 1_000);
    assert!(decode_reply(200, &body).is_ok());
}
