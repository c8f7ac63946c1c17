//! What outlives the process.

use iotedge_ha_emulator::{Emulator, Options, Seed};
use serde_json::json;

use crate::backend::Backend;

#[tokio::test]
async fn keys_identities_and_twins_survive_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = Options {
        state_dir: Some(folder.path().join("state")),
        snapshot: Some(folder.path().join("hub.json")),
        seed: vec![Seed::parse("edge-a:edge:work").expect("a seed")],
        ..Options::default()
    };
    let first = Emulator::start(options.clone()).await.expect("a hub");
    let body = json!({"tags": {"site": "m1"}, "properties": {"desired": {"x": 1.0}}});
    let twin = "/twins/edge-a/modules/work";
    let written = Backend::new(&first).patch(twin, body).await.body;
    let key = |text: String| text.split("SharedAccessKey=").nth(1).map(str::to_owned);
    let (owner, module) = (key(first.connection_string()), first.module_connection_string("edge-a", "work"));
    let env = first.print_env();
    assert!(env.contains("IOTHUB_CA_FILE") && env.contains("EMULATOR_CONTROL_TOKEN"));
    let (ca, token) = (first.ca_pem.clone(), first.control_token().to_owned());
    first.shutdown().await;

    let second = Emulator::start(options.clone()).await.expect("a hub");
    assert_eq!((second.ca_pem.clone(), second.control_token()), (ca, token.as_str()));
    assert_eq!(key(second.connection_string()), owner);
    assert_eq!(second.module_connection_string("edge-a", "work"), module);
    assert_eq!(Backend::new(&second).get(twin).await.body, written);
    second.shutdown().await;

    std::fs::write(folder.path().join("hub.json"), "{\"v\":1,").expect("written");
    let error = Emulator::start(options).await.expect_err("refused");
    assert!(error.to_string().contains("hub.json is damaged"), "{error}");
}
