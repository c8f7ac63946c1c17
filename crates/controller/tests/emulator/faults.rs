//! What people and networks do to a running pool, and what the pool says to it. It reads as a table: what is done on the left,
//! what is said on the right. Whatever is done, nobody runs who should not.

use std::sync::Arc;
use std::time::Duration;

use ha_core::ids::Term;
use ha_core::messages::HolderState;
use ha_core::time::Millis;
use ha_emulator::faults::{RestFault, RestKind};
use ha_iothub::Call;
use ha_wire::IfMatch;
use ha_wire::twin::TwinPatch;
use iotedge_ha_controller::clock::{Clock, wall};
use iotedge_ha_controller::config::Config;
use iotedge_ha_controller::hub::iot::IotHub;
use iotedge_ha_controller::run::{Fleet, Hints, Setup};
use iotedge_ha_controller::store::Recorder;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::bench::{Bench, MEMBERS, eventually, leave_no_charge, seat};

const ANCHOR: &str = "ha-anchor-press_1";

/// A running pool whose controller can be listened to.
struct Site {
    bench: Bench,
    fleet: Fleet,
    agents: Vec<JoinHandle<()>>,
}

impl Site {
    async fn open() -> Self {
        let bench = Bench::open().await;
        let agents = bench.start_agents().await;
        leave_no_charge(&bench.hub()).await;
        let fleet = Fleet::start(&setup(bench.config()));
        bench.until_active("edge-a").await;
        Self { bench, fleet, agents }
    }

    /// What the controller says about its only pool.
    fn said(&self) -> String {
        self.fleet.board().rows().into_values().next().expect("one pool").sentence
    }

    async fn until_said(&self, what: &str) -> String {
        eventually(what, async || Some(self.said()).filter(|said| said.contains(what))).await
    }

    async fn until_not_said(&self, what: &str) {
        eventually(&format!("no {what}"), async || (!self.said().contains(what)).then_some(())).await;
    }

    async fn until_term_above(&self, term: Term) {
        let above = async || self.bench.anchor().await.filter(|anchor| anchor.term > term).map(drop);
        eventually(&format!("a term above {term}"), above).await;
    }

    /// `member` runs, and nobody else does.
    async fn expect_alone(&self, member: &str) {
        self.bench.until_active(member).await;
        self.expect_still_alone(member).await;
    }

    /// The same by the agents' words alone.
    async fn expect_still_alone(&self, member: &str) {
        for other in MEMBERS {
            let answer = self.bench.hub().peek(&seat(other), Millis(30_000)).await.expect("it answers");
            assert_eq!(answer.state == HolderState::Active, other == member, "{other} is {:?}", answer.state);
        }
    }

    async fn write_tags(&self, device: &str, tags: Value) {
        let patch = TwinPatch::tags(tags.as_object().expect("an object").clone());
        self.bench.hub().client().patch_twin(device, None, &patch, None, &minute()).await.expect("it is written");
    }

    async fn write_desired(&self, member: &str, desired: Value) {
        let patch = TwinPatch::desired(desired.as_object().expect("an object").clone());
        let hub = self.bench.hub();
        hub.client().patch_twin(member, Some("ha-agent"), &patch, None, &minute()).await.expect("it is written");
    }

    async fn close(self) {
        self.agents.iter().for_each(JoinHandle::abort);
        self.fleet.stop().await;
    }
}

fn setup(config: Config) -> Setup<IotHub> {
    let hub = Arc::new(IotHub::new(&config.hub).expect("a hub"));
    let recorder =
        Recorder::open(&config.controller.state_dir, config.controller.history_days, wall()).expect("a store");
    Setup { config, hub, recorder, clock: Clock::start(), hints: Hints::default() }
}

