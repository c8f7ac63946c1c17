//! The controller as a Function app's handler, under a host that keeps to the published contract: starts the program with a port, takes
//! any answer to `GET /` for readiness, and posts invocations.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};

use iotedge_ha_e2e::{PATIENCE, Ran, Running, Stage, free_port, guide, port, wait_until};
use serde_json::{Value, json};

/// A hub with one member and its agent.
struct Site {
    stage: Stage,
    config: String,
    env: BTreeMap<String, String>,
    _hub: Running,
    _agent: Running,
}

impl Site {
    fn open() -> Self {
        let stage = Stage::default();
        let (hub, env) = stage.start_hub(&["--device=edge-1:edge:ha-agent"], "EDGE_1_HA_AGENT_CONNECTION_STRING");
        let config = format!(
            "[hub]\nca_file = \"{}\"\n[controller]\ncontrol_ttl_ms = 2000\ncontrol_renew_ms = 500\n\
             [[pool]]\nname = \"press_1\"\nmembers = [\"edge-1\"]\n[pool.timings]\nttl_ms = 120000\nrenew_ms = 1000\ncall_timeout_ms = 20000\n",
            env["IOTHUB_CA_FILE"]
        );
        let config = stage.file("pool.toml", &config);
        let agent = start_agent(&stage, &env);
        Self { stage, config, env, _hub: hub, _agent: agent }
    }

    fn start_app(&self, hold_s: u32) -> App {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let port = free_port();
        let name = format!("app-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let (port_text, hold) = (port.to_string(), hold_s.to_string());
        let variables = [
            ("FUNCTIONS_CUSTOMHANDLER_PORT", port_text.as_str()),
            ("IOTEDGE_HA_CONFIG", self.config.as_str()),
            ("IOTEDGE_HA_FUNCTION_HOLD_S", hold.as_str()),
            ("IOTEDGE_HA_CONNECTION_STRING", self.env["IOTHUB_CONNECTION_STRING"].as_str()),
        ];
        let app = App { program: self.stage.start_with(&["function", "--name", &name], &variables), port };
        wait_until("the handler is ready", || app.get("/").is_ok());
        app
    }

    fn member(&self) -> Value {
        let mut command = self.stage.command(&["list", "--json", "--config", &self.config]);
        command.env("IOTEDGE_HA_CONNECTION_STRING", &self.env["IOTHUB_CONNECTION_STRING"]);
        let ran = Ran::from(command.output().expect("the program starts")).expect(0);
        let pools: Value = serde_json::from_str(&ran.stdout).expect("JSON");
        pools[0]["members"][0].clone()
    }

    fn until_active(&self) -> Value {
        let mut member = Value::Null;
        wait_until("the member is active", || {
            member = self.member();
            member["state"] == "active"
        });
        member
    }

    /// The timer fires until a pass has come as far as to have the member active.
    fn pass_until_active(&self, app: &App) -> Value {
        let mut member = Value::Null;
        wait_until("a pass makes the member active", || {
            let (status, reply) = app.invoke("reconcile", timer());
            assert_eq!(status, 200, "{reply}");
            member = self.member();
            member["state"] == "active"
        });
        member
    }
}

fn start_agent(stage: &Stage, env: &BTreeMap<String, String>) -> Running {
    let mqtt_port = port(&env["EMULATOR_MQTT"]);
    let folder = stage.folder().join("agent").display().to_string();
    let args = ["agent", "--pool=press_1", "--connection-string-env=KEY", "--state-dir", &folder];
    let variables = [
        ("KEY", env["EDGE_1_HA_AGENT_CONNECTION_STRING"].as_str()),
        ("HA_AGENT_CA_FILE", env["IOTHUB_CA_FILE"].as_str()),
        ("HA_AGENT_MQTT_PORT", mqtt_port),
    ];
    stage.start_with(&[&args[..], &["--", "sleep", "600"]].concat(), &variables)
}

/// The program as the host sees it.
struct App {
    program: Running,
    port: u16,
}

impl App {
    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    fn get(&self, path: &str) -> Result<String, reqwest::Error> {
        let url = self.url(path);
        block_on(async { client().get(url).send().await?.text().await })
    }

    /// One invocation: the status, and what the handler said.
    fn invoke(&self, function: &str, data: Value) -> (u16, Value) {
        let (url, body) = (self.url(&format!("/{function}")), json!({"Data": data, "Metadata": {}}));
        block_on(post(url, body)).unwrap_or_else(|error| panic!("{function}: {error}"))
    }

    /// An invocation whose answer is awaited elsewhere.
    fn invoke_beside(&self, function: &str, data: Value) -> std::thread::JoinHandle<Result<(u16, Value), String>> {
        let (url, body) = (self.url(&format!("/{function}")), json!({"Data": data, "Metadata": {}}));
        std::thread::spawn(move || block_on(post(url, body)).map_err(|error| error.to_string()))
    }

