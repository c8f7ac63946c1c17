//! Pools without agents: a flag in the twin of the module `press` on each device, and an ordinary client that is connected as that module.

use std::time::Duration;

use ha_core::anchor::{Reason, Verb};
use ha_core::ids::{Epoch, GrantorId, MemberId, PoolName, Term};
use ha_core::messages::{Grant, Hello, HolderState, Refusal, Request, Revoke, Workload};
use ha_core::seen::CallFailure;
use ha_core::time::Millis;
use ha_wire::Twin;
use ha_wire::twin::TwinPatch;
use iotedge_ha_controller::clock::{Clock, wall};
use iotedge_ha_controller::config::Config;
use iotedge_ha_controller::hub::iot::IotHub;
use iotedge_ha_controller::hub::{Hub as _, Seat};
use iotedge_ha_controller::operate::{ask, check, report, wait_settled};
use serde_json::json;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::bench::{Bench, MEMBERS, POOL, eventually};
use crate::dashboard;

const FENCE_DELAY_MS: i64 = 600;

fn config(bench: &Bench, more: &str) -> Config {
    let pool = format!(
        "members = [\"edge-a\", \"edge-b\", \"edge-c\"]\ngate = \"flag\"\n\
         flag = {{ module = \"press\", path = \"ha.active\", fence_delay_ms = {FENCE_DELAY_MS}, down_after_ms = 300{more} }}"
    );
    // A busy machine must not look like a dead device.
    bench.config_of(
        &pool,
        "ttl_ms = 16000\nrenew_ms = 1000\ncall_timeout_ms = 7000\nstop_ms = 400\nanchor_read_ms = 400\n",
    )
}

fn seat(config: &Config, member: &str) -> Seat {
    let members = MEMBERS.map(MemberId::new);
    Seat::new(&config.pools[0], &MemberId::new(member), &members)
}

fn is_set(twin: &Twin) -> bool {
    twin.properties.desired.get("ha").is_some_and(|ha| ha["active"] == json!(true))
}

async fn flag(bench: &Bench, member: &str) -> bool {
    is_set(&bench.twin(member, Some("press")).await)
}

/// When the member's flag was last written, by the hub's clock.
async fn written_ms(bench: &Bench, member: &str) -> i64 {
    let twin = bench.twin(member, Some("press")).await;
    twin.properties.desired.last_updated(&["ha", "active"]).expect("it was written").unix_ms()
}

async fn until_flag_alone(bench: &Bench, member: &str) {
    let is_alone = async || {
        let mut set = Vec::new();
        for other in MEMBERS {
            if flag(bench, other).await {
                set.push(other);
            }
        }
        (set == [member]).then_some(())
    };
    eventually(&format!("the flag of {member} alone is set"), is_alone).await;
}

