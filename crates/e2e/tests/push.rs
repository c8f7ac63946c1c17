//! Events from Event Grid (here: the emulator's) reach a running controller, and what is forged, repeated or too large does not.

use std::time::{Duration, Instant};

use iotedge_ha_e2e::{Running, Stage, free_port};
use serde_json::{Value, json};

const SECRET: &str = "a-secret-of-the-test-24-long";

struct Site {
    stage: Stage,
    port: u16,
    _hub: Running,
    _controller: Running,
}

impl Site {
    fn open() -> Self {
        let stage = Stage::default();
        let port = free_port();
        let hook = format!("http://127.0.0.1:{port}/hooks/eventgrid?code={SECRET}");
        let more = ["--device=edge-1:edge:ha-agent", "--webhook", &hook];
        let (hub, env) = stage.start_hub(&more, "EDGE_1_HA_AGENT_CONNECTION_STRING");
        let (key, ca) = (&env["IOTHUB_CONNECTION_STRING"], &env["IOTHUB_CA_FILE"]);
        let config = format!(
            "[hub]\nca_file = \"{ca}\"\n[controller.listen]\naddress = \"127.0.0.1:{port}\"\n\
             [[pool]]\nname = \"press_1\"\nmembers = [\"edge-1\"]\n"
        );
        let config = stage.file("pool.toml", &config);
        let variables = [("IOTEDGE_HA_CONNECTION_STRING", key.as_str()), ("IOTEDGE_HA_EVENT_SECRET", SECRET)];
        let controller = stage.start_with(&["run", "--config", &config, "--log", "debug"], &variables);
        let site = Self { stage, port, _hub: hub, _controller: controller };
        site.until("the controller listens", || site.get("/live").is_ok());
        site
    }

    fn until(&self, what: &str, holds: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !holds() {
            assert!(Instant::now() < deadline, "never: {what}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.stage.folder().join("run.log")).unwrap_or_default()
    }

    fn get(&self, path: &str) -> Result<(), reqwest::Error> {
        let url = format!("http://127.0.0.1:{}{path}", self.port);
        block_on(async { client().get(url).send().await.map(drop) })
    }

    fn hook(&self, secret: &str) -> String {
        format!("http://127.0.0.1:{}/hooks/eventgrid?code={secret}", self.port)
    }

    fn post(&self, secret: &str, body: String) -> (u16, Value) {
        let url = self.hook(secret);
        block_on(async {
            let sent = client().post(url).header("aeg-event-type", "Notification").body(body).send().await;
            let sent = sent.expect("an answer");
            (sent.status().as_u16(), sent.json().await.unwrap_or(Value::Null))
        })
    }
}

fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(60)).build().expect("a client")
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

fn connected(sequence: &str) -> Value {
    let data = json!({"deviceConnectionStateEventInfo": {"sequenceNumber": sequence}, "deviceId": "edge-1",
        "moduleId": "ha-agent", "hubName": "h"});
    json!({"id": "1", "topic": "t", "subject": "devices/edge-1", "eventType": "Microsoft.Devices.DeviceConnected",
        "eventTime": "2026-01-01T00:00:00Z", "data": data, "dataVersion": "1", "metadataVersion": "1"})
}

#[test]
fn the_handshake_is_answered_and_news_is_passed_on() {
    let site = Site::open();
    // The emulator's own: it validates the webhook, then tells that its device was created.
    site.until("the hub's event comes", || site.log().contains("an event tells of a device"));
    for (sequence, hinted) in [("02", 1), ("02", 0), ("01", 0), ("03", 1)] {
        let said = site.post(SECRET, json!([connected(sequence)]).to_string());
        assert_eq!(said, (200, json!({"hinted": hinted})), "{sequence}");
    }
    let asked = block_on(async {
        let options = client().request(reqwest::Method::OPTIONS, site.hook(SECRET));
        options.header("WebHook-Request-Origin", "eventgrid.azure.net").send().await.expect("an answer")
    });
    assert_eq!(asked.headers()["webhook-allowed-origin"], "eventgrid.azure.net");
}

#[test]
fn what_is_forged_broken_or_too_large_is_refused() {
    let site = Site::open();
    let event = json!([connected("7F")]).to_string();
    for (secret, body, status) in [
        ("", event.clone(), 401),
        ("a-secret-of-the-test-24-lonG", event.clone(), 401),
        (SECRET, "{".to_owned(), 400),
        (SECRET, json!([{"eventType": "Microsoft.Devices.DeviceConnected", "data": {}}]).to_string(), 400),
        (SECRET, format!("[{}]", " ".repeat(2 * 1024 * 1024)), 413),
    ] {
        assert_eq!(site.post(secret, body).0, status);
    }
    assert!(!site.log().contains(SECRET), "the secret is not logged");
    assert_eq!(site.post(SECRET, event), (200, json!({"hinted": 1})), "nothing of that counted");
}
