use std::time::Duration;

use ha_core::ids::MemberId;
use iotedge_ha_controller::config::edit::{Edit, edit};
use iotedge_ha_controller::config::{self, Config};
use iotedge_ha_controller::hub::iot::IotHub;
use iotedge_ha_controller::operate::membership::{
    Leftovers, carry_out, forget, leftovers, plan_join, until_dropped, withdraw,
};

use crate::bench::{Bench, POOL, beside};

const MINUTE: Duration = Duration::from_secs(60);

/// What would be made, and what is in the way.
async fn planned(hub: &IotHub, config: &Config, devices: &[&str], create: bool) -> (Vec<String>, Vec<String>) {
    let pool = config.pool(POOL).expect("it is configured");
    let devices: Vec<_> = devices.iter().map(|device| MemberId::new(*device)).collect();
    let plan = plan_join(hub, pool, &devices, create).await.expect("it can be planned");
    (plan.steps.iter().map(ToString::to_string).collect(), plan.problems.iter().map(ToString::to_string).collect())
}

async fn carry_out_some(hub: &IotHub, config: &Config, device: &str, count: usize) {
    let pool = config.pool(POOL).expect("it is configured");
    let plan = plan_join(hub, pool, &[MemberId::new(device)], true).await.expect("it can be planned");
    for step in plan.steps.iter().take(count) {
        carry_out(hub, pool, step).await.expect("it can be made");
        carry_out(hub, pool, step).await.expect("twice is like once");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_made_and_a_broken_off_run_is_finished() {
    let bench = Bench::open().await;
    let (hub, config) = (bench.hub(), bench.config_with("select = \"tags.site = 'm1'\""));
    let all = [
        "create device ha-anchor-press_1 (disabled: the place of the pool's record)",
        "create device edge-d (IoT Edge)",
        "create module edge-d/ha-agent",
        "patch twin edge-d/ha-agent: properties.desired.ha, with a new key",
        "patch twin edge-d: tags.ha.press_1 = {\"role\":\"standby\",\"term\":0}",
        "patch twin edge-d: tags {\"site\":\"m1\"}",
    ];
    let (_, problems) = planned(&hub, &config, &["edge-d"], false).await;
    assert_eq!(problems, ["edge-d: there is no such device in the hub"]);
    for made in 0..=all.len() {
        assert_eq!(
            planned(&hub, &config, &["edge-d"], true).await,
            (all[made..].iter().map(|s| (*s).to_owned()).collect(), vec![])
        );
        carry_out_some(&hub, &config, "edge-d", 1).await;
    }
    assert_eq!(bench.anchor().await, None, "the record is the controller's to found");

    let pool = config.pool(POOL).expect("it is configured");
    let edge_d = MemberId::new("edge-d");
    let found = leftovers(&hub, pool, &edge_d).await.expect("they can be read");
    assert_eq!(found, Leftovers { holds: false, role_tag: true, key: true, selected: true });
    withdraw(&hub, pool, &edge_d).await.expect("it can be written");
    assert!(until_dropped(&hub, pool, &edge_d, MINUTE).await.expect("it can be read"), "no controller ever ran it");
    forget(&hub, pool, &edge_d).await.expect("it can be written");
    assert!(leftovers(&hub, pool, &edge_d).await.expect("they can be read").is_none());
    let nobody = MemberId::new("nobody");
    forget(&hub, pool, &nobody).await.expect("who is gone needs no forgetting");
    assert!(leftovers(&hub, pool, &nobody).await.expect("they can be read").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_the_way_is_named() {
    let bench = Bench::open().await;
    let (hub, config) = (bench.hub(), bench.config_with("members = [\"edge-a\", \"plain\"]"));
    let call = ha_iothub::Call::within(MINUTE);
    hub.client().create_device(&ha_wire::Device::new("plain"), &call).await.expect("it is made");
    hub.client().create_device(&ha_wire::Device::new("ha-anchor-press_1"), &call).await.expect("it is made");
    let (_, problems) = planned(&hub, &config, &["edge-a", "plain"], false).await;
    let expected = [
        "ha-anchor-press_1: a device that may connect has the name of the pool's record",
        "plain: it is no IoT Edge device",
    ];
    assert_eq!(problems, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn members_come_and_go_while_the_controller_runs() {
    let bench = Bench::open().await;
    let path = beside(&bench.folder, "pool.toml");
    let list = |members: &[&str]| {
        let text = format!(
            "[hub]\nconnection_string_file = \"hub.txt\"\nca_file = \"ca.pem\"\nsku = \"S3\"\n\
             [controller]\nname = \"bench\"\nstate_dir = \"state\"\ncontrol_ttl_ms = 10000\ncontrol_renew_ms = 700\n\
             [[pool]]\nname = \"{POOL}\"\nmembers = {members:?} # by hand\n\
             [pool.timings]\nttl_ms = 30000\nrenew_ms = 1000\ncall_timeout_ms = 8000\nretry_ms = 200\nstop_ms = 400\n\
             anchor_read_ms = 400\n"
        );
        std::fs::write(&path, text).expect("it can be written");
        config::load(&path, &[]).unwrap_or_else(|refused| panic!("{refused}"))
    };
    let change = |change: Edit| {
        let text = std::fs::read_to_string(&path).expect("it can be read");
        let text = edit(&text, &POOL.parse().expect("a name"), &change).expect("it can be changed");
        std::fs::write(&path, text).expect("it can be written");
    };
    let agents = bench.start_agents().await;
    let config = list(&["edge-a", "edge-b"]);
    let (hub, pool) = (bench.hub(), config.pool(POOL).expect("it is configured"));
    let controller = bench.start_controller(config.clone());
    bench.until_active("edge-a").await;

    // A standby leaves.
    let edge_b = MemberId::new("edge-b");
    change(Edit::Remove(edge_b.clone()));
    assert!(until_dropped(&hub, pool, &edge_b, MINUTE).await.expect("it can be read"));
    forget(&hub, pool, &edge_b).await.expect("it can be written");
    bench.until_active("edge-a").await;

    // Another takes the holder's place: the work moves to it.
    let edge_a = MemberId::new("edge-a");
    std::fs::write(&path, "nonsense").expect("it can be written");
    list(&["edge-a"]);
    change(Edit::Replace { old: edge_a.clone(), new: MemberId::new("edge-c") });
    assert!(until_dropped(&hub, pool, &edge_a, MINUTE).await.expect("it can be read"));
    bench.until_active("edge-c").await;
    assert!(leftovers(&hub, pool, &edge_b).await.expect("they can be read").is_none(), "nobody keys it again");
    controller.stop().await;
    agents.iter().for_each(tokio::task::JoinHandle::abort);
}
