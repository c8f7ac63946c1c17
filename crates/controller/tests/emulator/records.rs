use ha_core::anchor::{Anchor, Mark};
use ha_core::charge::ControlRecord;
use ha_core::holder::Flag;
use ha_core::ids::{ControlId, ControllerId, Epoch, MemberId, PoolName, Term};
use ha_core::messages::{Hello, Request};
use ha_core::pool::{Mirror, Role};
use ha_core::seen::CallFailure;
use ha_core::time::{Millis, WallTime};
use ha_emulator::faults::{RestFault, RestKind};
use ha_iothub::Call;
use ha_protocol::twin::{decode_desired, decode_roles};
use ha_wire::identity::Status;
use ha_wire::twin::TwinPatch;
use iotedge_ha_controller::hub::{Error, Hub as _, NotWritten};
use serde_json::{Value, json};
use std::sync::Arc;

use crate::bench::{Bench, POOL, seat};

fn pool() -> PoolName {
    POOL.parse().expect("a name")
}

fn vacant() -> Anchor {
    Anchor::vacant(pool(), ControlId::new("ha-control"), Term(1), Millis(15_000), Epoch(1), WallTime(1_700_000_000_000))
}

fn map(value: Value) -> ha_wire::Map {
    value.as_object().expect("an object").clone()
}

