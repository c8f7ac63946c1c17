//! Exchanges, taken down.

use iotedge_ha_emulator::{Emulator, Options};
use reqwest::Method;
use serde_json::{Value, json};

use crate::backend::Backend;

#[tokio::test]
async fn an_exchange_stands_in_the_record_before_it_is_answered() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("exchanges.jsonl");
    let hub = Emulator::start(Options { record: Some(file.clone()), ..Options::default() }).await.expect("a hub");
    let backend = Backend::new(&hub);
    let taken_down = || -> Vec<Value> {
        let text = std::fs::read_to_string(&file).expect("a record");
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    };
    let made = backend.call(Method::PUT, "/devices/%24a", None, Some(json!({"deviceId": "$a"}))).await;
    let [first] = &taken_down()[..] else { panic!("one exchange: {:?}", taken_down()) };
    assert_eq!((&first["method"], &first["path"]), (&json!("PUT"), &json!("/devices/%24a")));
    assert_eq!(first["asked"]["json"], json!({"deviceId": "$a"}));
    assert!(!first.to_string().contains("SharedAccessSignature"), "{first}");
    let answered = &first["answered"];
    assert_eq!((&answered["status"], &answered["json"]), (&json!(200), &made.body));
    let request_id = made.header("x-ms-request-id").expect("a request id");
    assert_eq!(answered["headers"]["x-ms-request-id"], request_id);

    backend.control(Method::PUT, "/faults/hub/lost_answers", Some(json!({"count": 1}))).await;
    backend.try_call(Method::GET, "/devices", None, None).await.err().expect("no answer");
    let kept = taken_down();
    let last = kept.last().expect("an exchange");
    assert_eq!((&last["answered"]["lost"], &last["answered"]["status"]), (&json!(true), &json!(200)));
    assert!(kept.iter().all(|exchange| !exchange["path"].to_string().contains("_emulator")), "{kept:?}");
}
