//! Events from Event Grid (here: the emulator's) reach a running controller, and what is forged, repeated or too large does not.

mod cost;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use iotedge_ha_e2e::{PATIENCE, Running, Stage, free_port, guide, port};
use serde_json::{Value, json};

const SECRET: &str = "a-secret-of-the-test-24-long";

/// Whom tokens are for.
const AUDIENCE: &str = "api://iotedge-ha";
/// Event Grid in Azure's directories.
const EVENT_GRID: &str = "4962773b-9cdb-44cf-a8bf-237846a00ab7";

struct Site {
    stage: Stage,
    port: u16,
    env: BTreeMap<String, String>,
    _hub: Running,
    _controller: Running,
}

impl Site {
    /// Deliveries bring a secret.
    fn open() -> Self {
        let port = free_port();
        let hook = format!("http://127.0.0.1:{port}/hooks/eventgrid?code={SECRET}");
        Self::start(port, &["--webhook", &hook], |_| String::new())
    }

    /// Deliveries bring a token of the hub's own authority.
    fn open_for_tokens() -> Self {
        let port = free_port();
        let hook = format!("http://127.0.0.1:{port}/hooks/eventgrid");
        Self::start(port, &["--webhook", &hook, "--webhook-audience", AUDIENCE], |env| {
            let authority = authority(env);
            format!("event_audience = \"{AUDIENCE}\"\nevent_tenant = \"emulator\"\nevent_authority = \"{authority}\"\n")
        })
    }

    fn start(port: u16, more: &[&str], listen: impl Fn(&BTreeMap<String, String>) -> String) -> Self {
        let stage = Stage::default();
        let more = [&["--device=edge-1:edge:ha-agent"], more].concat();
        let (hub, env) = stage.start_hub(&more, "EDGE_1_HA_AGENT_CONNECTION_STRING");
        let (key, ca) = (&env["IOTHUB_CONNECTION_STRING"], &env["IOTHUB_CA_FILE"]);
        let config = format!(
            "[hub]\nca_file = \"{ca}\"\n[controller.listen]\naddress = \"127.0.0.1:{port}\"\n{}\
             [[pool]]\nname = \"press_1\"\nmembers = [\"edge-1\"]\n",
            listen(&env)
        );
        let config = stage.file("pool.toml", &config);
        let variables = [("IOTEDGE_HA_CONNECTION_STRING", key.as_str()), ("IOTEDGE_HA_EVENT_SECRET", SECRET)];
        let controller = stage.start_with(&["run", "--config", &config, "--log", "debug"], &variables);
        let site = Self { stage, port, env, _hub: hub, _controller: controller };
        site.until("the controller listens", || site.get("/live").is_ok());
        site
    }

    fn until(&self, what: &str, holds: impl Fn() -> bool) {
        let deadline = Instant::now() + PATIENCE;
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
        self.post_with(secret, "", body)
    }

    fn post_with(&self, secret: &str, authorization: &str, body: String) -> (u16, Value) {
        let url = self.hook(secret);
        block_on(async {
            let request = client().post(url).header("aeg-event-type", "Notification");
            let sent = request.header("authorization", authorization).body(body).send().await.expect("an answer");
            (sent.status().as_u16(), sent.json().await.unwrap_or(Value::Null))
        })
    }

    /// A token of the hub's authority.
    fn token(&self, client: &str, audience: &str) -> String {
        let url = format!("{}/emulator/oauth2/v2.0/token", authority(&self.env));
        let secret = &self.env["EMULATOR_CONTROL_TOKEN"];
        let form = format!(
            "grant_type=client_credentials&client_id={client}&client_secret={secret}&scope={audience}/.default"
        );
        let granted: Value = block_on(async {
            let asking = client_of_hub(&self.env).post(url);
            let asking = asking.header("content-type", "application/x-www-form-urlencoded").body(form);
            asking.send().await.expect("an answer").json().await.expect("JSON")
        });
        granted["access_token"].as_str().expect("a token").to_owned()
    }
}

/// The hub as a token authority.
fn authority(env: &BTreeMap<String, String>) -> String {
    let port = port(&env["EMULATOR_HTTPS"]);
    format!("https://localhost:{port}/_emulator/entra")
}

/// Trusts the hub's own authority.
fn client_of_hub(env: &BTreeMap<String, String>) -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let ca = std::fs::read(&env["IOTHUB_CA_FILE"]).expect("a certificate");
    let ca = reqwest::Certificate::from_pem(&ca).expect("a certificate");
    reqwest::Client::builder().no_proxy().tls_certs_only([ca]).build().expect("a client")
}

fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().expect("a client")
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
        // Not much too large: who is not done with sending may not get to read the answer.
        (SECRET, format!("[{}]", " ".repeat(1024 * 1024)), 413),
    ] {
        assert_eq!(site.post(secret, body).0, status);
    }
    assert!(!site.log().contains(SECRET), "the secret is not logged");
    assert_eq!(site.post(SECRET, event), (200, json!({"hinted": 1})), "nothing of that counted");
}

#[test]
fn a_token_of_event_grid_does_instead_of_the_secret_and_no_other() {
    let site = Site::open_for_tokens();
    site.until("the hub's event comes with its token", || site.log().contains("an event tells of a device"));
    let good = site.token(EVENT_GRID, AUDIENCE);
    let stranger = site.token("somebody", AUDIENCE);
    let elsewhere = site.token(EVENT_GRID, "api://other");
    let (signed, _) = good.rsplit_once('.').expect("a signature");
    let event = json!([connected("7F")]).to_string();
    for (authorization, why) in [
        (String::new(), "there is no bearer token"),
        ("Bearer x".to_owned(), "cannot be read"),
        (format!("Bearer {signed}."), "was not signed with a key of its authority"),
        (format!("Bearer {stranger}"), "was issued to another application"),
        (format!("Bearer {elsewhere}"), "is for another audience"),
    ] {
        let (status, said) = site.post_with(SECRET, &authorization, event.clone());
        assert!(status == 401 && said["error"].as_str().is_some_and(|said| said.contains(why)), "{status} {said}");
        assert!(site.log().contains(why), "{}", site.log());
    }
    assert_eq!(site.post_with("", &format!("Bearer {good}"), event), (200, json!({"hinted": 1})));
    for token in [&good, &stranger, &elsewhere] {
        assert!(!site.log().contains(token.as_str()), "no token is logged");
    }
}

/// The guide's port is free at its reader's; a test takes what is free.
const FREE_PORT: &str = r#"
cat() { command cat "$@" | sed "s/127.0.0.1:8484/$PLACE/"; }
curl() { command curl "${@//127.0.0.1:8484/$PLACE}"; }
"#;

#[test]
fn the_guides_commands_work() {
    let stage = Stage::default();
    let (_hub, env) = stage.start_hub(&["--device=edge-1:edge:ha-agent"], "EDGE_1_HA_AGENT_CONNECTION_STRING");
    let mut variables: Vec<(&str, &str)> = env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    variables.push(("IOTEDGE_HA_CONNECTION_STRING", &env["IOTHUB_CONNECTION_STRING"]));
    variables.push(("IOTEDGE_HA_HUB_CA_FILE", &env["IOTHUB_CA_FILE"]));
    let place = format!("127.0.0.1:{}", free_port());
    variables.push(("PLACE", &place));
    let ran = guide::run(&stage, "guides/push.md", FREE_PORT, &variables).expect(0);
    assert!(ran.stdout.contains("{\"hinted\":1}{\"hinted\":0}"), "{}", ran.stdout);
    assert!(ran.stdout.contains("\"state\":\"active\""), "{}", ran.stdout);
}