fn minute() -> Call {
    Call::within(std::time::Duration::from_secs(60))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_is_founded_once_and_changed_by_compare_and_swap() {
    let bench = Bench::open().await;
    let (one, other) = (bench.hub(), bench.hub());
    assert!(one.read_anchor(&pool()).await.expect("it can be asked").is_none());
    let first = one.write_anchor(&vacant(), None).await.expect("it is founded");
    assert!(matches!(other.write_anchor(&vacant(), None).await, Err(NotWritten::Conflict)));
    let device = one.client().device("ha-anchor-press_1", &minute()).await.expect("it is there");
    assert_eq!(device.status, Some(Status::Disabled));

    let mut paused = vacant();
    paused.paused = Some(Mark { by: "eve".to_owned(), at: WallTime(1_700_000_000_000) });
    let second = other.write_anchor(&paused, Some(&first)).await.expect("it is written");
    assert!(matches!(one.write_anchor(&vacant(), Some(&first)).await, Err(NotWritten::Conflict)));
    let (read, version) = one.read_anchor(&pool()).await.expect("it can be read").expect("it is there");
    assert_eq!((read, &version), (paused, &second));
    // What the new record leaves out is removed.
    one.write_anchor(&vacant(), Some(&second)).await.expect("it is written");
    assert_eq!(bench.anchor().await, Some(vacant()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_leaves_a_write_open() {
    let bench = Bench::open().await;
    let hub = bench.hub();
    let version = hub.write_anchor(&vacant(), None).await.expect("it is founded");
    let fault = RestFault { count: Some(1), method: Some("PATCH".to_owned()), ..RestFault::default() };
    bench.emulator.faults().set_rest(RestKind::LostAnswers, fault);
    let mut next = vacant();
    next.term = Term(2);
    assert!(matches!(hub.write_anchor(&next, Some(&version)).await, Err(NotWritten::Unsure(_))));
    assert_eq!(bench.anchor().await.map(|anchor| anchor.term), Some(Term(2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_in_a_record_is_named() {
    let bench = Bench::open().await;
    let hub = bench.hub();
    hub.write_anchor(&vacant(), None).await.expect("it is founded");
    let nonsense = TwinPatch::tags(map(json!({ "ha": { "term": -5, "holder": [] } })));
    hub.client().patch_twin("ha-anchor-press_1", None, &nonsense, None, &minute()).await.expect("it is written");
    let Err(Error::Malformed { what, why }) = hub.read_anchor(&pool()).await else { panic!("it was taken") };
    assert!(
        what.contains("ha-anchor-press_1") && why.contains("ha.term") && why.contains("ha.holder"),
        "{what}: {why}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_control_record_is_not_kept_on_somebodys_device() {
    let bench = Bench::open().await;
    let hub = bench.hub();
    let record = ControlRecord {
        owner: ControllerId::new("one"),
        epoch: Epoch(1),
        ttl: Millis(10_000),
        beat: 0,
        given_back: false,
    };
    let refused = hub.write_control(&ControlId::new("edge-a"), &record, None).await;
    let Err(NotWritten::Failed(Error::Refused(why))) = refused else { panic!("it was taken") };
    assert!(why.contains("edge-a"), "{why}");
    let control = ControlId::new("ha-control");
    let version = hub.write_control(&control, &record, None).await.expect("it is written");
    let read = hub.read_control(&control).await.expect("it can be read");
    assert_eq!(read, Some((record, version)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_installed_once_and_by_the_controller_alone() {
    let bench = Bench::open().await;
    let hub = bench.hub();
    let peeked = hub.peek(&seat("edge-a"), Millis(30_000)).await;
    assert!(matches!(peeked, Err(CallFailure::Rejected(_))), "{peeked:?}");
    assert!(key_of(&bench).await.is_none());
    let hello =
        Request::Hello(Hello { grantor: ha_core::ids::GrantorId::controller(), epoch: Epoch(1), wants_nonce: true });
    let called = hub.call(&seat("edge-a"), &hello, Millis(0), Millis(30_000)).await;
    assert_eq!(called, Err(CallFailure::Offline));
    let key = key_of(&bench).await.expect("it is there");
    let _ = bench.hub().call(&seat("edge-a"), &hello, Millis(0), Millis(30_000)).await;
    assert_eq!(key_of(&bench).await, Some(key));
    let nobody = hub.call(&seat("nobody"), &hello, Millis(0), Millis(30_000)).await;
    assert_eq!(nobody, Err(CallFailure::NotFound));
}

async fn key_of(bench: &Bench) -> Option<String> {
    let twin = bench.twin("edge-a", Some("ha-agent")).await;
    decode_desired(&Value::Object(twin.properties.desired.0)).keys.current.map(|key| key.to_base64())
}

#[tokio::test(flavor = "multi_thread")]
async fn flag_and_tags_are_written_where_they_differ() {
    let bench = Bench::open().await;
    let hub = bench.hub();
    let mirror = Mirror { role: Role::Active, active: true, term: Term(4) };
    hub.mirror(&seat("edge-a"), &mirror).await.expect("it is written");
    let (agent, device) = (bench.twin("edge-a", Some("ha-agent")).await, bench.twin("edge-a", None).await);
    let flag = decode_desired(&Value::Object(agent.properties.desired.0.clone())).flag;
    assert_eq!(flag, Some(Flag { active: true, term: Term(4) }));
    let agents = decode_roles(&Value::Object(agent.tags.clone()));
    assert_eq!(agents.by_pool[&pool()].role.as_str(), "active", "routes judge by it what the agent sends");
    let roles = decode_roles(&Value::Object(device.tags.clone()));
    assert_eq!(roles.by_pool[&pool()].role.as_str(), "active");
    assert!(bench.twin("edge-a", Some("press")).await.tags.contains_key("ha"));
    hub.mirror(&seat("edge-a"), &mirror).await.expect("it is looked at");
    assert_eq!(bench.twin("edge-a", None).await.etag, device.etag, "nothing was written");
    let removed = Mirror { role: Role::Removed, active: false, term: Term(5) };
    hub.mirror(&seat("edge-a"), &removed).await.expect("it is written");
    hub.mirror(&seat("nobody"), &removed).await.expect("nobody is missed");
    let tags = bench.twin("edge-a", None).await.tags;
    assert!(decode_roles(&Value::Object(tags)).by_pool.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn evidence_tells_unknown_from_absent() {
    let bench = Bench::open().await;
    let hub = bench.hub();
    let seen = hub.gather(&seat("edge-a")).await;
    let registry = seen.registry.expect("it answered").expect("it is registered");
    assert_eq!((registry.status.as_str(), registry.last_activity), ("enabled", None));
    assert_eq!(seen.edge_agent_ping, Some(Err(CallFailure::Offline)));
    assert_eq!(seen.edge_hub.map(|state| state.is_some()), Some(true));
    assert_eq!(seen.runtime, Some(None));
    let absent = hub.gather(&seat("nobody")).await;
    assert_eq!((absent.registry, absent.edge_hub), (Some(None), Some(None)));
    assert!(!hub.may_fit(&MemberId::new("nobody"), "tags.a = 1").await.expect("it can be asked"));
}

#[tokio::test(flavor = "multi_thread")]
async fn members_are_found_by_a_condition() {
    let bench = Bench::open().await;
    let hub = bench.hub();
    for device in ["edge-c", "edge-a"] {
        let tags = TwinPatch::tags(map(json!({ "site": "m1" })));
        hub.client().patch_twin(device, None, &tags, None, &minute()).await.expect("it is written");
    }
    let found = hub.select("tags.site = 'm1'").await.expect("it can be asked");
    assert_eq!(found, ["edge-a", "edge-c"].map(MemberId::new));
    assert!(matches!(hub.select("tags.site =").await, Err(Error::Refused(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_and_an_absent_hub_are_told_apart() {
    let bench = Bench::open().await;
    let wrong = bench.emulator.connection_string();
    let (start, _) = wrong.rsplit_once('=').and_then(|(s, _)| s.rsplit_once('=')).expect("it has parts");
    let wrong = format!("{start}=c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0");
    let refused = bench.hub_with_key(&wrong).read_anchor(&pool()).await;
    assert!(matches!(refused, Err(Error::Unauthorised(_))), "{refused:?}");
    let hub = bench.hub();
    Arc::into_inner(bench.emulator).expect("nobody else holds it").shutdown().await;
    let away = hub.read_anchor(&pool()).await;
    assert!(matches!(away, Err(Error::Unreachable(_))), "{away:?}");
}
