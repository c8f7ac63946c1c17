use ha_core::ids::{MemberId, Term};
use iotedge_ha_controller::store::History;

use crate::bench::{Bench, POOL, beside};

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_is_founded_fails_over_and_remembers() {
    let bench = Bench::open().await;
    let mut agents = bench.start_agents().await;
    let members = "members = [\"edge-a\", \"edge-b\", \"edge-c\"]";
    let timings = "ttl_ms = 15000\nrenew_ms = 1000\ncall_timeout_ms = 6000\nretry_ms = 200\nstop_ms = 400\n";
    let controller = bench.start_controller(bench.config_of(members, timings));
    bench.until_active("edge-a").await;
    let term = bench.anchor().await.expect("it is there").term;
    agents.remove(0).abort();
    bench.until_active("edge-b").await;
    let anchor = bench.anchor().await.expect("it is there");
    assert!(anchor.term > term);
    let summary = controller.stop().await;
    assert!(summary.in_charge && summary.given_back, "{summary:?}");
    let history = History::open(&beside(&bench.folder, "state")).expect("it opens");
    let kept = history.transitions(POOL, 10).expect("they can be read");
    assert_eq!(kept.iter().map(|t| t.holder.clone()).collect::<Vec<_>>(), ["edge-b", "edge-a"].map(MemberId::new));
    assert!(kept.iter().all(|t| t.term > Term(0)));
    let why = history.last_deed(POOL).expect("it can be read").expect("something was done");
    assert_eq!(why.replay(), why.plan);
    agents.iter().for_each(tokio::task::JoinHandle::abort);
}
