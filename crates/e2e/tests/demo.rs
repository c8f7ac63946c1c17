//! The demonstration from outside: what it shows, and that it leaves nothing behind.

use std::sync::{Mutex, MutexGuard, PoisonError};

use iotedge_ha_e2e::Stage;

/// A demo keeps leases of two seconds, and has a right to a machine that is not busy with another one.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

const STORIES: [&str; 7] =
    ["crash", "return", "switchover", "graceful-stop", "network-cut", "agent-killed", "agent-frozen"];

#[test]
fn every_story_holds_and_nothing_is_left() {
    let _turn = turn();
    let stage = Stage::default();
    let ran = stage.run(&["demo", "--json"]).expect(0);

    let lines = ran.json_lines();
    let stories: Vec<_> = lines.iter().filter(|line| line["story"].is_string()).collect();
    assert_eq!(stories.iter().filter_map(|line| line["story"].as_str()).collect::<Vec<_>>(), STORIES);
    for story in stories {
        assert_eq!((&story["ok"], &story["overlap_ms"]), (&true.into(), &0.0.into()), "{story}");
        let moves = story["story"] != "return";
        assert_eq!(story["failover_ms"].as_f64().is_some_and(|ms| ms > 0.0), moves, "{story}");
        assert!(story["gap_ms"].as_f64().is_some_and(|ms| ms > 0.0), "{story}");
    }
    assert_eq!(lines.last(), Some(&serde_json::json!({ "ok": true })));
    stage.expect_no_processes();
    stage.expect_empty_folder();
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
