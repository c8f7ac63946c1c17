//! Messages follow the holder: the guide, and late messages of a device that was replaced and has come back.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use iotedge_ha_e2e::{Ran, Running, Stage, free_port, guide, port, wait_until};
use serde_json::{Value, json};

/// The guide's ports are free at its reader's; a test takes what is free.
const FREE_PORTS: &str = r#"
moved() { local words=("${@//127.0.0.1:8791/$EDGE_A}"); words=("${words[@]//127.0.0.1:8792/$EDGE_B}"); command "${words[@]}"; }
iotedge-ha() {
    if [ "$1 $2" = 'emulator --state' ]; then shift; set -- emulator --https-port 0 --mqtt-port 0 --operation-ms 300 "$@"; fi
    moved iotedge-ha "$@"
}
curl() { moved curl "$@"; }
"#;

#[test]
fn the_guide_runs() {
    let stage = Stage::default();
    let [a, b] = [(); 2].map(|()| format!("127.0.0.1:{}", free_port()));
    let ran = guide::run(&stage, "guides/routing.md", FREE_PORTS, &[("EDGE_A", &a), ("EDGE_B", &b)]).expect(0);
    for text in [
        "+ condition  $twin.tags.ha.press_1.role = 'active'",
        "ha-press_1-active  in force",
        "{\"sent\":\"yes\",\"term\":",
        "- condition  $twin.tags.ha.press_1.role = 'active'",
        "+ condition  $connectionDeviceId = 'edge-a'",
    ] {
        assert!(ran.stdout.contains(text), "{text:?} is not in\n{}\n{}", ran.stdout, ran.stderr);
    }
    assert!(ran.stderr.contains("the fallback route is on"), "{}", ran.stderr);
}

/// A hub with both members, and what it prints for a shell.
fn start_hub(stage: &Stage, more: &[&str]) -> (Running, BTreeMap<String, String>) {
    let devices = ["--device=edge-a:edge:ha-agent", "--device=edge-b:edge:ha-agent"];
    stage.start_hub(&[&devices[..], more].concat(), "EDGE_B_HA_AGENT_CONNECTION_STRING")
}

/// A hub, two agents that take messages, a controller.
struct Site {
    stage: Stage,
    env: BTreeMap<String, String>,
    http: tokio::runtime::Runtime,
    ports: [u16; 2],
    programs: Vec<Running>,
}

const MEMBERS: [&str; 2] = ["edge-a", "edge-b"];

