use std::collections::BTreeMap;

use ha_wire::SharedAccessKey;
use ha_wire::sas::Unsigned;

use iotedge_ha_e2e::port;

use crate::site::Site;

const PARENTS: &str = "[pool.parents]\nchildren = [\"leaf-1\"]\n";

/// Sends a message of the leaf device through a gateway; the status of the answer.
async fn send(site: &Site, gateway: &BTreeMap<String, String>) -> u16 {
    let key = site.env["LEAF_1_CONNECTION_STRING"].split_once("SharedAccessKey=").expect("a key").1;
    let key = SharedAccessKey::from_base64(key).expect("base64");
    let expiry = std::time::UNIX_EPOCH.elapsed().expect("a clock after 1970").as_secs() + 600;
    let token = Unsigned::device("localhost", "leaf-1", expiry).sign(&key);
    let pem = std::fs::read(&gateway["EDGE_CA_FILE"]).expect("the authority");
    let authority = reqwest::Certificate::from_pem(&pem).expect("PEM");
    let client = reqwest::Client::builder().tls_certs_only([authority]).no_proxy().build().expect("a client");
    let port = port(&gateway["EDGE_HTTPS"]);
    let url = format!("https://localhost:{port}/devices/leaf-1/messages/events?api-version=2020-03-13");
    let answer = client.post(url).header("authorization", token).body("warm").send().await;
    answer.expect("an answer").status().as_u16()
}

#[tokio::test]
async fn a_leaf_device_sends_through_whoever_holds() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let site = Site::open(["--http-addr=127.0.0.1:0"; 2].map(str::to_owned), PARENTS);
    let (_hub_a, a) = site.start_edge_hub("edge-a");
    let (_hub_b, b) = site.start_edge_hub("edge-b");
    let _controller = site.start_controller();
    site.wait_for_follower("parents", 1);
    assert_eq!((send(&site, &a).await, send(&site, &b).await), (204, 401), "only the holder is its parent");

    site.run(&["switchover", "press_1", "--to", "edge-b", "--yes"]).expect(0);
    site.wait_for_follower("parents", 2);
    assert_eq!(send(&site, &b).await, 204, "it was told, although it had turned the leaf away a moment ago");
    assert_eq!(send(&site, &a).await, 204, "the former gateway is not fenced");
    let shown = site.run(&["parents", "show", "press_1"]).expect(0);
    assert!(shown.stdout.contains("leaf-1  edge-b  is where it belongs"), "{}", shown.stdout);

    site.run(&["parents", "apply", "press_1"]).expect(2).says("--yes");
    site.run(&["parents", "plan", "press_1"]).expect(0).says("0 of 1 leaf devices are to be moved to edge-b");
}
