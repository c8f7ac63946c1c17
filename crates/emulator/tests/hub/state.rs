//! A state folder outlives any death of the process.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use iotedge_ha_emulator::{Emulator, Options, Seed};
use serde_json::json;

use crate::backend::Backend;
use crate::eventually;

const FOLDER: &str = "HUB_STATE_FOLDER";

/// A hub in a process of its own, to be killed.
#[test]
#[ignore = "runs only as the child of another test"]
fn the_hub_that_dies() {
    let Some(folder) = std::env::var_os(FOLDER) else {
        return;
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let seed = vec![Seed::parse("edge-a:edge:work").expect("a seed")];
        let options = Options { state_dir: Some(folder.into()), seed, ..Options::default() };
        let hub = Emulator::start(options).await.expect("a hub");
        println!("\n{}READY", hub.print_env());
        std::future::pending::<()>().await;
    });
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It may be dead already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(folder: &Path) -> (Killed, Backend) {
    let mut command = Command::new(std::env::current_exe().expect("this test"));
    command.args(["--exact", "state::the_hub_that_dies", "--ignored", "--nocapture"]);
    command.env(FOLDER, folder).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = Killed(command.spawn().expect("a process"));
    let lines = BufReader::new(child.0.stdout.take().expect("a pipe")).lines();
    let lines: Vec<String> = lines.map_while(Result::ok).take_while(|line| line != "READY").collect();
    let value = |name: &str| {
        let line = lines.iter().find_map(|line| line.strip_prefix(&format!("{name}='")));
        line.expect(name).trim_end_matches('\'').to_owned()
    };
    let ca_pem = std::fs::read_to_string(value("IOTHUB_CA_FILE")).expect("the authority");
    let backend = Backend::from_env(&value("IOTHUB_CONNECTION_STRING"), &value("EMULATOR_CONTROL_TOKEN"), &ca_pem);
    (child, backend)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledged_write_survives_a_kill_at_any_moment() {
    let folder = tempfile::tempdir().expect("a folder");
    let acknowledged = Arc::new(AtomicU64::new(0));
    let mut attempted = 0;
    for round in 0..5u64 {
        let (child, backend) = start(folder.path());
        let twin = backend.get("/twins/edge-a/modules/work").await.body;
        let found = twin["tags"]["n"].as_u64().unwrap_or(0);
        let known = acknowledged.load(Ordering::SeqCst);
        assert!(known <= found && found <= attempted, "{known} were promised of {attempted}, {found} are there");
        let counter = Arc::clone(&acknowledged);
        let writer = tokio::spawn(async move {
            for n in found + 1.. {
                let body = json!({"tags": {"n": n}});
                match backend.try_call(reqwest::Method::PATCH, "/twins/edge-a/modules/work", None, Some(body)).await {
                    Ok(answer) => {
                        assert_eq!(answer.status, 200);
                        counter.store(n, Ordering::SeqCst);
                    }
                    Err(_) => return n,
                }
            }
            0
        });
        let enough = known + 5 + 3 * round;
        eventually("enough writes", async || acknowledged.load(Ordering::SeqCst) > enough).await;
        drop(child);
        attempted = writer.await.expect("the writer ends");
    }
}

#[tokio::test]
async fn a_state_folder_keeps_everything_and_belongs_to_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = Options {
        state_dir: Some(folder.path().to_owned()),
        seed: vec![Seed::parse("edge-a:edge:work").expect("a seed")],
        // The configuration is to change no twin.
        evaluation_interval: Duration::ZERO,
        ..Options::default()
    };
    let first = Emulator::start(options.clone()).await.expect("a hub");
    let backend = Backend::new(&first);
    let twin = backend.patch("/twins/edge-a", json!({"tags": {"site": "m1"}})).await.body;
    let content = json!({"content": {"deviceContent": {"properties.desired.a": 1}}, "targetCondition": "*"});
    assert_eq!(backend.put("/configurations/c1", content).await.status, 200);
    let module = first.module_connection_string("edge-a", "work");
    let refused = Emulator::start(options.clone()).await.expect_err("in use").to_string();
    assert!(refused.contains("another emulator is using"), "{refused}");
    first.shutdown().await;

    let second = Emulator::start(options).await.expect("a hub");
    let backend = Backend::new(&second);
    assert_eq!(backend.get("/twins/edge-a").await.body, twin);
    assert_eq!(backend.get("/configurations/c1").await.status, 200);
    assert_eq!(second.module_connection_string("edge-a", "work"), module);
}

#[tokio::test]
async fn a_folder_for_keys_keeps_nothing_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = |seed: &[&str]| Options {
        keys_dir: Some(folder.path().to_owned()),
        seed: seed.iter().map(|seed| Seed::parse(seed).expect("a seed")).collect(),
        ..Options::default()
    };
    let first = Emulator::start(options(&["d1"])).await.expect("a hub");
    let authority = first.ca_pem.clone();
    let second = Emulator::start(options(&[])).await.expect("beside it");
    assert_eq!(second.ca_pem, authority);
    assert_eq!(Backend::new(&second).get("/devices/d1").await.status, 404);
}
