//! Files of devices: begun and ended with the hub, written to folders that stand for containers.

use std::path::Path;
use std::time::Duration;

use iotedge_ha_emulator::{ControlPlane, Emulator, Options, Running, Seed};
use reqwest::Method;
use serde_json::{Value, json};

use crate::backend::{Answer, Backend};

const BLOCK_BLOB: &[(&str, &str)] = &[("x-ms-blob-type", "BlockBlob")];

async fn hub(folder: &Path, container: Option<&str>) -> Running {
    let seed = vec![Seed::parse("press-1").expect("a seed"), Seed::parse("press-2").expect("a seed")];
    let upload_container = container.map(str::to_owned);
    let control_plane = ControlPlane { takes: Duration::ZERO, ..ControlPlane::default() };
    let blob_dir = Some(folder.to_owned());
    let options = Options { seed, blob_dir, upload_container, control_plane, ..Options::default() };
    Emulator::start(options).await.expect("a hub")
}

async fn begin(device: &Backend, name: &str) -> Answer {
    let body = json!({"blobName": name}).to_string();
    device.post_raw("/devices/press-1/files", &[], &body).await
}

async fn end(device: &Backend, correlation: &Value) -> Answer {
    let body = json!({"correlationId": correlation, "isSuccess": true, "statusCode": 201, "statusDescription": "done"});
    device.post_raw("/devices/press-1/files/notifications", &[], &body.to_string()).await
}

/// The address of the blob behind the host's name, with its signature.
fn address(begun: &Value) -> String {
    let part = |name: &str| begun[name].as_str().expect("a text").to_owned();
    format!("/{}/{}{}", part("containerName"), part("blobName"), part("sasToken"))
}

#[tokio::test]
async fn a_file_arrives_whole_or_in_blocks() {
    let folder = tempfile::tempdir().expect("a folder");
    let hub = hub(folder.path(), Some("files")).await;
    let device = Backend::device(&hub, "press-1");
    let begun = begin(&device, "logs/a.txt").await;
    assert_eq!(begun.status, 200, "{}", begun.body);
    assert_eq!(begun.body["hostName"], format!("localhost:{}", hub.https_addr.port()));
    assert_eq!(begun.body["blobName"], "press-1/logs/a.txt");
    let address = address(&begun.body);
    assert_eq!(device.put_blob(&address, BLOCK_BLOB, "whole").await, (201, String::new()));
    let path = folder.path().join("files/press-1/logs/a.txt");
    assert_eq!(std::fs::read_to_string(&path).expect("written"), "whole");

    // More than any call of the hub may bring.
    let block = vec![b'x'; 2 * 1024 * 1024];
    assert_eq!(device.put_blob(&format!("{address}&comp=block&blockid=YQ%3D%3D"), &[], block.clone()).await.0, 201);
    let list = "<BlockList><Latest>YQ==</Latest><Latest>YQ==</Latest></BlockList>";
    let commit = format!("{address}&comp=blocklist");
    assert_eq!(device.put_blob(&commit, &[], list).await.0, 201);
    assert_eq!(std::fs::metadata(&path).expect("written").len(), 2 * block.len() as u64);
    assert_eq!(device.put_blob(&commit, &[], list).await, (400, "InvalidBlockList".into()), "they are used up");

    let correlation = &begun.body["correlationId"];
    assert_eq!(end(&device, correlation).await.status, 204);
    let again = end(&device, correlation).await;
    assert_eq!((again.status.as_u16(), again.error_code()), (400, "InvalidFileUploadCorrelationId"));
}

