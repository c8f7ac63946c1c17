//! What each shared access policy may do, operation by operation.

use iotedge_ha_emulator::{Emulator, Options, Running, Seed};
use reqwest::Method;
use serde_json::{Value, json};

use crate::backend::Backend;

const POLICIES: [&str; 5] = ["iothubowner", "service", "device", "registryRead", "registryReadWrite"];
const CONNECT: &[&str] = &["iothubowner", "service"];
const READ: &[&str] = &["iothubowner", "registryRead", "registryReadWrite"];
const WRITE: &[&str] = &["iothubowner", "registryReadWrite"];

async fn hub() -> Running {
    let seed = vec![Seed::parse("edge-a:edge:m").expect("a seed")];
    Emulator::start(Options { seed, ..Options::default() }).await.expect("a hub")
}

/// Without a body most of these come to nothing, but never before the right was looked at.
#[tokio::test]
async fn operations_by_policy() {
    let hub = hub().await;
    let operations: &[(Method, &str, &[&str])] = &[
        (Method::GET, "/devices", READ),
        (Method::POST, "/devices", WRITE),
        (Method::GET, "/devices/edge-a", READ),
        (Method::PUT, "/devices/edge-a", WRITE),
        (Method::DELETE, "/devices/nobody", WRITE),
        (Method::GET, "/devices/edge-a/modules", READ),
        (Method::GET, "/devices/edge-a/modules/m", READ),
        (Method::PUT, "/devices/edge-a/modules/m", WRITE),
        (Method::DELETE, "/devices/edge-a/modules/m", WRITE),
        (Method::GET, "/statistics/devices", READ),
        (Method::GET, "/statistics/service", READ),
        (Method::POST, "/devices/query", CONNECT),
        (Method::DELETE, "/devices/edge-a/commands", CONNECT),
        (Method::POST, "/devices/edge-a/applyConfigurationContent", CONNECT),
        (Method::GET, "/twins/edge-a", CONNECT),
        (Method::PATCH, "/twins/edge-a", CONNECT),
        (Method::PUT, "/twins/edge-a", CONNECT),
        (Method::GET, "/twins/edge-a/modules/m", CONNECT),
        (Method::PATCH, "/twins/edge-a/modules/m", CONNECT),
        (Method::POST, "/twins/edge-a/methods", CONNECT),
        (Method::POST, "/twins/edge-a/modules/m/methods", CONNECT),
        (Method::GET, "/digitaltwins/edge-a", CONNECT),
        (Method::PATCH, "/digitaltwins/edge-a", CONNECT),
        (Method::POST, "/digitaltwins/edge-a/commands/c", CONNECT),
        (Method::POST, "/digitaltwins/edge-a/components/a/commands/c", CONNECT),
        (Method::GET, "/configurations", CONNECT),
        (Method::GET, "/configurations/c", CONNECT),
        (Method::PUT, "/configurations/c", CONNECT),
        (Method::DELETE, "/configurations/c", CONNECT),
        (Method::POST, "/configurations/testQueries", CONNECT),
        (Method::GET, "/jobs/v2/query", CONNECT),
        (Method::GET, "/jobs/v2/j", CONNECT),
        (Method::PUT, "/jobs/v2/j", CONNECT),
        (Method::POST, "/jobs/v2/j/cancel", CONNECT),
        (Method::POST, "/jobs/create", WRITE),
        (Method::GET, "/jobs", WRITE),
        (Method::GET, "/jobs/j", WRITE),
        (Method::DELETE, "/jobs/j", WRITE),
    ];
    for policy in POLICIES {
        let backend = Backend::with_policy(&hub, policy);
        for (method, path, allowed) in operations {
            let body: Option<Value> = (*method != Method::GET).then(|| json!({}));
            let answer = backend.call(method.clone(), path, None, body).await;
            assert_eq!(answer.status != 401, allowed.contains(&policy), "{policy}: {method} {path} {}", answer.body);
        }
    }
}
