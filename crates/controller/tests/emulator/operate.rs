use std::time::Duration;

use ha_core::anchor::Verb;
use ha_core::ids::MemberId;
use ha_core::messages::HolderState;
use ha_core::time::Millis;
use iotedge_ha_controller::clock::{Clock, wall};
use iotedge_ha_controller::operate::check::{self, Outcome};
use iotedge_ha_controller::operate::{AskError, NotActive, ask, report, wait_active, wait_settled};

use crate::bench::{Bench, POOL, eventually, seat};

/// What is not well, by check and subject.
fn unwell(report: &check::Report) -> Vec<String> {
    let told = |finding: &check::Finding| match &finding.outcome {
        Outcome::Ok { .. } | Outcome::NotApplicable { .. } => None,
        Outcome::Warning { found, .. } => Some(format!("warning: {found}")),
        Outcome::Error { found, .. } => Some(format!("error: {found}")),
        Outcome::Skipped { because } => Some(format!("skipped, because of {because}")),
    };
    let line = |finding: &check::Finding| {
        told(finding).map(|told| format!("{} {}: {told}", finding.id, finding.subject.as_deref().unwrap_or("-")))
    };
    report.findings.iter().filter_map(line).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_hub_is_told_apart_from_a_running_pool() {
    let bench = Bench::open().await;
    let fresh = check::run(Ok(bench.config()), false, |_| {}).await;
    assert_eq!(fresh.errors(), 0, "{:?}", unwell(&fresh));
    expect_test::expect![[r#"
        [
            "control -: warning: ha-control does not exist yet",
            "record press_1: warning: there is none yet",
            "key press_1/edge-a: warning: there is none yet",
            "agent press_1/edge-a: skipped, because of key",
            "key press_1/edge-b: warning: there is none yet",
            "agent press_1/edge-b: skipped, because of key",
            "key press_1/edge-c: warning: there is none yet",
            "agent press_1/edge-c: skipped, because of key",
        ]
    "#]]
    .assert_debug_eq(&unwell(&fresh));
    let agents = bench.start_agents().await;
    let controller = bench.start_controller(bench.config());
    bench.until_active("edge-a").await;
    let running = check::run(Ok(bench.config()), false, |_| {}).await;
    assert_eq!(unwell(&running), Vec::<String>::new());
    controller.stop().await;
    agents.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_rights_and_members_are_named() {
    let bench = Bench::open().await;
    let narrow = bench.emulator.policy_connection_string("service").expect("it has that policy");
    std::fs::write(bench.folder.path().join("hub.txt"), narrow).expect("it can be written");
    let report = check::run(Ok(bench.config()), false, |_| {}).await;
    let said = unwell(&report);
    assert!(said.iter().any(|said| said.contains("lacks: registry read, registry write")), "{said:?}");
    std::fs::write(bench.folder.path().join("hub.txt"), bench.emulator.connection_string()).expect("it can be written");
    let report = check::run(Ok(bench.config_with("members = [\"edge-x\"]")), false, |_| {}).await;
    let said = unwell(&report);
    assert!(said.contains(&"member press_1/edge-x: error: there is no such device".to_owned()), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_asks_and_is_told() {
    let bench = Bench::open().await;
    let hub = bench.hub();
    let config = bench.config();
    let pool = config.pool(POOL).expect("it is configured");
    let asked = ask(&hub, &pool.name, Verb::Pause, "eve", wall()).await;
    assert!(matches!(asked, Err(AskError::NoRecord { .. })));
    let agents = bench.start_agents().await;
    let controller = bench.start_controller(bench.config());
    bench.until_active("edge-a").await;

    let verb = Verb::Switchover { to: Some(MemberId::new("edge-c")) };
    let request = ask(&hub, &pool.name, verb, "eve", wall()).await.expect("it is written");
    let minute = Duration::from_secs(60);
    let (settled, _) = wait_settled(&hub, &pool.name, &request, minute, |_| {}).await.expect("it is settled");
    assert_eq!(settled.refused, None);
    let active = wait_active(&hub, pool, None, minute, |_| {}).await.expect("it becomes active");
    assert_eq!(active.holder, MemberId::new("edge-c"));
    let answer = hub.peek(&seat("edge-c"), Millis(30_000)).await.expect("it answers");
    assert_eq!((answer.state, answer.term), (HolderState::Active, active.term));
    // Nobody has been asked to relieve it, so it never comes about, and that is said.
    let relieved = MemberId::new("edge-c");
    let mut patience = Duration::from_millis(200);
    let holder = loop {
        match wait_active(&hub, pool, Some(&relieved), patience, |_| {}).await {
            Err(AskError::NotActive(NotActive::StillHeld { holder, .. })) => break holder,
            // Not even the record could be read in so short a time.
            Err(AskError::NotActive(NotActive::Unread)) => patience *= 2,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(holder, relieved);
    let nobody = Verb::Switchover { to: Some(MemberId::new("edge-z")) };
    let request = ask(&hub, &pool.name, nobody, "eve", wall()).await.expect("it is written");
    let (settled, _) = wait_settled(&hub, &pool.name, &request, minute, |_| {}).await.expect("it is settled");
    assert!(settled.refused.is_some_and(|why| why.contains("edge-z")));

    let settled = async || {
        let report = report(&hub, pool, Clock::start()).await.expect("it can be had");
        assert_eq!(report.holder, Some(MemberId::new("edge-c")));
        let roles: Vec<_> = report.members.iter().map(|m| (m.member.as_str(), m.role, m.fit)).collect();
        let wanted = [("edge-a", "standby", true), ("edge-b", "standby", true), ("edge-c", "active", true)];
        (roles == wanted).then_some(())
    };
    eventually("edge-c is active, and the others could be", settled).await;
    controller.stop().await;
    agents.iter().for_each(tokio::task::JoinHandle::abort);
}