#[tokio::test]
async fn a_signature_opens_one_blob_and_only_writes() {
    let folder = tempfile::tempdir().expect("a folder");
    let hub = hub(folder.path(), Some("files")).await;
    let device = Backend::device(&hub, "press-1");
    let address = address(&begin(&device, "a.txt").await.body);
    let closed = (403, "AuthenticationFailed".to_owned());
    for other in [
        address.replacen("press-1", "press-2", 1),
        address.replacen("/files/", "/others/", 1),
        address.replacen("a.txt", "%2e%2e%2fa.txt", 1),
        address.replacen("a.txt", "..%2f..%2fa.txt", 1),
        address.replacen("sig=", "sig=A", 1),
        address.replacen("se=2", "se=3", 1),
        address.replacen("sp=rw", "sp=rwd", 1),
        "/devices/press-1?sr=b&sig=x".to_owned(),
        "/files/press-1/a.txt?sr=b&sig=&se=&sp=rw".to_owned(),
    ] {
        assert_eq!(device.put_blob(&other, BLOCK_BLOB, "text").await, closed, "{other}");
    }
    for (more, headers, body, status, code) in [
        ("", &[][..], "text", 400, "InvalidHeaderValue"),
        ("", &[("x-ms-blob-type", "PageBlob")][..], "text", 400, "InvalidHeaderValue"),
        ("&comp=block", &[][..], "text", 400, "InvalidQueryParameterValue"),
        ("&comp=lease", &[][..], "text", 400, "InvalidQueryParameterValue"),
        ("&comp=blocklist", &[][..], "text", 400, "InvalidXmlDocument"),
    ] {
        let put = device.put_blob(&format!("{address}{more}"), headers, body).await;
        assert_eq!(put, (status, code.to_owned()), "{more}");
    }
    assert!(!folder.path().join("files").exists(), "nothing was written");
}

#[tokio::test]
async fn who_may_upload_what() {
    let folder = tempfile::tempdir().expect("a folder");
    let hub = hub(folder.path(), Some("files")).await;
    let device = Backend::device(&hub, "press-1");
    assert_eq!(begin(&Backend::device(&hub, "press-2"), "a.txt").await.status, 401, "a device's own paths only");
    for name in ["", "..", "../a", "/etc/passwd", "a//b", "a/../../b", "a\0b"] {
        let refused = begin(&device, name).await;
        assert_eq!((refused.status.as_u16(), refused.error_code()), (400, "ArgumentInvalid"), "{name:?}");
    }
    for (path, body) in [("/files", "{}"), ("/files", "text"), ("/files/notifications", "{\"isSuccess\":true}")] {
        let refused = device.post_raw(&format!("/devices/press-1{path}"), &[], body).await;
        assert_eq!((refused.status.as_u16(), refused.error_code()), (400, "ArgumentInvalid"), "{path} {body}");
    }
    let mut begun = Vec::new();
    for n in 0..10 {
        begun.push(begin(&device, &format!("{n}.txt")).await.body);
    }
    let refused = begin(&device, "more.txt").await;
    assert_eq!((refused.status.as_u16(), refused.error_code()), (403, "DeviceMaximumActiveFileUploadLimitExceeded"));
    assert!(refused.body["Message"].as_str().expect("text").contains("403006"), "{}", refused.body);
    // Node's SDK names it in the path.
    let path = format!("/devices/press-1/files/notifications/{}", begun[0]["correlationId"].as_str().expect("an id"));
    assert_eq!(device.post_raw(&path, &[], "{\"isSuccess\":false}").await.status, 204);
    assert_eq!(begin(&device, "more.txt").await.status, 200);
}

#[tokio::test]
async fn the_resource_says_where_files_go() {
    let folder = tempfile::tempdir().expect("a folder");
    let hub = hub(folder.path(), None).await;
    let device = Backend::device(&hub, "press-1");
    let refused = begin(&device, "a.txt").await;
    assert_eq!((refused.status.as_u16(), refused.error_code()), (400, "DefaultStorageEndpointNotConfigured"));
    assert!(refused.body["Message"].as_str().expect("text").contains("--upload-container"), "{}", refused.body);

    let token = hub.bearer_token("somebody", "https://management.azure.com").expect("a token");
    let (manager, id) = (Backend::with_token(&hub, format!("Bearer {token}")), hub.resource_id());
    let write = async |endpoint: Value| {
        let mut document = manager.get(&id).await.body;
        document["properties"]["storageEndpoints"] = json!({"$default": endpoint});
        manager.call(Method::PUT, &id, Some("*"), Some(document)).await.status.as_u16()
    };
    assert_eq!(write(json!({"connectionString": "", "containerName": "../etc"})).await, 400);
    assert_eq!(write(json!({"connectionString": "", "containerName": "files", "sasTtlAsIso8601": "P3D"})).await, 400);
    assert_eq!(write(json!({"connectionString": "", "containerName": "files"})).await, 201);
    let begun = begin(&device, "a.txt").await.body;
    assert_eq!(begun["containerName"], "files");
    assert_eq!(device.put_blob(&address(&begun), BLOCK_BLOB, "text").await.0, 201);
    assert!(folder.path().join("files/press-1/a.txt").exists());
}
