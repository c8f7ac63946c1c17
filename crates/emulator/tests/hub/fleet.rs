//! Fleets from files, faults by the clock, and the page.

use iotedge_ha_emulator::{Emulator, Options};
use reqwest::Method;
use serde_json::json;

use crate::backend::Backend;
use crate::eventually;

const FLEET: &str = "[[device]]\nid = \"leaf-{n}\"\ncount = 20\ntags = { site = \"m1\" }\n";
const SCRIPT: &str = "[[step]]\nat = \"0s\"\ndevice = \"leaf-1\"\nflap = 1\n\
                      [[step]]\nat = \"100ms\"\nfor = \"200ms\"\nhub = \"throttle\"\n\
                      [[step]]\nat = \"150ms\"\ndevice = \"nobody\"\nflap = 1\n";

#[tokio::test]
async fn a_fleet_and_a_script_of_faults_come_from_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let (fleet, script) = (folder.path().join("fleet.toml"), folder.path().join("faults.toml"));
    std::fs::write(&fleet, FLEET).expect("written");
    std::fs::write(&script, SCRIPT).expect("written");
    let options = Options { seed_file: Some(fleet), faults_script: Some(script.clone()), ..Options::default() };
    let hub = Emulator::start(options.clone()).await.expect("a hub");
    let backend = Backend::new(&hub);
    let outcomes = async || {
        let shown = backend.control(Method::GET, "/script", None).await.body;
        let steps = shown["steps"].as_array().cloned().unwrap_or_default();
        steps.iter().map(|step| step["outcome"].as_str().unwrap_or("waits").to_owned()).collect::<Vec<_>>()
    };
    eventually("the script is over", async || outcomes().await == ["done", "done", "there is no nobody", "done"]).await;
    assert_eq!(backend.get("/twins/leaf-20").await.body["tags"]["site"], "m1");
    let imported = backend.control(Method::POST, "/import", Some(json!({"id": "x", "importMode": "create"}))).await;
    assert_eq!(imported.body, json!({"lines": 1}));
    assert_eq!(hub.export().lines().count(), 21);
    let forgetful = json!({"down_ms": 0, "keep_state": false});
    backend.control(Method::POST, "/faults/hub/restart", Some(forgetful)).await;
    eventually("the fleet alone is back", async || hub.export().lines().count() == 20).await;
    std::fs::write(&script, "\n[[step]]\nhub = \"frozen\"\n").expect("written");
    let error = Emulator::start(options).await.expect_err("refused").to_string();
    assert!(error.contains("faults.toml: line 2: 'at' is missing"), "{error}");
}

#[tokio::test]
async fn the_page_holds_nothing_secret_and_runs_nothing_foreign() {
    let hub = crate::hub().await;
    let backend = Backend::new(&hub);
    let (_, sign) = backend.file("/").await;
    assert!(sign.contains("/_emulator/"), "{sign}");
    let scripts = ["/page.js", "/traffic.js"].map(|path| (path, "text/javascript"));
    for (path, kind) in [("/", "text/html"), ("/page.css", "text/css")].into_iter().chain(scripts) {
        let (headers, text) = backend.file(&format!("/_emulator{path}")).await;
        assert!(headers["content-type"].to_str().expect("text").starts_with(kind), "{path}");
        let policy = headers["content-security-policy"].to_str().expect("text");
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        assert!(!text.contains(hub.control_token()) && !text.contains("innerHTML"), "{path}");
    }
    let devices = backend.control(Method::GET, "/devices", None).await.body;
    assert_eq!(devices[0]["id"], "edge-a");
    assert!(!devices.to_string().contains("primaryKey"), "no keys");
}
