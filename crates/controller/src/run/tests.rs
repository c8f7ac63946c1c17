//! Whole runs in virtual time: the daemon as it is, against a hub and agents in memory.

mod routes;
mod world;

use std::sync::Arc;
use std::time::Duration;

use ha_core::anchor::{OperatorRequest, Reason, Verb};
use ha_core::ids::{RequestId, Term};
use ha_core::time::WallTime;
use tokio_util::sync::CancellationToken;

use self::world::{World, a, b, c};
use super::*;

struct Controller {
    stop: CancellationToken,
    task: tokio::task::JoinHandle<Summary>,
}

impl Controller {
    fn start(world: &Arc<World>) -> Self {
        Self::start_with(world, "")
    }

    fn start_with(world: &Arc<World>, more: &str) -> Self {
        let stop = CancellationToken::new();
        let task = tokio::spawn(run(world.setup(more), stop.clone()));
        Self { stop, task }
    }

    async fn stop(self) -> Summary {
        self.stop.cancel();
        self.task.await.expect("it ends")
    }

    /// As by SIGKILL: nothing is given back.
    async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
        // The fleet's tasks die with the process; here they see that nobody holds their ends.
    }
}

#[tokio::test(start_paused = true)]
async fn a_pool_is_founded_and_its_first_member_runs() {
    let world = World::new();
    let controller = Controller::start(&world);
    world.until_active(&a()).await;
    let summary = controller.stop().await;
    assert!(summary.in_charge && summary.given_back, "{summary:?}");
    assert_eq!(world.overlap_ms(), 0);
    let anchor = world.anchor();
    assert_eq!((anchor.holder, anchor.term), (Some(a()), Term(1)));
}

