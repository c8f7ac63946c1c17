//! The emulator as a program: what its tail shows, and what outlives it.

use std::collections::BTreeMap;
use std::path::Path;

use ha_wire::SharedAccessKey;
use ha_wire::sas::Unsigned;
use iotedge_ha_e2e::{Running, Stage, port, wait_until};
use reqwest::{Certificate, Client, Method, RequestBuilder};
use serde_json::{Value, json};

/// A hub with two devices and a state folder.
struct Hub {
    env: BTreeMap<String, String>,
    client: Client,
    process: Running,
}

impl Hub {
    fn open(stage: &Stage) -> Self {
        let args = ["emulator", "--https-port=0", "--mqtt-port=0", "--amqp-port=0", "--print-env", "--state=hub"];
        let mut process = stage.start(&[&args[..], &["--device=press", "--device=leaf"]].concat());
        let mut env = BTreeMap::new();
        process.wait_for_line(|line| {
            if let Some((name, value)) = line.trim_end().split_once('=') {
                env.insert(name.to_owned(), value.trim_matches('\'').to_owned());
            }
            env.contains_key("LEAF_CONNECTION_STRING")
        });
        let _ = rustls::crypto::ring::default_provider().install_default();
        let pem = std::fs::read(&env["IOTHUB_CA_FILE"]).expect("the authority");
        let authority = Certificate::from_pem(&pem).expect("PEM");
        let client = Client::builder().tls_certs_only([authority]).build().expect("a client");
        Self { env, client, process }
    }

    fn call(&self, method: Method, path: &str, authorization: &str) -> RequestBuilder {
        let port = port(&self.env["EMULATOR_HTTPS"]);
        let url = format!("https://localhost:{port}/{path}?api-version=2021-04-12");
        self.client.request(method, url).header("authorization", authorization)
    }

    /// A call of the back end; answers with its JSON.
    async fn service(&self, method: Method, path: &str, body: &Value) -> Value {
        let token = self.token("IOTHUB_CONNECTION_STRING", |key| {
            Unsigned::service("localhost", "iothubowner", unix_s() + 600).sign(key)
        });
        let answer = self.call(method, path, &token).json(body).send().await.expect("an answer");
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        answer.json().await.expect("JSON")
    }

    async fn telemetry(&self, device: &str, body: &Value) {
        let variable = format!("{}_CONNECTION_STRING", device.to_ascii_uppercase());
        let token = self.token(&variable, |key| Unsigned::device("localhost", device, unix_s() + 600).sign(key));
        let call = self.call(Method::POST, &format!("devices/{device}/messages/events"), &token);
        let call = call.header("iothub-contenttype", "application/json").header("iothub-contentencoding", "utf-8");
        let answer = call.header("iothub-app-level", "hot").body(body.to_string()).send().await.expect("an answer");
        assert_eq!(answer.status(), 204);
    }

    fn token(&self, variable: &str, sign: impl FnOnce(&SharedAccessKey) -> String) -> String {
        let key = self.env[variable].split_once("SharedAccessKey=").expect("a key").1;
        sign(&SharedAccessKey::from_base64(key).expect("base64"))
    }
}

fn unix_s() -> u64 {
    std::time::UNIX_EPOCH.elapsed().expect("a clock after 1970").as_secs()
}

fn wait_until_said(log: &Path, text: &str) {
    let said = || std::fs::read_to_string(log).unwrap_or_default();
    wait_until(&format!("{} says {text:?}", log.display()), || said().contains(text));
}