    fn http(&self, method: &str, params: &[(&str, &str)], body: &str) -> (u64, Value) {
        let params: BTreeMap<_, _> = params.iter().copied().collect();
        let (status, reply) = self.invoke("api", json!({"req": {"Method": method, "Params": params, "Body": body}}));
        assert_eq!(status, 200, "{reply}");
        let res = &reply["Outputs"]["res"];
        let text = res["body"].as_str().expect("a body");
        (res["statusCode"].as_u64().expect("a status"), serde_json::from_str(text).expect("JSON"))
    }
}

async fn post(url: String, body: Value) -> Result<(u16, Value), reqwest::Error> {
    let sent = client().post(url).header("X-Azure-Functions-InvocationId", "0").json(&body).send().await?;
    Ok((sent.status().as_u16(), sent.json().await?))
}

fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().timeout(PATIENCE * 5).build().expect("a client")
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

fn timer() -> Value {
    json!({"timer": {"Schedule": {"AdjustForDST": true}, "ScheduleStatus": null, "IsPastDue": false}})
}

fn logs(reply: &Value) -> &str {
    reply["Logs"][0].as_str().unwrap_or_default()
}

#[test]
fn passes_one_after_the_other_keep_one_term() {
    let site = Site::open();
    let app = site.start_app(5);
    let first = site.pass_until_active(&app);
    for _ in 0..2 {
        let (status, reply) = app.invoke("reconcile", timer());
        assert_eq!(status, 200, "{reply}");
    }
    let later = site.until_active();
    assert_eq!(later["term"], first["term"], "the lease outlived the gaps");
    app.program.signal("TERM");
    app.program.wait().expect(0);
}

#[test]
fn what_overlaps_does_no_harm_and_a_killed_pass_is_followed_by_another() {
    let site = Site::open();
    let (one, two) = (site.start_app(300), site.start_app(5));
    let killed = one.invoke_beside("reconcile", timer());
    let first = site.until_active();
    // The host calls again, in the same process and in another one.
    let (status, reply) = one.invoke("reconcile", timer());
    assert!(status == 200 && logs(&reply).contains("under way"), "{reply}");
    let event = json!({"event": {"subject": "devices/edge-1", "eventType": "Microsoft.Devices.DeviceConnected"}});
    let (status, reply) = one.invoke("onDeviceEvent", event.clone());
    assert!(status == 200 && logs(&reply).contains("under way"), "{reply}");
    // One that did not renew its charge in time loses it for a while, and takes it up again.
    wait_until("the other one leaves the pool to it", || {
        let (status, reply) = two.invoke("onDeviceEvent", event.clone());
        status == 200 && logs(&reply).contains("is in charge; nothing was done here")
    });
    // Killed in the middle: its name stays in the control record, and the passes that follow are not fooled by it.
    one.program.signal("KILL");
    assert!(killed.join().expect("it ends").is_err(), "the host sees the invocation fail");
    wait_until("a pass takes over", || {
        let (status, reply) = two.invoke("reconcile", timer());
        status == 200 && !logs(&reply).contains("nothing was done here")
    });
    assert_eq!(site.until_active()["term"], first["term"]);
}

#[test]
fn people_look_and_ask_over_http() {
    let site = Site::open();
    let app = site.start_app(300);
    let pass = app.invoke_beside("reconcile", timer());
    site.until_active();
    let (status, pools) = app.http("GET", &[], "");
    assert_eq!((status, &pools[0]["holder"]), (200, &json!("edge-1")));
    let (status, pool) = app.http("GET", &[("pool", "press_1")], "");
    assert_eq!((status, &pool["members"][0]["state"]), (200, &json!("active")), "{pool}");
    let (status, asked) = app.http("POST", &[("pool", "press_1"), ("verb", "pause")], "{\"by\":\"eve\"}");
    assert!(status == 202 && asked["request"].is_string(), "{asked}");
    wait_until("it is paused", || app.http("GET", &[("pool", "press_1")], "").1["paused_by"] == "eve");
    for (method, params, body, expected) in [
        ("GET", &[("pool", "nowhere")][..], "", 404),
        ("POST", &[("pool", "nowhere"), ("verb", "pause")], "", 404),
        ("POST", &[("pool", "press_1"), ("verb", "explode")], "", 400),
        ("POST", &[("pool", "press_1"), ("verb", "pause")], "[1]", 400),
        ("POST", &[("pool", "press_1"), ("verb", "failover")], "{\"fenced\":true}", 403),
        ("DELETE", &[("pool", "press_1")], "", 405),
    ] {
        let (status, said) = app.http(method, params, body);
        assert_eq!(status, expected, "{method} {params:?} {body}: {said}");
        assert!(said["error"].is_string(), "{said}");
    }
    let (status, said) = app.invoke("reconcile", json!({"tick": {}}));
    assert!(status == 400 && logs(&said).contains("none of timer, event, req"), "{said}");
    app.program.signal("TERM");
    app.program.wait().expect(0);
    assert_eq!(pass.join().expect("it ends").expect("an answer").0, 200, "the pass under way ends in good order");
}

#[test]
fn the_guides_commands_work() {
    let site = Site::open();
    let config = format!(
        "[hub]\nca_file = \"{}\"\n[[pool]]\nname = \"press_1\"\nmembers = [\"edge-1\"]\n[pool.timings]\nttl_ms = 45000\n",
        site.env["IOTHUB_CA_FILE"]
    );
    site.stage.file("pools.toml", &config);
    // The guide's one pass is short: it should not have to wait for the agent.
    let log = site.stage.folder().join("agent.log");
    wait_until("the agent is there", || {
        std::fs::read_to_string(&log).is_ok_and(|log| log.contains("connected to the hub"))
    });
    let port = free_port().to_string();
    let key = site.env["IOTHUB_CONNECTION_STRING"].as_str();
    let variables = [("PORT", port.as_str()), ("IOTEDGE_HA_CONNECTION_STRING", key)];
    guide::run(&site.stage, "guides/azure-function.md", "", &variables).expect(0);
    assert_eq!(site.until_active()["term"], 1);
}

#[test]
fn what_the_host_did_not_say_is_missed() {
    let stage = Stage::default();
    let config = stage.file("pool.toml", "[[pool]]\nname = \"press_1\"\nmembers = [\"edge-1\"]\n");
    stage
        .run(&["function", "--config", &config])
        .expect(2)
        .says("FUNCTIONS_CUSTOMHANDLER_PORT is not set")
        .says("hint: ");
}
