//! The hub's own stories, without sockets or waiting.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{Channel, DeviceBody, Dice, Effect, Expect, Hub, Id, ModuleBody, Proof, Session};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).expect("a time")
}

fn hub_with(lag: SignedDuration) -> Hub {
    let mut hub = Hub::new(Dice::new([9; 32]), lag);
    put(&mut hub, "edge", json!({"capabilities": {"iotEdge": true}}));
    put(&mut hub, "leaf", json!({}));
    hub
}

fn hub() -> Hub {
    hub_with(SignedDuration::ZERO)
}

fn put(hub: &mut Hub, id: &str, body: Value) -> Value {
    let body = DeviceBody::read(body).expect("a body");
    hub.put_device(id, &body, &Expect::Nothing, at(0)).expect("made").body
}

fn cuts(hub: &mut Hub) -> Vec<Session> {
    let cut = |effect| match effect {
        Effect::Cut { session, .. } => Some(session),
        _ => None,
    };
    hub.take_effects().into_iter().filter_map(cut).collect()
}

#[test]
fn the_same_seed_makes_the_same_hub() {
    let device = |hub: Hub| hub.device("leaf").expect("there").body;
    assert_eq!(device(hub()), device(hub()));
}

#[test]
fn a_device_made_again_is_another_generation() {
    let mut hub = hub();
    let before = hub.device("leaf").expect("there").body["generationId"].clone();
    hub.delete_device("leaf", &Expect::Any, at(0)).expect("deleted");
    let after = put(&mut hub, "leaf", json!({}))["generationId"].clone();
    assert_ne!(before, after);
    assert_eq!(hub.twin(&Id::device("leaf")).expect("there")["etag"], "AAAAAAAAAAE=");
}

#[test]
fn updates_count_the_etag_and_mint_keys_unless_given() {
    let mut hub = hub();
    let counter = |hub: &Hub| {
        use base64::Engine as _;
        let etag = hub.device("leaf").expect("there").etag;
        let text = base64::engine::general_purpose::STANDARD.decode(etag).expect("base64");
        String::from_utf8(text).expect("text").parse::<u64>().expect("a number")
    };
    let (before, key) = (counter(&hub), hub.primary_key(&Id::device("leaf")));
    let whole = hub.device("leaf").expect("there").body;
    let body = DeviceBody::read(whole).expect("a body");
    hub.put_device("leaf", &body, &Expect::Any, at(1)).expect("updated");
    assert_eq!((counter(&hub), hub.primary_key(&Id::device("leaf"))), (before + 1, key.clone()));
    hub.put_device("leaf", &DeviceBody::default(), &Expect::Any, at(1)).expect("updated");
    assert_ne!(hub.primary_key(&Id::device("leaf")), key);
}

#[test]
fn what_is_deleted_disabled_or_rekeyed_is_cut() {
    let mut hub = hub();
    let module = ModuleBody::default();
    hub.put_module("edge", "m", &module, &Expect::Nothing, at(0)).expect("made");
    let own = Id::module("edge", "m");
    hub.attach(&own, Session(1), Proof::OwnKey, true, at(0));
    hub.attach(&Id::device("leaf"), Session(2), Proof::Policy, true, at(0));
    hub.put_module("edge", "m", &module, &Expect::Any, at(1)).expect("new keys");
    hub.put_device("leaf", &DeviceBody::default(), &Expect::Any, at(1)).expect("new keys");
    assert_eq!(cuts(&mut hub), [Session(1)]);
    let disabled = DeviceBody::read(json!({"status": "disabled"})).expect("a body");
    hub.put_device("leaf", &disabled, &Expect::Any, at(2)).expect("disabled");
    assert_eq!(cuts(&mut hub), [Session(2)]);
    hub.delete_device("edge", &Expect::Any, at(3)).expect("deleted");
    assert_eq!(cuts(&mut hub), [Session(1)]);
}

#[test]
fn an_old_session_cannot_undo_what_a_newer_one_did() {
    let mut hub = hub();
    let leaf = Id::device("leaf");
    hub.attach(&leaf, Session(1), Proof::OwnKey, true, at(0));
    let attached = hub.attach(&leaf, Session(2), Proof::OwnKey, true, at(0));
    assert_eq!(attached.replaced, Some(Session(1)));
    hub.subscribe(&leaf, Session(2), Channel::Methods, Some(0), at(1));
    hub.subscribe(&leaf, Session(1), Channel::Methods, None, at(1));
    hub.detach(&leaf, Session(1), at(2));
    assert_eq!(hub.method_session(&leaf), Some((Session(2), 0)));
}

