use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ha_core::ids::{MemberId, Term};
use ha_core::messages::HolderState;
use ha_core::time::Millis;
use ha_iothub::Call;
use ha_protocol::key::{KeyRing, MemberKey};
use ha_protocol::rotation::{self, Stage, announce};
use ha_protocol::twin::decode_desired;
use ha_wire::twin::TwinPatch;
use iotedge_ha_controller::operate::{KeyChange, NotRotated, key_stage, rotate_key};
use serde_json::Value;
use tokio::task::JoinHandle;

use crate::bench::{Bench, MEMBERS, POOL, eventually, seat};

const MINUTE: Duration = Duration::from_secs(60);

async fn keys(bench: &Bench, member: &str) -> KeyRing {
    let twin = bench.twin(member, Some("ha-agent")).await;
    decode_desired(&Value::Object(twin.properties.desired.without_system_fields())).keys
}

/// Looks at the holder all the time: every answer must say that it is active in this term.
struct Watch {
    answers: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Watch {
    fn start(bench: &Bench, term: Term) -> Self {
        let (hub, answers) = (bench.hub(), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&answers);
        let task = tokio::spawn(async move {
            loop {
                let answer = hub.peek(&seat("edge-a"), Millis(30_000)).await.expect("the holder answers");
                assert_eq!((answer.state, answer.term), (HolderState::Active, term));
                counted.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { answers, task }
    }

    /// Waits for an answer that was asked for from here on.
    async fn look(&self) {
        let before = self.answers.load(Ordering::Relaxed);
        let looked = async || {
            assert!(!self.task.is_finished(), "the holder was not active");
            (self.answers.load(Ordering::Relaxed) > before + 1).then_some(())
        };
        eventually("a look at the holder", looked).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_changed_and_no_lease_is_lost() {
    let bench = Bench::open().await;
    let agents = bench.start_agents().await;
    let config = bench.config();
    let controller = bench.start_controller(config.clone());
    bench.until_active("edge-a").await;
    let term = bench.anchor().await.expect("it is there").term;
    let watch = Watch::start(&bench, term);

    let hub = bench.hub();
    let pool = config.pool(POOL).expect("it is configured");
    for round in 0..3 {
        for member in MEMBERS {
            let old = keys(&bench, member).await;
            let mut stages = Vec::new();
            let changed = rotate_key(&hub, pool, &MemberId::new(member), MINUTE, |stage| stages.push(stage)).await;
            assert_eq!(changed, Ok(KeyChange::Changed), "round {round}, {member}");
            assert_eq!(stages, [Stage::Settled, Stage::Announced, Stage::Promoted, Stage::Settled]);
            let new = keys(&bench, member).await;
            assert!(new.current != old.current && new.next.is_none() && new.previous.is_none(), "{new:?}");
            watch.look().await;
        }
    }
    // Whoever takes charge next works with the new keys from the beginning.
    controller.stop().await;
    let controller = bench.start_controller(config.clone());
    bench.until_active("edge-a").await;
    watch.look().await;
    watch.task.abort();
    assert_eq!(bench.anchor().await.expect("it is there").term, term);
    controller.stop().await;
    agents.iter().for_each(JoinHandle::abort);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_was_broken_off_is_finished() {
    let bench = Bench::open().await;
    // A pool of one: nobody else has to be heard before it is founded.
    let (hub, config) = (bench.hub(), bench.config_with("members = [\"edge-a\"]"));
    let pool = config.pool(POOL).expect("it is configured");
    let edge_a = MemberId::new("edge-a");
    assert_eq!(key_stage(&hub, pool, &edge_a).await, Ok(None));
    assert_eq!(rotate_key(&hub, pool, &edge_a, MINUTE, |_| {}).await, Ok(KeyChange::NoKey));

    let agent = bench.start_agent("edge-a");
    let controller = bench.start_controller(config.clone());
    bench.until_active("edge-a").await;
    agent.abort();
    let _ = agent.await;
    let old = keys(&bench, "edge-a").await;
    // Nobody is there to take the new key: the old one stays.
    let silent = rotate_key(&hub, pool, &edge_a, Duration::ZERO, |_| {}).await;
    assert!(matches!(silent, Err(NotRotated::NotTaken(_))), "{silent:?}");
    let announced = keys(&bench, "edge-a").await;
    assert_eq!((Stage::of(&announced), &announced.current), (Stage::Announced, &old.current));

    let agent = bench.start_agent("edge-a");
    let finished = rotate_key(&hub, pool, &edge_a, MINUTE, |_| {}).await;
    assert_eq!(finished, Ok(KeyChange::Finished));
    assert_eq!(keys(&bench, "edge-a").await.current, announced.next);

    // Broken off after the second write.
    let next = MemberKey::from_bytes([9; 32]);
    for patch in [announce(&POOL.parse().expect("a name"), &next), Value::Null] {
        let keys = keys(&bench, "edge-a").await;
        let Value::Object(patch) = (if patch.is_null() { rotation::promote(&keys).expect("announced") } else { patch })
        else {
            panic!("a patch is an object")
        };
        let patch = TwinPatch::desired(patch);
        let call = Call::within(MINUTE);
        let written = hub.client().patch_twin("edge-a", Some("ha-agent"), &patch, None, &call).await;
        written.expect("it can be written");
    }
    assert_eq!(key_stage(&hub, pool, &edge_a).await, Ok(Some(Stage::Promoted)));
    assert_eq!(rotate_key(&hub, pool, &edge_a, MINUTE, |_| {}).await, Ok(KeyChange::Finished));
    assert_eq!(keys(&bench, "edge-a").await, KeyRing::of(next));
    bench.until_active("edge-a").await;
    controller.stop().await;
    agent.abort();
}
