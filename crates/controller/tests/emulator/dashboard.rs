use std::net::SocketAddr;
use std::time::Duration;

use ha_emulator::faults::{RestFault, RestKind};
use ha_emulator::meters::Meter;
use iotedge_ha_controller::clock::Clock;
use iotedge_ha_controller::config::Config;
use iotedge_ha_controller::dashboard::{Dashboard, serve};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::bench::Bench;

/// A dashboard for as long as the test.
pub(crate) async fn start(bench: &Bench, config: Config, period: Duration) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let dashboard = Dashboard::new(bench.hub(), config, Clock::start(), period);
    tokio::spawn(serve(listener, dashboard, CancellationToken::new()));
    address
}

pub(crate) async fn text(address: SocketAddr, path: &str) -> String {
    let answer = reqwest::get(format!("http://{address}{path}")).await.expect("it answers");
    assert_eq!(answer.status(), 200);
    answer.text().await.expect("a body")
}

async fn pools(address: SocketAddr) -> Value {
    serde_json::from_str(&text(address, "/v1/pools").await).expect("JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hub_is_asked_once_in_a_period_and_what_was_known_stays() {
    let bench = Bench::open().await;
    let agents = bench.start_agents().await;
    let controller = bench.start_controller(bench.config());
    bench.until_active("edge-a").await;
    controller.stop().await;

    // An hour is longer than any test: all of these are one look.
    let slow = start(&bench, bench.config(), Duration::from_secs(3600)).await;
    let calls = || bench.emulator.meters().read(Meter::Methods);
    let before = calls();
    let looks = futures_util::future::join_all((0..8).map(|_| pools(slow))).await;
    let asked = calls() - before;
    assert!(looks.iter().all(|look| *look == looks[0]), "{looks:?}");
    assert_eq!(looks[0]["pools"][0]["report"]["holder"], "edge-a");
    assert_eq!(looks[0]["charge"], json!({ "state": "vacant" }), "it was given back");
    pools(slow).await;
    assert_eq!(calls() - before, asked);
    assert!(asked > 0 && text(slow, "/").await.contains("<strong>edge-a</strong> holds term 1 since"));

    let quick = start(&bench, bench.config(), Duration::ZERO).await;
    let known = pools(quick).await["pools"][0].clone();
    assert_eq!(known["trouble"], Value::Null);
    bench.emulator.faults().set_rest(RestKind::ServerError, RestFault::default());
    let lost = pools(quick).await["pools"][0].clone();
    assert!(lost["trouble"].is_string(), "{lost}");
    assert_eq!((&lost["report"], &lost["known_at"]), (&known["report"], &known["known_at"]));
    assert!(text(quick, "/").await.contains("it cannot be asked now"));
    agents.iter().for_each(JoinHandle::abort);
}