#[tokio::test]
async fn the_tail_shows_what_a_device_sends() {
    let stage = Stage::default();
    let hub = Hub::open(&stage);
    let log = stage.folder().join("--verbose.log");
    let variables: Vec<_> = hub.env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let filter = ["--verbose", "emulator", "tail", "--device=leaf", "--kind=telemetry", "--count=2"];
    let tail = stage.start_with(&filter, &variables);
    wait_until_said(&log, "following");
    hub.telemetry("press", &json!({"n": 0})).await;
    hub.telemetry("leaf", &json!({"n": 1})).await;
    hub.service(Method::PATCH, "twins/leaf", &json!({"tags": {"site": "m1"}})).await;
    hub.telemetry("leaf", &json!({"n": 2})).await;
    let lines = tail.wait().expect(0).json_lines();
    let bodies: Vec<_> = lines.iter().map(|line| line["body"].clone()).collect();
    assert_eq!(bodies, [json!({"n": 1}), json!({"n": 2})]);
    let first = &lines[0];
    assert_eq!(
        (&first["kind"], &first["device"], &first["endpoint"]),
        (&"telemetry".into(), &"leaf".into(), &"events".into())
    );
    assert_eq!(first["properties"], json!({"level": "hot"}));
}

#[tokio::test]
async fn the_tail_finds_the_hub_by_its_folder_and_says_when_it_ends() {
    let stage = Stage::default();
    let hub = Hub::open(&stage);
    let log = stage.folder().join("--verbose.log");
    let place = ["--verbose", "emulator", "tail", "--state=hub", "--url", &hub.env["EMULATOR_CONTROL_URL"]];
    let tail = stage.start(&place);
    wait_until_said(&log, "following");
    hub.process.signal("TERM");
    tail.wait().expect(4);
    wait_until_said(&log, "error: the emulator has ended");
    hub.process.wait().expect(0);
    stage.run(&place).expect(4).says("cannot reach the emulator").says("hint: is it running?");
}

#[tokio::test]
async fn a_state_folder_outlives_a_kill() {
    let stage = Stage::default();
    let hub = Hub::open(&stage);
    stage
        .run(&["emulator", "--https-port=0", "--mqtt-port=0", "--state=hub"])
        .expect(1)
        .says("another emulator is using hub")
        .says("hint: ");
    let made = hub.service(Method::PUT, "devices/made", &json!({"deviceId": "made"})).await;
    let twin = hub.service(Method::PATCH, "twins/leaf", &json!({"tags": {"site": "m1"}})).await;
    hub.process.signal("KILL");
    assert_eq!(hub.process.wait().code, None);

    let again = Hub::open(&stage);
    for same in ["EMULATOR_CONTROL_TOKEN", "LEAF_CONNECTION_STRING"] {
        assert_eq!(again.env[same], hub.env[same]);
    }
    assert_eq!(again.service(Method::GET, "devices/made", &Value::Null).await["etag"], made["etag"]);
    let kept = again.service(Method::GET, "twins/leaf", &Value::Null).await;
    assert_eq!((&kept["tags"], &kept["version"]), (&json!({"site": "m1"}), &twin["version"]));
}

#[test]
fn mistakes_in_files_and_sizes_are_usage() {
    let stage = Stage::default();
    let ports = ["emulator", "--https-port=0", "--mqtt-port=0", "--state=hub"];
    let fleet = stage.file("fleet.toml", "[[device]]\nid = \"a b\"\n");
    let yaml = stage.file("fleet.yaml", "device:\n  - id: a\n    edge: yes\n");
    let script = stage.file("faults.toml", "[[step]]\nhub = \"frozen\"\n");
    for (flags, said) in [
        (["--seed-file", fleet.as_str()], "fleet.toml: line 1: "),
        (["--seed-file", &yaml], "fleet.yaml: line 3 column 11: "),
        (["--faults-script", &script], "faults.toml: line 1: 'at' is missing"),
        (["--sku=F1", "--units=2"], "a hub of size F1 has one unit"),
        (["--host-name", "x y"], "'x y' is neither a host name nor an address"),
        (["--location", ""], "'' is no region"),
        (["--endpoint=hot=nowhere/hot.jsonl", "--amqp-port=0"], "endpoint hot: cannot write nowhere/hot.jsonl"),
        (["--endpoint=hot=hot.jsonl", "--endpoint=Hot=other.jsonl"], "endpoint Hot is given twice"),
    ] {
        stage.run(&[&ports[..], &flags].concat()).expect(2).says(said);
    }
    stage.run(&[&ports[..], &["--export", "nowhere/hub.txt"]].concat()).expect(1).says("cannot write nowhere/hub.txt");
}