impl Site {
    fn open() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let stage = Stage::default();
        let (hub, env) = start_hub(&stage, &[]);
        let http = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let mut site = Self { stage, env, http, ports: [free_port(), free_port()], programs: vec![hub] };
        let agents = [0, 1].map(|at| site.start_agent(at));
        site.programs.extend(agents);
        site.programs.push(site.start_controller());
        site
    }

    fn start_agent(&self, at: usize) -> Running {
        let settings = "[hub]\nkeep_alive_s = 1000\n[gate]\nmessages = true\nstop_ms = 500\n";
        let settings = self.stage.file("agent.toml", settings);
        let mqtt_port = port(&self.env["EMULATOR_MQTT"]);
        let address = format!("127.0.0.1:{}", self.ports[at]);
        let key = format!("{}_HA_AGENT_CONNECTION_STRING", MEMBERS[at].replace('-', "_").to_uppercase());
        let args = ["agent", "--pool=press_1", "--connection-string-env=KEY"];
        let variables = [
            ("KEY", self.env[&key].as_str()),
            ("HA_AGENT_CONFIG", &settings),
            ("HA_AGENT_HTTP_ADDR", &address),
            ("HA_AGENT_CA_FILE", &self.env["IOTHUB_CA_FILE"]),
            ("HA_AGENT_MQTT_PORT", mqtt_port),
        ];
        self.stage.start_with(&args, &variables)
    }

    fn start_controller(&self) -> Running {
        let config = format!(
            "[hub]\nca_file = \"{}\"\n[controller]\ncontrol_ttl_ms = 2000\ncontrol_renew_ms = 500\n\
             [[pool]]\nname = \"press_1\"\nmembers = [\"edge-a\", \"edge-b\"]\n\
             [pool.timings]\nttl_ms = 6000\nrenew_ms = 500\ncall_timeout_ms = 2500\nretry_ms = 200\nstop_ms = 500\n\
             standby_hold_ms = 2000\n",
            self.env["IOTHUB_CA_FILE"]
        );
        let config = self.stage.file("pool.toml", &config);
        let variables = [("IOTEDGE_HA_CONNECTION_STRING", self.env["IOTHUB_CONNECTION_STRING"].as_str())];
        self.stage.start_with(&["run", "--config", &config], &variables)
    }

    /// What the hub's built-in endpoint gets from here on, one JSON object a line.
    fn tail(&self) -> Running {
        let variables: Vec<_> = self.env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        self.stage.start_with(&["emulator", "tail", "--endpoint", "events", "--kind", "telemetry"], &variables)
    }

    /// Asks a member's agent to send; status and answer. 0: the agent is not there yet.
    fn post(&self, at: usize, n: u64) -> (u16, Value) {
        let url = format!("http://127.0.0.1:{}/v1/messages", self.ports[at]);
        self.http.block_on(async {
            let message = reqwest::Client::new().post(url).header("content-type", "application/json");
            match message.body(json!({ "n": n }).to_string()).send().await {
                Ok(answer) => (answer.status().as_u16(), answer.json().await.unwrap_or_default()),
                Err(_) => (0, Value::Null),
            }
        })
    }

    /// Asks until the member has sent it; the term.
    fn post_until_sent(&self, at: usize, n: u64) -> u64 {
        let mut term = None;
        wait_until(&format!("{} has sent it", MEMBERS[at]), || {
            let (status, said) = self.post(at, n);
            term = said["term"].as_u64().filter(|_| status == 200);
            term.is_some()
        });
        term.expect("it has been sent")
    }

    /// Has a member send a message every tenth of a second, numbered from `n` on and none waiting for the one before, until it is relieved;
    /// the number and term of the last that it took.
    fn post_until(&self, is_relieved: &AtomicBool, at: usize, n: u64) -> (u64, u64) {
        std::thread::scope(|scope| {
            let mut posts = Vec::new();
            while !is_relieved.load(Ordering::Relaxed) {
                let n = n + u64::try_from(posts.len()).expect("a small number");
                posts.push(scope.spawn(move || (n, self.post(at, n))));
                std::thread::sleep(Duration::from_millis(100));
            }
            let answers = posts.into_iter().map(|post| post.join().expect("it was asked"));
            // 504: the agent does not know what became of it.
            let taken = answers.filter(|(_, (status, _))| matches!(status, 200 | 504));
            let (n, (_, said)) = taken.last().expect("it was active");
            (n, said["term"].as_u64().expect("a term"))
        })
    }

    /// A call of the emulator's control API.
    fn control(&self, method: reqwest::Method, path: &str, body: &str) {
        let ca = std::fs::read(&self.env["IOTHUB_CA_FILE"]).expect("the authority");
        let ca = reqwest::Certificate::from_pem(&ca).expect("a certificate");
        let url = format!("{}{path}", self.env["EMULATOR_CONTROL_URL"]);
        self.http.block_on(async {
            let client = reqwest::Client::builder().tls_certs_only([ca]).build().expect("a client");
            let call = client.request(method, url).bearer_auth(&self.env["EMULATOR_CONTROL_TOKEN"]);
            let answer = call.body(body.to_owned()).send().await;
            answer.and_then(reqwest::Response::error_for_status).expect("the hub does it");
        });
    }
}

/// Reads on until a message comes that is meant; all lines up to there.
fn read_until(tail: &mut Running, is_meant: impl Fn(u64) -> bool) -> String {
    let mut lines = String::new();
    tail.wait_for_line(|line| {
        lines.push_str(line);
        let message: Value = serde_json::from_str(line).expect("JSON");
        message["body"]["n"].as_u64().is_some_and(&is_meant)
    });
    lines
}

#[test]
fn late_messages_of_a_returned_device_are_dropped_by_their_term() {
    let site = Site::open();
    site.post_until_sent(0, 0);
    let mut tail = site.tail();
    let (is_relieved, mut lines) = (AtomicBool::new(false), String::new());
    const MANY: u64 = 10;
    let (late, first) = std::thread::scope(|scope| {
        // The tail shows what comes once it has begun. What is taken between the cut and the end of the lease is held back by the cut.
        let late = scope.spawn(|| site.post_until(&is_relieved, 0, MANY));
        lines += &read_until(&mut tail, |n| n >= MANY);
        site.control(reqwest::Method::PUT, "/faults/devices/edge-a", "{\"cut\":\"both\"}");
        let next = site.post_until_sent(1, 3);
        is_relieved.store(true, Ordering::Relaxed);
        lines += &read_until(&mut tail, |n| n == 3);
        site.control(reqwest::Method::DELETE, "/faults/devices/edge-a", "");
        let (late, first) = late.join().expect("it was asked");
        assert!(next > first);
        lines += &read_until(&mut tail, |n| n == late);
        (late, first)
    });
    site.post_until_sent(1, 4);
    lines += &read_until(&mut tail, |n| n == 4);

    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/term-consumer/term_consumer.py");
    let mut consumer = site.stage.bare("python3");
    consumer.args([script, "--state", "terms.json"]);
    let mut consumer =
        consumer.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("python3 starts");
    consumer.stdin.take().expect("its input is ours").write_all(lines.as_bytes()).expect("it reads");
    let ran = Ran::from(consumer.wait_with_output().expect("it ends")).expect(0);
    let passed: Vec<u64> = ran.json_lines().iter().filter_map(|line| line["body"]["n"].as_u64()).collect();
    let [.., before, 3, 4] = passed[..] else { panic!("{passed:?}") };
    assert!((MANY..late).contains(&before), "{before} came before the cut, and {late} after it: {passed:?}");
    assert!(ran.stderr.contains(&format!("its term {first} of press_1 is over")), "{}", ran.stderr);
}