#[tokio::test(start_paused = true)]
async fn a_dead_holder_is_replaced_and_comes_back_as_standby() {
    let world = World::new();
    let controller = Controller::start(&world);
    world.until_active(&a()).await;
    world.kill(&a());
    world.until_active(&b()).await;
    world.revive(&a());
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(world.active(), [b()]);
    assert_eq!(world.anchor().history.last().map(|t| t.reason.clone()), Some(Reason::HolderSilent));
    assert_eq!(world.overlap_ms(), 0);
    controller.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_is_cut_off_stops_before_its_successor_starts() {
    let world = World::new();
    let controller = Controller::start(&world);
    world.until_active(&a()).await;
    world.cut(&a(), true);
    world.until_active(&b()).await;
    world.cut(&a(), false);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(world.active(), [b()]);
    assert_eq!(world.overlap_ms(), 0);
    controller.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_operator_moves_the_pool() {
    let world = World::new();
    let controller = Controller::start(&world);
    world.until_active(&a()).await;
    let request = OperatorRequest { verb: Verb::Switchover { to: Some(c()) }, by: "eve".to_owned(), at: WallTime(1) };
    world.edit(|anchor| drop(anchor.requests.insert(RequestId::new("r1"), request.clone())));
    world.until_active(&c()).await;
    let anchor = world.anchor();
    assert!(anchor.requests.is_empty());
    assert_eq!(anchor.settled.len(), 1);
    assert_eq!(world.overlap_ms(), 0);
    controller.stop().await;
}

/// A hook that can never be called: nothing in virtual time waits for a process.
fn broken_hook(more: &str) -> String {
    format!("[[pool.hook]]\nname = \"site\"\non = \"before_switchover\"\ncommand = [\"/no/such/program\"]\n{more}")
}

async fn asks_for_c(world: &Arc<World>) -> Option<String> {
    world.until_active(&a()).await;
    let request = OperatorRequest { verb: Verb::Switchover { to: Some(c()) }, by: "eve".to_owned(), at: WallTime(1) };
    world.edit(|anchor| drop(anchor.requests.insert(RequestId::new("r1"), request)));
    while world.anchor().settled.is_empty() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    world.anchor().settled[0].refused.clone()
}

#[tokio::test(start_paused = true)]
async fn a_hook_without_an_answer_refuses_a_switchover_and_delays_no_failover() {
    let world = World::new();
    let controller = Controller::start_with(&world, &broken_hook(""));
    let refused = asks_for_c(&world).await.expect("it is refused");
    assert!(refused.starts_with("the hook site says no: it gave no answer: /no/such/program cannot be"), "{refused}");
    assert_eq!(world.active(), [a()]);
    world.kill(&a());
    world.until_active(&b()).await;
    assert_eq!(world.overlap_ms(), 0);
    controller.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_hook_without_an_answer_can_count_as_a_yes() {
    let world = World::new();
    let controller = Controller::start_with(&world, &broken_hook("on_timeout = \"go\""));
    assert_eq!(asks_for_c(&world).await, None);
    world.until_active(&c()).await;
    controller.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_cannot_be_told_is_shown_and_holds_nothing_up() {
    let world = World::new();
    let after = broken_hook("").replace("before_switchover", "after_handover");
    let summary = tick(world.setup(&after), Duration::from_secs(120), CancellationToken::new()).await;
    let row = summary.pools.values().next().expect("a row");
    assert!(row.settled && row.sentence.contains("hook:site is left to do: /no/such/program"), "{}", row.sentence);
    assert_eq!(world.active(), [a()]);
    assert!(world.anchor().followed.is_empty(), "it is told once it can be");
}

#[tokio::test(start_paused = true)]
async fn a_second_controller_waits_and_takes_over_without_a_gap() {
    let world = World::new();
    let first = Controller::start(&world);
    world.until_active(&a()).await;
    let second = Controller::start(&world);
    tokio::time::sleep(Duration::from_secs(60)).await;
    let gaps = world.gap_ms();
    first.stop().await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(world.active(), [a()], "the lease was kept alive across the take-over");
    assert_eq!(world.gap_ms(), gaps);
    assert_eq!(world.anchor().term, Term(1));
    assert!(second.stop().await.in_charge);
    assert_eq!(world.overlap_ms(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_killed_controller_is_replaced_by_the_next() {
    let world = World::new();
    let first = Controller::start(&world);
    world.until_active(&a()).await;
    first.kill().await;
    let second = Controller::start(&world);
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(world.active(), [a()]);
    world.kill(&a());
    world.until_active(&b()).await;
    assert_eq!(world.overlap_ms(), 0);
    second.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_deleted_record_is_rebuilt_above_everything_seen() {
    let world = World::new();
    let controller = Controller::start(&world);
    world.until_active(&a()).await;
    world.delete_anchor();
    tokio::time::sleep(Duration::from_secs(60)).await;
    let anchor = world.anchor();
    assert!(anchor.term > Term(1), "{anchor:?}");
    assert_eq!(world.active().len(), 1);
    assert_eq!(world.overlap_ms(), 0);
    controller.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_record_made_nonsense_holds_the_pool_as_it_is() {
    let world = World::new();
    let controller = Controller::start(&world);
    world.until_active(&a()).await;
    let gaps = world.gap_ms();
    world.spoil(true);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!((world.active(), world.gap_ms()), (vec![a()], gaps), "the holder goes on");
    let summary = controller.stop().await;
    let row = summary.pools.values().next().expect("one pool");
    assert!(row.sentence.contains("holding, because the record ha-anchor-press_1 makes no sense"), "{}", row.sentence);

    let controller = Controller::start(&world);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(world.active().is_empty(), "nobody can know who may be granted what");
    world.spoil(false);
    world.until_somebody_is_active().await;
    assert_eq!(world.overlap_ms(), 0);
    controller.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_hub_that_is_away_stops_the_pool_and_nothing_else() {
    let world = World::new();
    let controller = Controller::start(&world);
    world.until_active(&a()).await;
    world.hub_away(true);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(world.active().is_empty());
    world.hub_away(false);
    world.until_somebody_is_active().await;
    assert_eq!(world.overlap_ms(), 0);
    controller.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_write_of_unknown_fate_is_read_back() {
    let world = World::new();
    world.lose_answers(5);
    let controller = Controller::start(&world);
    world.until_active(&a()).await;
    world.lose_answers(3);
    world.kill(&a());
    world.until_active(&b()).await;
    assert_eq!(world.overlap_ms(), 0);
    controller.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_a_deployment_fights_is_not_run_and_the_others_are() {
    let world = World::new();
    world.fight_with("dep1");
    let controller = Controller::start(&world);
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(world.active().is_empty());
    let summary = controller.stop().await;
    let row = summary.pools.values().next().expect("one pool");
    assert!(row.sentence.contains("dep1"), "{}", row.sentence);
}

#[tokio::test(start_paused = true)]
async fn one_pass_founds_and_the_next_goes_on() {
    let world = World::new();
    let stop = CancellationToken::new();
    let setup = world.setup("");
    let limit = tick_limit(&setup.config);
    let first = tick(setup, limit, stop.clone()).await;
    assert!(first.in_charge && first.given_back, "{first:?}");
    assert_eq!(world.active(), [a()]);
    let began = tokio::time::Instant::now();
    let second = tick(world.setup(""), limit, stop.clone()).await;
    assert!(second.in_charge && second.pools.values().all(|row| row.settled), "{second:?}");
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    world.kill(&a());
    let third = tick(world.setup(""), limit, stop).await;
    assert_eq!(world.active(), [b()], "{third:?}");
    assert_eq!(world.overlap_ms(), 0);
}

#[tokio::test(start_paused = true)]
async fn one_pass_leaves_a_running_controller_alone() {
    let world = World::new();
    let controller = Controller::start(&world);
    world.until_active(&a()).await;
    let setup = world.setup("");
    let limit = tick_limit(&setup.config);
    let summary = tick(setup, limit, CancellationToken::new()).await;
    assert!(!summary.in_charge && summary.owner.is_some(), "{summary:?}");
    assert_eq!(world.active(), [a()]);
    controller.stop().await;
}

#[tokio::test(start_paused = true)]
async fn one_pass_takes_over_from_one_that_was_killed() {
    let world = World::new();
    let controller = Controller::start(&world);
    world.until_active(&a()).await;
    controller.kill().await;
    let setup = world.setup("");
    let limit = tick_limit(&setup.config);
    let summary = tick(setup, limit, CancellationToken::new()).await;
    assert!(summary.in_charge && summary.given_back, "{summary:?}");
    assert_eq!(world.overlap_ms(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_pass_that_holds_renews_until_its_time_is_over() {
    let world = World::new();
    let setup = world.setup("");
    let began = tokio::time::Instant::now();
    let summary = hold(&setup, Duration::from_secs(240), CancellationToken::new()).await;
    assert!(began.elapsed() >= Duration::from_secs(240) && summary.in_charge && summary.given_back, "{summary:?}");
    assert_eq!(world.active(), [a()], "the lease has just been renewed");
}

#[tokio::test(start_paused = true)]
async fn a_pass_that_would_hold_leaves_a_running_controller_alone() {
    let world = World::new();
    let controller = Controller::start(&world);
    world.until_active(&a()).await;
    let began = tokio::time::Instant::now();
    let second = hold(&world.setup(""), Duration::from_secs(240), CancellationToken::new()).await;
    assert!(second.owner.is_some() && began.elapsed() < Duration::from_secs(30), "{second:?}");
    controller.stop().await;
}

#[tokio::test(start_paused = true)]
async fn one_pass_at_a_hub_that_is_away_ends_and_says_why() {
    let world = World::new();
    world.hub_away(true);
    let setup = world.setup("");
    let (limit, began) = (tick_limit(&setup.config), tokio::time::Instant::now());
    let summary = tick(setup, limit, CancellationToken::new()).await;
    assert!(began.elapsed() < limit);
    assert!(!summary.in_charge && summary.trouble.is_some(), "{summary:?}");
    let row = summary.pools.values().next().expect("one pool");
    assert!(row.sentence.contains("not in charge, because IoT Hub cannot be reached"), "{}", row.sentence);
}

#[tokio::test(start_paused = true)]
async fn a_query_that_lags_drops_nobody() {
    let world = World::new();
    world.find(&[a(), b(), c()]);
    let controller = Controller::start_with(&world, "select");
    world.until_active(&a()).await;
    world.find(&[b()]);
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(world.active(), [a()]);
    tokio::time::sleep(Duration::from_secs(2_000)).await;
    assert_eq!(world.active(), [b()], "left out for longer than any lag");
    assert_eq!(world.overlap_ms(), 0);
    controller.stop().await;
}

#[tokio::test(start_paused = true)]
async fn many_that_look_dead_at_once_are_held() {
    let world = World::new();
    let controller = Controller::start_with(&world, "[controller.brake]\npercent = 50\nat_least = 1\n");
    world.until_active(&a()).await;
    world.kill(&a());
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(world.active().is_empty());
    let summary = controller.stop().await;
    let row = summary.pools.values().next().expect("one pool");
    assert_eq!(row.waiting, ["mass_failure"], "{}", row.sentence);
}

const LEAVES: &str = "[pool.parents]\nchildren = [\"leaf-1\", \"leaf-2\"]";

#[tokio::test(start_paused = true)]
async fn leaf_devices_follow_the_holder() {
    let world = World::new();
    world.leaf("leaf-1", None);
    world.leaf("leaf-2", Some("b"));
    world.leaf("stranger", Some("a"));
    let controller = Controller::start_with(&world, LEAVES);
    world.until_followed("parents").await;
    assert_eq!(world.parents(), ["leaf-1 at a", "leaf-2 at a", "stranger at a"]);
    world.kill(&a());
    world.until_active(&b()).await;
    world.until_followed("parents").await;
    assert_eq!(world.parents(), ["leaf-1 at b", "leaf-2 at b", "stranger at a"]);
    let leaves = vec!["leaf-1".to_owned(), "leaf-2".to_owned()];
    assert_eq!(world.told(), [(a(), leaves.clone()), (b(), leaves)]);
    controller.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_killed_controller_left_in_the_middle_the_next_one_finishes() {
    let world = World::new();
    world.leaf("leaf-1", Some("b"));
    world.leaf("leaf-2", Some("b"));
    world.refuse_moves(1);
    let first = Controller::start_with(&world, LEAVES);
    while world.parents().iter().filter(|at| at.ends_with(" a")).count() != 1 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    first.kill().await;
    world.hub_away(true);
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.hub_away(false);
    let second = Controller::start_with(&world, LEAVES);
    world.until_followed("parents").await;
    assert_eq!(world.parents(), ["leaf-1 at a", "leaf-2 at a"]);
    let told = world.told();
    assert_eq!(told.last().map(|(gateway, leaves)| (gateway.clone(), leaves.len())), Some((a(), 2)));
    second.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_pass_tells_what_is_left_to_do_for_leaf_devices() {
    let world = World::new();
    world.leaf("leaf-1", Some("elsewhere"));
    let summary = tick(world.setup(LEAVES), Duration::from_secs(120), CancellationToken::new()).await;
    let sentence = &summary.pools.values().next().expect("a row").sentence;
    for part in ["parents is left to do: 2 of 2 leaf devices", "leaf-1 has a parent outside", "leaf-2 does not exist"] {
        assert!(sentence.contains(part), "{sentence}");
    }
    assert_eq!(world.parents(), ["leaf-1 at elsewhere"]);
}