fn minute() -> Call {
    Call::within(Duration::from_secs(60))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_edited_into_nonsense_holds_the_pool_and_is_named() {
    let site = Site::open().await;
    let good = site.bench.twin(ANCHOR, None).await.tags["ha"].clone();
    for (edited, said) in [
        (json!({ "term": -7 }), "ha.term: expected a whole number from 0 to 4503599627370495, found -7"),
        (json!({ "term": "seven" }), "ha.term: expected a whole number from 0 to 4503599627370495, found \"seven\""),
        (json!({ "term": 1e300 }), "ha.term: expected a whole number"),
        (json!({ "epoch": null }), "ha.epoch: expected a whole number from 0 to 4503599627370495, found nothing"),
        (json!({ "holder": 5 }), "ha.holder: expected a device id of at most 128 characters, found 5"),
        (json!({ "v": 2 }), "ha.v: expected 1 (another version of iotedge-ha may have written this), found 2"),
        (json!({ "pool": "press_2" }), "it says that it belongs to the pool press_2"),
        (json!({ "paused": "yes" }), "ha.paused: expected an object, found \"yes\""),
    ] {
        site.write_tags(ANCHOR, json!({ "ha": edited })).await;
        let holding = site.until_said("holding, because the record ha-anchor-press_1 makes no sense").await;
        assert!(holding.contains(said), "{edited}: {holding}");
        site.expect_still_alone("edge-a").await;
        let mut mended = good.clone();
        mended["paused"] = Value::Null;
        site.write_tags(ANCHOR, json!({ "ha": mended })).await;
        site.until_not_said("makes no sense").await;
    }
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_hand_writes_into_the_record_moves_nobody_without_a_release() {
    let site = Site::open().await;
    // Another holder, written by hand: it gets a term of its own, after the one who runs has released.
    site.write_tags(ANCHOR, json!({ "ha": { "holder": "edge-b" } })).await;
    site.expect_alone("edge-b").await;
    let term = site.bench.anchor().await.expect("a record").term;
    assert!(term > Term(1));
    // A term that goes back.
    site.write_tags(ANCHOR, json!({ "ha": { "term": 0 } })).await;
    site.until_term_above(term).await;
    site.expect_alone("edge-b").await;
    let term = site.bench.anchor().await.expect("a record").term;
    // The record deleted: it is built anew above everything seen.
    let call = minute();
    site.bench.hub().client().delete_device(ANCHOR, &IfMatch::Any, &call).await.expect("it is deleted");
    site.until_term_above(term).await;
    site.expect_alone("edge-b").await;
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flag_written_by_hand_opens_nothing_and_nonsense_closes_nothing() {
    let site = Site::open().await;
    for flag in [
        json!({ "active": true, "term": 999 }),
        json!({ "active": true, "term": -1 }),
        json!({ "active": "true", "term": "many" }),
        json!({ "active": [], "settings": 7 }),
    ] {
        site.write_desired("edge-b", json!({ "ha": flag })).await;
        site.write_tags("edge-b", json!({ "ha": { "press_1": { "role": "active", "term": 999 } } })).await;
        site.expect_alone("edge-a").await;
    }
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_control_record_edited_into_nonsense_is_named() {
    let site = Site::open().await;
    site.write_tags("ha-control", json!({ "ha": { "epoch": "three", "beat": -1 } })).await;
    let said = site.until_said("not in charge, because the control record ha-control makes no sense").await;
    assert!(said.contains("ha.epoch: expected a whole number"), "{said}");
    // As the message says: without the key a controller takes charge anew.
    site.write_tags("ha-control", json!({ "ha": null })).await;
    site.expect_alone("edge-a").await;
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_that_throttles_or_fails_is_named_and_the_pool_recovers() {
    let site = Site::open().await;
    for (kind, said) in [
        (RestKind::Throttle, "not in charge, because IoT Hub is throttling"),
        (RestKind::ServerError, "not in charge, because "),
    ] {
        site.bench.emulator.faults().set_rest(kind, RestFault::default());
        site.until_said(said).await;
        site.bench.emulator.faults().heal_all();
        site.expect_alone("edge-a").await;
        assert_eq!(site.bench.anchor().await.expect("a record").term, Term(1), "nothing moved");
    }
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_that_are_not_there_are_named() {
    let bench = Bench::open().await;
    let agent = bench.start_agent("edge-a");
    let members = "members = [\"edge-a\", \"edge-x\"]\nagent_module = \"ha-agent\"";
    // A lease that nobody of this test sees the end of.
    let timings = "ttl_ms = 300000\nrenew_ms = 1000\ncall_timeout_ms = 8000\nretry_ms = 200\nstop_ms = 400\n";
    leave_no_charge(&bench.hub()).await;
    let fleet = Fleet::start(&setup(bench.config_of(members, timings)));
    let said = || fleet.board().rows().into_values().next().expect("one pool").sentence;
    let wanted = "no record yet: waiting for edge-x to say that nothing runs there";
    eventually(wanted, async || said().contains(wanted).then_some(())).await;
    assert!(bench.anchor().await.is_none(), "no record before every member has answered or every lease has ended");
    agent.abort();
    fleet.stop().await;
}