#[test]
fn a_kept_session_goes_on_when_it_is_taken_over() {
    let mut hub = hub();
    let leaf = Id::device("leaf");
    hub.attach(&leaf, Session(1), Proof::OwnKey, false, at(0));
    hub.subscribe(&leaf, Session(1), Channel::Methods, Some(0), at(1));
    assert!(hub.attach(&leaf, Session(2), Proof::OwnKey, false, at(0)).session_present);
    hub.detach(&leaf, Session(1), at(2));
    assert_eq!(hub.method_session(&leaf), Some((Session(2), 0)));
    assert!(!hub.attach(&leaf, Session(3), Proof::OwnKey, true, at(0)).session_present);
    assert_eq!(hub.method_session(&leaf), None);
    assert!(!hub.attach(&leaf, Session(4), Proof::OwnKey, false, at(0)).session_present);
}

#[test]
fn the_edge_runtime_never_shows_as_connected() {
    let mut hub = hub();
    for (number, (id, shown)) in [
        (Id::device("edge"), "Disconnected"),
        (Id::module("edge", "$edgeAgent"), "Disconnected"),
        (Id::module("edge", "$edgeHub"), "Connected"),
        (Id::device("leaf"), "Connected"),
    ]
    .into_iter()
    .enumerate()
    {
        let session = Session(number as u64);
        hub.attach(&id, session, Proof::Policy, true, at(0));
        assert_eq!(hub.twin(&id).expect("there")["connectionState"], "Disconnected");
        hub.note_messaging(&id, session, at(5));
        assert_eq!(hub.twin(&id).expect("there")["connectionState"], shown, "{id}");
    }
}

#[test]
fn a_lagging_index_shows_the_past() {
    let mut hub = hub_with(SignedDuration::from_secs(60));
    let count = |hub: &mut Hub, now| {
        let page = hub.query("SELECT * FROM devices.modules", 100, None, now);
        page.expect("a page").rows.len()
    };
    assert_eq!(count(&mut hub, at(59)), 0);
    assert_eq!(count(&mut hub, at(60)), 2);
    hub.delete_device("edge", &Expect::Any, at(70)).expect("deleted");
    assert_eq!(count(&mut hub, at(129)), 2);
    assert_eq!(count(&mut hub, at(130)), 0);
}

#[test]
fn pages_follow_each_other_and_top_counts_over_all_of_them() {
    let mut hub = hub();
    for n in 0..7 {
        put(&mut hub, &format!("q{n}"), json!({}));
    }
    let mut seen = Vec::new();
    let mut token = None;
    loop {
        let text = "SELECT TOP 5 deviceId FROM devices WHERE deviceId != 'leaf' AND deviceId != 'edge'";
        let page = hub.query(text, 2, token.as_deref(), at(0)).expect("a page");
        seen.extend(page.rows.iter().map(|row| row["deviceId"].clone()));
        token = page.continuation;
        if token.is_none() {
            break;
        }
    }
    assert_eq!(seen, ["q0", "q1", "q2", "q3", "q4"]);
    assert!(hub.query("SELECT * FROM devices", 2, Some("nonsense"), at(0)).is_err());
}

#[test]
fn a_deployment_keeps_its_content() {
    let mut hub = hub();
    let body = |priority: i64, x: i64| {
        json!({"content": {"modulesContent": {"$edgeAgent": {"properties.desired": {"x": x}}}},
            "targetCondition": "tags.site='m1'", "priority": priority})
    };
    let made = hub.put_configuration("dep1", body(1, 1), &Expect::Nothing, at(0)).expect("made");
    assert_eq!(made.etag, "MQ==");
    let again = hub.put_configuration("dep1", body(1, 1), &Expect::parse(Some("MQ==")), at(1));
    assert_eq!(again.expect_err("a bare etag").code.http_status(), 409);
    let updated = hub.put_configuration("dep1", body(2, 9), &Expect::parse(Some("\"MQ==\"")), at(1)).expect("updated");
    assert_eq!(updated.body["priority"], 2);
    assert_eq!(updated.body["content"], made.body["content"]);
    assert_eq!(
        updated.body["systemMetrics"]["queries"]["targetedCount"],
        "select deviceId from devices where capabilities.iotEdge = true and tags.site='m1'"
    );
    let bad = hub.put_configuration("dep2", json!({"content": {"modulesContent": {}}}), &Expect::Nothing, at(2));
    assert_eq!(bad.expect_err("no agent").code.name(), "InvalidConfigurationContent");
}

#[test]
fn what_is_saved_comes_back_whole() {
    let mut first = hub();
    first.patch_twin(&Id::device("leaf"), &json!({"tags": {"a": 1.0}}), &Expect::Nothing, at(3)).expect("patched");
    let text = serde_json::to_string(&first.save()).expect("JSON");
    let mut second = Hub::new(Dice::new([1; 32]), SignedDuration::ZERO);
    second.load(serde_json::from_str(&text).expect("read"), at(9)).expect("loaded");
    assert_eq!(second.list_devices(None), first.list_devices(None));
    let twin = |hub: &Hub| hub.twin(&Id::device("leaf")).expect("there");
    assert_eq!(twin(&second).to_string(), twin(&first).to_string());
}
