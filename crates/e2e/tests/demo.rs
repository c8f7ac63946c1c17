//! The demonstration from outside: what it shows, and that it leaves nothing behind.

use std::sync::{Mutex, MutexGuard, PoisonError};

use iotedge_ha_e2e::Stage;

/// A demo with leases of two seconds has a right to a machine that is not busy with another one.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Plays stories; each must hold, and nothing be left.
fn play(timings: &str, stories: &[&str]) {
    let stage = Stage::default();
    let chosen = stories.iter().flat_map(|story| ["--story", story]);
    let args: Vec<_> = ["demo", "--json", "--timings", timings].into_iter().chain(chosen).collect();
    let ran = stage.run(&args).expect(0);

    let lines = ran.json_lines();
    let played: Vec<_> = lines.iter().filter(|line| line["story"].is_string()).collect();
    assert_eq!(played.iter().filter_map(|line| line["story"].as_str()).collect::<Vec<_>>(), stories);
    for story in played {
        assert_eq!((&story["ok"], &story["overlap_ms"]), (&true.into(), &0.0.into()), "{story}");
        let moves = story["story"] != "return";
        assert_eq!(story["failover_ms"].as_f64().is_some_and(|ms| ms > 0.0), moves, "{story}");
        assert!(story["gap_ms"].is_f64(), "{story}");
    }
    assert_eq!(lines.last(), Some(&serde_json::json!({ "ok": true })));
    stage.expect_no_processes();
    stage.expect_empty_folder();
}

/// The holder is lost, however busy the machine is.
#[test]
fn a_lost_holder_is_replaced_within_a_short_lease() {
    let _turn = turn();
    play("fast", &["crash", "network-cut", "agent-frozen"]);
}

/// What must not take as long as a lease, or must not cost one, is played with leases that a busy machine does not lose.
#[test]
fn a_holder_that_is_not_lost_costs_no_lease() {
    play("default", &["switchover", "graceful-stop", "agent-killed", "return"]);
}

#[test]
fn an_interrupted_demo_leaves_nothing() {
    let _turn = turn();
    let stage = Stage::default();
    let mut demo = stage.start(&["demo", "--story", "crash", "--json"]);
    demo.wait_for_line(|line| line.contains("\"writes\""));
    demo.signal("INT");
    demo.wait().expect(130);
    stage.expect_no_processes();
    stage.expect_empty_folder();
}

#[test]
fn nothing_outlives_a_demo_that_is_killed() {
    let _turn = turn();
    let stage = Stage::default();
    let mut demo = stage.start(&["demo", "--story", "crash", "--json"]);
    demo.wait_for_line(|line| line.contains("\"writes\""));
    demo.signal("KILL");
    drop(demo);
    stage.expect_no_processes();
}