#[test]
fn what_is_missing_from_the_configuration_is_said() {
    let stage = Stage::default();
    let pool = "[[pool]]\nname = \"press_1\"\nmembers = [\"a\"]\n";
    let config = stage.file("pool.toml", pool);
    let plan = ["route", "plan", "press_1", "--config", &config];
    stage.run(&plan).expect(2).says("has no routing configured").says("hint: ");
    stage.file("pool.toml", &format!("{pool}[pool.routing]\nroute = [{{ endpoint = \"events\" }}]\n"));
    let nobody = "HostName=localhost:1;SharedAccessKeyName=s;SharedAccessKey=AAAA";
    let mut command = stage.command(&plan);
    let ran = command.env("IOTEDGE_HA_CONNECTION_STRING", nobody).output().expect("the program starts");
    Ran::from(ran).expect(2).says("does not say where the hub is in Azure").says("[hub.resource]");
}

#[test]
fn what_azure_refuses_is_said_with_a_remedy() {
    let stage = Stage::default();
    // Longer than the one below would wait.
    let more = ["--entra-principal=reader=Reader", "--entra-principal=owner=Contributor", "--retry-after-s=60"];
    let (_hub, env) = start_hub(&stage, &more);
    let run = |client: &str, name: &str, args: &[&str]| {
        let (url, ca_file) = (format!("https://{}", env["EMULATOR_HTTPS"]), &env["IOTHUB_CA_FILE"]);
        let config = format!(
            "[hub]\nconnection_string_env = \"IOTHUB_CONNECTION_STRING\"\nca_file = \"{ca_file}\"\n\
             [hub.identity]\nsource = \"client_secret\"\ntenant = \"t\"\nclient_id = \"{client}\"\n\
             client_secret_env = \"EMULATOR_CONTROL_TOKEN\"\nauthority = \"{url}/_emulator/entra\"\n\
             [hub.resource]\nsubscription = \"00000000-0000-0000-0000-000000000000\"\ngroup = \"emulator\"\n\
             name = \"{name}\"\nendpoint = \"{url}\"\n\
             [[pool]]\nname = \"press_1\"\nmembers = [\"edge-a\"]\n\
             [pool.routing]\nroute = [{{ endpoint = \"events\" }}]\n"
        );
        let config = stage.file("pool.toml", &config);
        let mut command = stage.command(args);
        let ran = Ran::from(command.args(["--config", &config]).envs(&env).output().expect("the program starts"));
        assert!(!ran.stderr.contains(&env["EMULATOR_CONTROL_TOKEN"]), "{}", ran.stderr);
        ran
    };
    let apply = ["route", "apply", "press_1", "--yes"];
    run("reader", "emulator", &["route", "plan", "press_1"]).expect(0);
    run("reader", "emulator", &apply).expect(4).says("403 AuthorizationFailed").says("az role assignment create");
    run("owner", "other", &apply).expect(4).says("404 ResourceNotFound").says("az iot hub show");
    run("owner", "emulator", &["route", "apply", "press_1", "--dry-run"]).expect(0);
    run("owner", "emulator", &["route", "apply", "press_1"]).expect(2).says("--yes");
    run("owner", "emulator", &[&apply[..], &["--timeout-s", "50"]].concat()).expect(5).says("has not ended in time");
    wait_until("it has ended after all", || {
        let plan = run("owner", "emulator", &["route", "plan", "press_1"]).expect(0);
        plan.stderr.contains("nothing is to be done") || plan.stdout.contains("nothing is to be done")
    });
    let done = run("owner", "emulator", &[&apply[..], &["--json"]].concat()).expect(0);
    assert!(done.stdout.contains("$twin.tags.ha.press_1.role = 'active'"), "{}", done.stdout);
}
