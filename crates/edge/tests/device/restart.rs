//! What a device still knows when it starts again.

use iotedge_ha_edge::Cut;
use serde_json::json;

use super::agent::{deployment, module, status, status_here};
use super::{Site, apply, edge_hub_follows, eventually, timings};

#[tokio::test]
async fn a_boot_without_network_goes_on_where_the_last_life_ended() {
    let site = Site::open(timings()).await;
    apply(&site, &deployment(module("registry.example/speaker:1.0", "running"))).await;
    eventually("the module runs", async || status(&site).await == "running").await;
    edge_hub_follows(&site).await;
    site.patch("alpha", json!({"speed": 7})).await;
    let mut alpha = site.module("alpha").await;
    let before = alpha.twin("1").await;
    site.edge.cut(Cut::Refused);
    alpha.report("2", &json!({"mood": "lonely"})).await;
    drop(alpha);

    let site = site.restart(Cut::Refused).await;
    eventually("the last deployment runs", async || status_here(&site).await == "running").await;
    let (mut alpha, mut beta) = (site.module("alpha").await, site.module("beta").await);
    let twin = alpha.twin("1").await;
    assert_eq!((&twin["desired"], &twin["reported"]["mood"]), (&before["desired"], &json!("lonely")));
    beta.subscribe(&["devices/edge-1/modules/beta/inputs/#"]).await;
    alpha.publish("devices/edge-1/modules/alpha/messages/events/%24.on=hot", "by the last routes").await;
    let heard = beta.receive("devices/edge-1/modules/beta/inputs/in/").await.expect("a message");
    assert_eq!(heard.payload, b"by the last routes");
    assert_eq!(site.reported("alpha").await, json!({}), "the cloud knows of nothing");

    site.edge.cut(Cut::None);
    eventually("the report arrives", async || site.reported("alpha").await == json!({"mood": "lonely"})).await;
    apply(&site, &deployment(module("registry.example/speaker:1.0", "stopped"))).await;
    eventually("the cloud's word counts again", async || status(&site).await == "stopped").await;
}

#[tokio::test]
async fn a_device_that_has_never_asked_the_hub_does_not_start_without_it() {
    let site = Site::open(timings()).await;
    let folder = tempfile::tempdir().expect("a folder");
    let options =
        iotedge_ha_edge::Options { cut: Cut::Refused, state_dir: folder.path().to_owned(), ..site.options.clone() };
    let error = iotedge_ha_edge::start(options).await.expect_err("nothing is known");
    assert!(error.to_string().contains("identities of device edge-1"), "{error}");
}
