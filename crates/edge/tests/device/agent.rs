//! edgeAgent: what it runs, reports and answers.

use ha_iothub::Call;
use serde_json::{Value, json};

use super::module::PATIENCE;
use super::{DEVICE, Site, apply, eventually, timings};

const HOT: &str = "FROM /messages/modules/alpha/outputs/hot INTO BrokeredEndpoint(\"/modules/beta/inputs/in\")";

/// A deployment of one module whose image has a command.
pub(super) fn deployment(module: Value) -> Value {
    json!({
        "$edgeAgent": {"properties.desired": {
            "schemaVersion": "1.1",
            "runtime": {"type": "docker", "settings": {"minDockerVersion": "v1.25"}},
            "systemModules": {
                "edgeAgent": {"type": "docker", "settings": {"image": "agent:1.5"}},
                "edgeHub": {"type": "docker", "status": "running", "restartPolicy": "always", "settings": {"image": "hub:1.5"}},
            },
            "modules": {"gamma": module},
        }},
        "$edgeHub": {"properties.desired": {"schemaVersion": "1.1", "routes": {"hot": HOT}}},
    })
}

pub(super) fn module(image: &str, status: &str) -> Value {
    json!({
        "type": "docker", "version": "1.0", "status": status, "restartPolicy": "always", "startupOrder": 1,
        "settings": {"image": image}, "env": {"GREETING": {"value": "hello"}},
    })
}

async fn gamma(site: &Site) -> Value {
    site.reported("$edgeAgent").await["modules"]["gamma"].clone()
}

pub(super) async fn status(site: &Site) -> Value {
    gamma(site).await["runtimeStatus"].clone()
}

/// The same as the device's own list has it, which needs no cloud.
pub(super) async fn status_here(site: &Site) -> String {
    let socket = site.edge.module_environment("gamma").await.expect("gamma");
    let uri = socket.iter().find(|(name, _)| name == "IOTEDGE_WORKLOADURI").map(|(_, uri)| uri.clone());
    let path = uri.expect("a uri").trim_start_matches("unix://").to_owned();
    let client = reqwest::Client::builder().unix_socket(path).build().expect("a client");
    let listed = client.get("http://workload/modules?api-version=2019-01-30").send().await.expect("an answer");
    let listed: ha_wire::workload::ModuleList = listed.json().await.expect("a list");
    let gamma = listed.modules.into_iter().find(|module| module.name == "gamma");
    gamma.map(|gamma| gamma.status.runtime_status.status).unwrap_or_default()
}

#[tokio::test]
async fn a_deployment_is_run_reported_and_ended() {
    let site = Site::open(timings()).await;
    apply(&site, &deployment(module("registry.example/speaker:1.0", "running"))).await;
    eventually("the module runs", async || status(&site).await == "running").await;
    let reported = site.reported("$edgeAgent").await;
    assert_eq!(reported["lastDesiredStatus"], json!({"code": 200, "description": ""}));
    assert_eq!(reported["systemModules"]["edgeHub"]["runtimeStatus"], "running");
    assert_eq!(reported["modules"]["gamma"]["env"], json!({"GREETING": {"value": "hello"}}));

    // It got the environment of a module of this device and its own, and could sign as itself.
    let log = async || {
        let request = json!({"schemaVersion": "1.0", "items": [{"id": "gam.*", "filter": {"tail": 10}}]});
        let (code, answer) = site.call("$edgeAgent", "GetModuleLogs", request).await.expect("an answer");
        assert_eq!(code, 200, "{answer}");
        answer[0]["payload"].as_str().expect("a log").to_owned()
    };
    eventually("the module has spoken", async || log().await.contains("edge-1/gamma says hello")).await;

    assert_eq!(status_here(&site).await, "running");

    let restarted = site.call("$edgeAgent", "restartmodule", json!({"schemaVersion": "1.0", "id": "gamma"})).await;
    assert_eq!(restarted.expect("an answer"), (200, Value::Null));
    eventually("it was restarted", async || gamma(&site).await["lastRestartTimeUtc"] != "0001-01-01T00:00:00Z").await;

    apply(&site, &deployment(module("registry.example/speaker:1.0", "stopped"))).await;
    eventually("the module is stopped", async || status(&site).await == "stopped").await;
}

#[tokio::test]
async fn a_failing_module_waits_and_a_bad_deployment_is_refused() {
    let site = Site::open(timings()).await;
    apply(&site, &deployment(module("registry.example/failing", "running"))).await;
    eventually("it has failed and waits", async || {
        let gamma = gamma(&site).await;
        gamma["runtimeStatus"] == "backoff" && gamma["exitCode"] == 3
    })
    .await;
    let code = async || site.reported("$edgeAgent").await["lastDesiredStatus"]["code"].clone();
    apply(&site, &deployment(module("registry.example/unknown", "running"))).await;
    eventually("the image is unknown", async || code().await == 500).await;
    apply(&site, &deployment(json!({"settings": {}}))).await;
    eventually("the deployment makes no sense", async || code().await == 400).await;
}

#[tokio::test]
async fn methods_are_answered_as_by_the_real_one() {
    let site = Site::open(timings()).await;
    eventually("edgeAgent can be called", async || site.call("$edgeAgent", "PING", json!({})).await.is_ok()).await;
    let call = async |name: &str, payload: Value| site.call("$edgeAgent", name, payload).await.expect("an answer");
    assert_eq!(call("ping", Value::Null).await, (200, Value::Null));
    let (code, answer) = call("nonsense", Value::Null).await;
    assert!(code == 400 && answer["message"].as_str().is_some_and(|text| text.contains("ping")), "{answer}");
    assert_eq!(call("RestartModule", json!({"id": "nobody"})).await.0, 400);
    let (code, answer) = call("UploadSupportBundle", json!({"schemaVersion": "1.0", "sasUrl": "x"})).await;
    assert_eq!((code, &answer["status"]), (200, &json!("Failed")));
}

#[tokio::test]
async fn a_clean_stop_says_that_nobody_knows_any_more() {
    let site = Site::open(timings()).await;
    apply(&site, &deployment(module("registry.example/speaker", "running"))).await;
    eventually("the module runs", async || status(&site).await == "running").await;
    let Site { hub: _hub, service, edge, .. } = site;
    edge.shutdown().await;
    let twin = service.twin(DEVICE, Some("$edgeAgent"), &Call::within(PATIENCE)).await.expect("a twin");
    let reported = Value::Object(twin.properties.reported.without_system_fields());
    assert_eq!(reported["lastDesiredStatus"]["code"], 406);
    assert_eq!(reported["modules"]["gamma"]["runtimeStatus"], "unknown");
    assert_eq!(reported["systemModules"]["edgeHub"]["runtimeStatus"], "unknown");
}
