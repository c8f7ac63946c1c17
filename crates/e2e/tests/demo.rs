//! The demonstration from outside: what it shows, and that it leaves nothing behind.

use iotedge_ha_e2e::Stage;

#[test]
fn a_crash_is_survived_and_nothing_is_left() {
    let stage = Stage::default();
    let ran = stage.run(&["demo", "--story", "crash", "--json"]).expect(0);

    let lines = ran.json_lines();
    let story = lines.iter().find(|line| line["story"] == "crash").expect("a line for the story");
    assert_eq!(story["ok"], true, "{story}");
    assert_eq!(story["overlap_ms"], 0.0, "{story}");
    assert!(story["failover_ms"].as_f64().is_some_and(|ms| ms > 0.0), "{story}");
    assert!(story["gap_ms"].as_f64().is_some_and(|ms| ms > 0.0), "{story}");
    assert_eq!(lines.last().expect("lines"), &serde_json::json!({ "ok": true }));
    stage.expect_no_processes();
    stage.expect_empty_folder();
}

#[test]
fn an_interrupted_demo_leaves_nothing() {
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
    let stage = Stage::default();
    let mut demo = stage.start(&["demo", "--story", "crash", "--json"]);
    demo.wait_for_line(|line| line.contains("\"writes\""));
    demo.signal("KILL");
    drop(demo);
    stage.expect_no_processes();
}