/// Looks all the time whether two flags are set at once. One that is seen set before and after another was seen set was set meanwhile.
fn watch(bench: &Bench) -> (CancellationToken, JoinHandle<u32>) {
    let (stop, hub) = (CancellationToken::new(), bench.hub());
    let stopped = stop.clone();
    let task = tokio::spawn(async move {
        let look = async |member: &str| {
            let call = ha_iothub::Call::within(Duration::from_secs(60));
            is_set(&hub.client().twin(member, Some("press"), &call).await.expect("it is there"))
        };
        let mut rounds = 0;
        while !stopped.is_cancelled() {
            let mut earlier: Vec<&str> = Vec::new();
            for member in MEMBERS {
                if look(member).await {
                    for other in &earlier {
                        assert!(!look(other).await, "{member} and {other} are both active");
                    }
                    earlier.push(member);
                }
            }
            rounds += 1;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        rounds
    });
    (stop, task)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_active_role_follows_who_is_connected() {
    let bench = Bench::open().await;
    let (stop, watching) = watch(&bench);
    let [a, others @ ..] = connect_all(&bench).await;
    let controller = bench.start_controller(config(&bench, ""));
    until_flag_alone(&bench, "edge-a").await;

    a.abort();
    until_flag_alone(&bench, "edge-b").await;
    let waited = written_ms(&bench, "edge-b").await - written_ms(&bench, "edge-a").await;
    assert!(waited >= FENCE_DELAY_MS, "another's flag was set {waited} ms after the first was cleared");
    let anchor = bench.anchor().await.expect("there is a record");
    assert_eq!((anchor.holder, anchor.term), (Some(MemberId::new("edge-b")), Term(2)));
    assert_eq!(anchor.history.last().map(|last| last.reason.clone()), Some(Reason::HolderSilent));
    let role = async || Some(bench.twin("edge-b", Some("press")).await.tags["ha"][POOL]["role"].clone());
    eventually("its module says so", async || role().await.filter(|role| role == "active")).await;

    controller.stop().await;
    stop.cancel();
    assert!(watching.await.expect("never two at once") > 0);
    others.iter().for_each(JoinHandle::abort);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_switches_over_and_is_told_that_nothing_is_fenced() {
    let bench = Bench::open().await;
    let clients = connect_all(&bench).await;
    let controller = bench.start_controller(config(&bench, ""));
    until_flag_alone(&bench, "edge-a").await;

    let (hub, pool) = (bench.hub(), POOL.parse::<PoolName>().expect("a name"));
    let verb = Verb::Switchover { to: Some(MemberId::new("edge-c")) };
    let request = ask(&hub, &pool, verb, "eve", wall()).await.expect("it is asked");
    let (settled, _) =
        wait_settled(&hub, &pool, &request, Duration::from_secs(120), |_| {}).await.expect("it is settled");
    assert_eq!(settled.refused, None);
    until_flag_alone(&bench, "edge-c").await;

    let config = config(&bench, "");
    let report = report(&hub, &config.pools[0], Clock::start()).await.expect("it can be asked");
    let active = report.members.iter().find(|member| member.member.as_str() == "edge-c").expect("it is there");
    assert_eq!((active.state, active.fenced, active.fit), (Some("active"), false, true), "{}", active.why);
    let page = dashboard::start(&bench, config.clone(), Duration::from_secs(5)).await;
    assert!(dashboard::text(page, "/").await.contains("<td>not fenced</td>"));
    let findings = check::run(Ok(config), false, |_| {}).await.findings;
    let fencing = findings.iter().find(|finding| finding.id == "fencing").expect("it was looked at");
    let said = serde_json::to_value(fencing).expect("JSON");
    assert_eq!(said["outcome"], "warning", "{said}");
    let bad: Vec<_> = findings.iter().filter(|finding| finding.outcome.is_error()).collect();
    assert!(bad.is_empty(), "{bad:?}");
    controller.stop().await;
    clients.iter().for_each(JoinHandle::abort);
}

fn hello() -> Request {
    Request::Hello(Hello { grantor: GrantorId::controller(), epoch: Epoch(1), wants_nonce: true })
}

async fn call(hub: &IotHub, seat: &Seat, request: Request) -> Result<ha_core::messages::Answer, CallFailure> {
    let hold = if matches!(request, Request::Grant(_)) { Millis(300) } else { Millis::ZERO };
    hub.call(seat, &request, hold, Millis(60_000)).await
}

/// A controller that is paused between its last look and its write, while another takes over.
#[tokio::test(flavor = "multi_thread")]
async fn a_paused_controller_cannot_set_a_flag_that_its_successor_has_cleared() {
    let bench = Bench::open().await;
    let clients = connect_all(&bench).await;
    let config = config(&bench, "");
    let (paused, successor) = (bench.hub(), bench.hub());
    let (a, b) = (seat(&config, "edge-a"), seat(&config, "edge-b"));
    let grant = |nonce, term, epoch| {
        let grantor = GrantorId::controller();
        Request::Grant(Grant { grantor, epoch: Epoch(epoch), term: Term(term), nonce, ttl: Millis(3_000) })
    };
    let old = call(&paused, &a, hello()).await.expect("it answers").nonce.expect("there is one");
    let new = call(&successor, &b, hello()).await.expect("it answers").nonce.expect("there is one");
    let mut answer = call(&successor, &b, grant(new, 2, 2)).await.expect("it answers");
    while answer.state != HolderState::Active {
        answer = call(&successor, &b, grant(answer.nonce.expect("there is one"), 2, 2)).await.expect("it answers");
    }

    // It has not heard of the other: it clears b, which closes, and then must fail to set a.
    let late = loop {
        match call(&paused, &a, grant(old, 1, 1)).await {
            Ok(answer) if answer.refused.is_none() && answer.state == HolderState::Standby => {}
            other => break other.expect("it answers"),
        }
    };
    assert_eq!((late.refused, late.state), (Some(Refusal::UnknownNonce), HolderState::Standby));
    assert!(!flag(&bench, "edge-a").await);
    clients.iter().for_each(JoinHandle::abort);
}

/// Clients on all members. Whoever looks before one is connected passes it over.
async fn connect_all(bench: &Bench) -> [JoinHandle<()>; 3] {
    let clients = MEMBERS.map(|member| bench.connect_press(member));
    let (hub, config) = (bench.hub(), config(bench, ""));
    for member in MEMBERS {
        let seat = seat(&config, member);
        let is_connected = async || match call(&hub, &seat, hello()).await {
            Err(CallFailure::Offline) => None,
            answered => Some(answered.expect("it answers")),
        };
        eventually(&format!("{member} is connected"), is_connected).await;
    }
    clients
}

#[tokio::test(flavor = "multi_thread")]
async fn a_released_flag_has_been_cleared_and_waited_for() {
    let bench = Bench::open().await;
    let hub = bench.hub();
    let a = seat(&config(&bench, ""), "edge-a");
    let on = TwinPatch::desired(json!({ "ha": { "active": true } }).as_object().cloned().expect("an object"));
    let minute = ha_iothub::Call::within(Duration::from_secs(60));
    hub.client().patch_twin("edge-a", Some("press"), &on, None, &minute).await.expect("it is written");
    let revoke = || Request::Revoke(Revoke { grantor: GrantorId::controller(), epoch: Epoch(1), term: Term(3) });
    let began = std::time::Instant::now();
    let answer = call(&hub, &a, revoke()).await.expect("it answers, though no client is connected");
    assert_eq!(answer.released, Some(Term(3)));
    assert!(matches!(answer.workload, Workload::Unready(_)), "a release is no sign of life: {:?}", answer.workload);
    assert!(began.elapsed().as_millis() >= u128::try_from(FENCE_DELAY_MS).expect("it is positive"));
    assert!(!flag(&bench, "edge-a").await);

    let gone = Seat { member: MemberId::new("edge-x"), ..a };
    assert_eq!(call(&hub, &gone, revoke()).await.expect("nobody is there to run").released, Some(Term(3)));
    assert_eq!(call(&hub, &gone, hello()).await, Err(CallFailure::NotFound));
}

/// A holder with a flag has fallen silent, and the next one has an agent.
#[tokio::test(flavor = "multi_thread")]
async fn a_lease_waits_for_the_flags_of_the_others() {
    let bench = Bench::open().await;
    let agent = bench.start_agent("edge-b");
    let hub = bench.hub();
    let b = seat(&config(&bench, ", agents = [\"edge-b\"]"), "edge-b");
    let on = TwinPatch::desired(json!({ "ha": { "active": true } }).as_object().cloned().expect("an object"));
    let minute = ha_iothub::Call::within(Duration::from_secs(60));
    hub.client().patch_twin("edge-a", Some("press"), &on, None, &minute).await.expect("it is written");
    let set_at = written_ms(&bench, "edge-a").await;

    let nonce = async || call(&hub, &b, hello()).await.ok().and_then(|answer| answer.nonce);
    let nonce = eventually("the agent answers", nonce).await;
    let grant = |nonce| {
        let grantor = GrantorId::controller();
        Request::Grant(Grant { grantor, epoch: Epoch(1), term: Term(2), nonce, ttl: Millis(60_000) })
    };
    let mut answer = call(&hub, &b, grant(nonce)).await.expect("it answers");
    assert!(!flag(&bench, "edge-a").await);
    while let Some(refusal) = answer.refused {
        assert_eq!(refusal, Refusal::TooLate, "the flag of edge-a was cleared a moment ago");
        answer = call(&hub, &b, grant(answer.nonce.expect("there is one"))).await.expect("it answers");
    }
    assert_eq!(answer.term, Term(2));
    assert!(
        wall().0 - written_ms(&bench, "edge-a").await >= FENCE_DELAY_MS && written_ms(&bench, "edge-a").await > set_at
    );
    agent.abort();
}

/// Waits until an agent on `member` could hold.
async fn until_fit(bench: &Bench, member: &str) {
    let (hub, config) = (bench.hub(), bench.config());
    let is_fit = async || {
        let report = report(&hub, &config.pools[0], Clock::start()).await.expect("it can be asked");
        report.members.iter().any(|row| row.member.as_str() == member && row.fit).then_some(())
    };
    eventually(&format!("{member} is fit"), is_fit).await;
}

/// The way from a flag to a lease: one member after the other gets an agent, and the gap is that of a switchover.
#[tokio::test(flavor = "multi_thread")]
async fn a_pool_moves_from_flags_to_a_lease() {
    let bench = Bench::open().await;
    let clients = connect_all(&bench).await;
    let controller = bench.start_controller(config(&bench, ""));
    until_flag_alone(&bench, "edge-a").await;
    controller.stop().await;

    let agents = bench.start_agents().await;
    let controller = bench.start_controller(config(&bench, ", agents = [\"edge-b\", \"edge-c\"]"));
    let (hub, pool) = (bench.hub(), POOL.parse::<PoolName>().expect("a name"));
    until_fit(&bench, "edge-b").await;
    let verb = Verb::Switchover { to: Some(MemberId::new("edge-b")) };
    let request = ask(&hub, &pool, verb, "eve", wall()).await.expect("it is asked");
    let (settled, _) =
        wait_settled(&hub, &pool, &request, Duration::from_secs(120), |_| {}).await.expect("it is settled");
    assert_eq!(settled.refused, None);
    bench.until_active("edge-b").await;
    assert!(!flag(&bench, "edge-a").await, "the flag was cleared before the lease was granted");
    controller.stop().await;

    let controller = bench.start_controller(bench.config());
    bench.until_active("edge-b").await;
    let term = bench.anchor().await.expect("there is a record").term;
    assert_eq!(term, Term(2), "the lease goes on in its term");
    controller.stop().await;
    clients.iter().chain(&agents).for_each(JoinHandle::abort);
}
