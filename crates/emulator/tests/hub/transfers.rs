//! Import and export jobs over REST, with folders for containers.

use std::path::Path;

use iotedge_ha_emulator::{Emulator, Options, Running, Seed};
use reqwest::Method;
use serde_json::{Value, json};

use crate::backend::Backend;
use crate::eventually;

const FLEET: &str = "https://store.blob.core.windows.net/fleet?sv=2021&sig=hidden";
const RESULTS: &str = "https://store.blob.core.windows.net/results?sv=2021&sig=hidden";

fn containers() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["fleet", "results"] {
        std::fs::create_dir(folder.path().join(name)).expect("made");
    }
    folder
}

async fn hub(containers: &Path) -> Running {
    let seed = vec![Seed::parse("edge-a:edge:m").expect("a seed")];
    let options = Options { seed, blob_dir: Some(containers.to_owned()), ..Options::default() };
    Emulator::start(options).await.expect("a hub")
}

async fn done(backend: &Backend, job: Value) -> Value {
    let made = backend.post("/jobs/create", job).await;
    assert_eq!(made.status, 200, "{}", made.body);
    assert!(!made.body.to_string().contains("hidden"), "{}", made.body);
    let path = format!("/jobs/{}", made.body["jobId"].as_str().expect("an id"));
    let active = |job: &Value| matches!(job["status"].as_str(), Some("enqueued" | "running"));
    eventually("the job ends", async || !active(&backend.get(&path).await.body)).await;
    backend.get(&path).await.body
}

#[tokio::test]
async fn what_one_hub_exports_another_imports() {
    let folder = containers();
    let first = hub(folder.path()).await;
    let exported = done(&Backend::new(&first), json!({"type": "export", "outputBlobContainerUri": FLEET})).await;
    assert_eq!((&exported["status"], &exported["progress"]), (&json!("completed"), &json!(100)), "{exported}");
    let text = std::fs::read_to_string(folder.path().join("fleet/devices.txt")).expect("written");
    assert_eq!(text, first.export());

    let second = Emulator::start(Options { blob_dir: Some(folder.path().to_owned()), ..Options::default() })
        .await
        .expect("a hub");
    let backend = Backend::new(&second);
    let imported = done(
        &backend,
        json!({"type": "import", "inputBlobContainerUri": format!("file://{}/fleet", folder.path().display()),
            "outputBlobContainerUri": RESULTS}),
    )
    .await;
    assert_eq!(imported["status"], "completed", "{imported}");
    assert_eq!(second.device_connection_string("edge-a"), first.device_connection_string("edge-a"));
    assert!(!folder.path().join("results/importErrors.log").exists(), "nothing to tell");
    assert_eq!(backend.get("/jobs").await.body, json!([imported]));
}

#[tokio::test]
async fn an_export_may_leave_out_keys_and_choose_its_name() {
    let folder = containers();
    let hub = hub(folder.path()).await;
    let job = json!({"type": "export", "outputBlobContainerUri": FLEET, "outputBlobName": "open.txt",
        "excludeKeysInExport": true});
    assert_eq!(done(&Backend::new(&hub), job).await["excludeKeysInExport"], true);
    let text = std::fs::read_to_string(folder.path().join("fleet/open.txt")).expect("written");
    let first: Value = serde_json::from_str(text.lines().next().expect("a line")).expect("JSON");
    assert_eq!(first["authentication"]["symmetricKey"], json!({"primaryKey": null, "secondaryKey": null}));
}

#[tokio::test]
async fn lines_that_cannot_be_imported_are_told_and_hold_up_nothing() {
    let folder = containers();
    let hub = hub(folder.path()).await;
    let backend = Backend::new(&hub);
    let lines =
        "{\"id\":\"nobody\",\"importMode\":\"delete\"}\n\nno JSON\n{\"id\":\"new\",\"importMode\":\"create\"}\n";
    std::fs::write(folder.path().join("fleet/some.txt"), lines).expect("written");
    let job = json!({"type": "import", "inputBlobContainerUri": FLEET, "inputBlobName": "some.txt",
        "outputBlobContainerUri": RESULTS});
    assert_eq!(done(&backend, job.clone()).await["status"], "completed");
    assert_eq!(backend.get("/devices/new").await.status, 200);
    let log = std::fs::read_to_string(folder.path().join("results/importErrors.log")).expect("written");
    let errors: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let told: Vec<_> = errors.iter().map(|error| (&error["line"], &error["errorCode"], &error["deviceId"])).collect();
    let (gone, unreadable) = (json!("DeviceNotFound"), json!("ArgumentInvalid"));
    assert_eq!(told, [(&json!(1), &gone, &json!("nobody")), (&json!(3), &unreadable, &Value::Null)]);

    std::fs::remove_file(folder.path().join("fleet/some.txt")).expect("removed");
    let failed = done(&backend, job).await;
    assert_eq!(failed["status"], "failed");
    assert!(failed["failureReason"].as_str().expect("a reason").contains("some.txt"), "{failed}");
}

#[tokio::test]
async fn what_is_refused() {
    let without = crate::hub().await;
    let answer = Backend::new(&without).post("/jobs/create", json!({"type": "export"})).await;
    assert_eq!((answer.status.as_u16(), answer.error_code()), (400, "ArgumentInvalid"));
    assert!(answer.body["Message"].as_str().expect("text").contains("--blob-dir"), "{}", answer.body);

    let folder = containers();
    let hub = hub(folder.path()).await;
    let backend = Backend::new(&hub);
    for job in [
        json!([]),
        json!({"type": "backup", "outputBlobContainerUri": FLEET}),
        json!({"type": "export"}),
        json!({"type": "export", "outputBlobContainerUri": 7}),
        json!({"type": "export", "outputBlobContainerUri": "file:///etc"}),
        json!({"type": "export", "outputBlobContainerUri": FLEET, "outputBlobName": "../devices.txt"}),
        json!({"type": "export", "outputBlobContainerUri": FLEET, "excludeKeysInExport": "yes"}),
        json!({"type": "export", "outputBlobContainerUri": FLEET, "includeConfigurations": true}),
        json!({"type": "import", "outputBlobContainerUri": FLEET}),
    ] {
        let answer = backend.post("/jobs/create", job.clone()).await;
        assert_eq!((answer.status.as_u16(), answer.error_code()), (400, "ArgumentInvalid"), "{job}");
        assert!(!answer.body.to_string().contains("hidden"), "{}", answer.body);
    }
    for method in [Method::GET, Method::DELETE] {
        let answer = backend.call(method, "/jobs/nobody", None, None).await;
        assert_eq!((answer.status.as_u16(), answer.error_code()), (404, "JobNotFound"));
    }
    let gone = Options { blob_dir: Some(folder.path().join("nothing")), ..Options::default() };
    assert!(Emulator::start(gone).await.is_err());
}
