//! While the line to the cloud is cut.

use std::time::Duration;

use iotedge_ha_edge::Cut;
use serde_json::{Value, json};

use super::module::Module;
use super::{Site, eventually, timings};

#[tokio::test]
async fn the_copy_answers_and_reports_wait() {
    for cut in [Cut::Silent, Cut::Refused] {
        let mut quick = timings();
        quick.cloud_operation = Duration::from_millis(300);
        let site = Site::open(quick).await;
        site.patch("alpha", json!({"speed": 7})).await;
        let mut alpha = site.module("alpha").await;
        let mut before = Value::Null;
        eventually("the cloud has answered in time", async || {
            before = alpha.twin("1").await;
            before["desired"]["speed"] == 7
        })
        .await;

        site.edge.cut(cut);
        site.patch("alpha", json!({"speed": 8})).await;
        assert_eq!(alpha.twin("2").await, before, "{cut:?}: an old copy, and nothing tells");
        assert_eq!(alpha.report("3", &json!({"during": "outage"})).await, "$iothub/twin/res/204/?$rid=3");
        assert_eq!(alpha.twin("4").await["reported"]["during"], "outage");
        assert_eq!(site.reported("alpha").await, json!({}), "{cut:?}: nothing has arrived");

        // Whoever was known before may still log in.
        drop(alpha);
        let mut again = Module::connect(&site, "alpha", &site.token("alpha", 600)).await.expect("known offline");
        again.subscribe(&["$iothub/twin/res/#"]).await;
        assert_eq!(again.twin("5").await["desired"], before["desired"]);

        site.edge.cut(Cut::None);
        eventually("the report arrives", async || site.reported("alpha").await == json!({"during": "outage"})).await;
        eventually("the twin is read", async || again.twin("6").await["desired"]["speed"] == 8).await;
    }
}

#[tokio::test]
async fn messages_wait_for_the_line() {
    let site = Site::open(timings()).await;
    let mut messages = site.hub.messages();
    let mut alpha = site.module("alpha").await;
    site.edge.cut(Cut::Refused);
    for n in 0..3 {
        alpha.publish("devices/edge-1/modules/alpha/messages/events/", n.to_string()).await;
    }
    drop(alpha);
    assert!(messages.try_recv().is_err());
    site.edge.cut(Cut::None);
    for n in 0..3 {
        let message = tokio::time::timeout(super::PATIENCE, messages.recv()).await.expect("in time").expect("one");
        assert_eq!(message.body, n.to_string().as_bytes());
    }
}
