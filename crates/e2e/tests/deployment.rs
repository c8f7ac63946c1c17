//! Deployments: what is refused, drift, and a roll-out over two Edge devices on which modules really run.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use iotedge_ha_e2e::{PATIENCE, Ran, Running, Stage, guide, port};
use serde_json::{Value, json};

/// A hub with two Edge devices and a pool of them.
struct Site {
    stage: Stage,
    hub: BTreeMap<String, String>,
    config: String,
    _hub: Running,
}

const MEMBERS: [&str; 2] = ["edge-1", "edge-2"];

/// Nobody loses a lease because this machine is busy.
const PATIENT: &str = "ttl_ms = 30000\nrenew_ms = 2000\ncall_timeout_ms = 10000\n";
/// A lease is waited for to end.
const PROMPT: &str = "ttl_ms = 10000\nrenew_ms = 1000\ncall_timeout_ms = 4000\n";

impl Site {
    fn open(timings: &str) -> Self {
        let stage = Stage::default();
        let devices = ["--device=edge-1:edge", "--device=edge-2:edge"];
        let (program, hub) = stage.start_hub(&devices, "EDGE_2_CONNECTION_STRING");
        // Of a hub of one unit the programs would ask for a configuration every three seconds, and the tests would wait for that.
        let config = format!(
            "[hub]\nca_file = \"{}\"\nunits = 10\n[controller]\ncontrol_ttl_ms = 2000\ncontrol_renew_ms = 500\n\
             [defaults.timings]\nevidence_ms = 1000\nanchor_read_ms = 500\nstop_ms = 1000\n{timings}\
             [defaults.policy]\ndrift = \"block\"\n\
             [[pool]]\nname = \"press_1\"\nmembers = [\"edge-1\", \"edge-2\"]\n",
            hub["IOTHUB_CA_FILE"]
        );
        let config = stage.file("pool.toml", &config);
        Self { stage, hub, config, _hub: program }
    }

    fn run(&self, args: &[&str]) -> Ran {
        self.run_as(&self.hub["IOTHUB_CONNECTION_STRING"], args)
    }

    fn run_as(&self, connection_string: &str, args: &[&str]) -> Ran {
        let mut command = self.stage.command(args);
        command.args(["--config", &self.config]).env("IOTEDGE_HA_CONNECTION_STRING", connection_string);
        Ran::from(command.output().expect("the program starts"))
    }

    fn json(&self, args: &[&str], code: i32) -> Value {
        let ran = self.run(&[args, &["--json"]].concat()).expect(code);
        serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {}", ran.stdout))
    }

    fn manifest(&self, name: &str, image: &str) -> String {
        self.stage.file(name, &manifest(image).to_string())
    }

    fn start_controller(&self) -> Running {
        self.start(&["run"])
    }

    fn start(&self, args: &[&str]) -> Running {
        let variables = [("IOTEDGE_HA_CONNECTION_STRING", self.hub["IOTHUB_CONNECTION_STRING"].as_str())];
        self.stage.start_with(&[args, &["--config", &self.config]].concat(), &variables)
    }

    fn wait_until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds() {
            assert!(Instant::now() < deadline, "never happened: {what}\n{}", self.logs());
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.stage.folder().join(name)).unwrap_or_default()
    }

    fn logs(&self) -> String {
        ["run.log", "deploy.log", "--verbose.log", "e1/logs/ha-agent.log", "e2/logs/ha-agent.log"]
            .map(|name| format!("--- {name}\n{}", self.log(name)))
            .join("\n")
    }
}

fn image(tag: &str) -> String {
    format!("registry.example.com/press:{tag}")
}

fn manifest(image: &str) -> Value {
    let module = |image: &str, order: u32| {
        json!({"type": "docker", "status": "running", "restartPolicy": "always", "startupOrder": order,
            "settings": {"image": image, "createOptions": "{}"}})
    };
    let mut agent = module(image, 1);
    agent["env"] = json!({"HA_AGENT_POOL": {"value": "press_1"}});
    json!({"modulesContent": {
        "$edgeAgent": {"properties.desired": {
            "schemaVersion": "1.1",
            "runtime": {"type": "docker", "settings": {"minDockerVersion": "v1.25"}},
            "systemModules": {
                "edgeAgent": {"type": "docker", "settings": {"image": "azureiotedge-agent:1.5"}},
                "edgeHub": module("azureiotedge-hub:1.5", 0)},
            "modules": {"ha-agent": agent}}},
        "$edgeHub": {"properties.desired": {"schemaVersion": "1.1", "routes": {"up": "FROM /messages/* INTO $upstream"}}}}})
}

#[test]
fn what_cannot_be_deployed_is_refused_before_anything_is_done() {
    let site = Site::open(PATIENT);
    let deploy = |manifest: &str, more: &[&str]| site.run(&[&["deploy", "press_1", manifest, "--yes"], more].concat());
    let file = |name: &str, content: &Value| site.stage.file(name, &content.to_string());
    let good = site.manifest("good.json", "press:1");

    deploy("nowhere.json", &[]).expect(2).says("cannot read nowhere.json");
    deploy(&site.stage.file("text.json", "not JSON"), &[]).expect(2).says("no JSON: ").says("line 1");
    deploy(&file("empty.json", &json!({})), &[]).expect(2).says("/modulesContent: ");
    let mut typo = manifest("press:1");
    typo["modulesContent"]["$edgeAgent"]["properties.desired"]["modules"]["ha-agent"]["restartPolicy"] = json!("ever");
    deploy(&file("typo.json", &typo), &[]).expect(2).says("/modules/ha-agent/restartPolicy: the value is not one of");
    let mut flag = manifest("press:1");
    flag["modulesContent"]["ha-agent"] = json!({"properties.desired": {"ha": {"active": true}}});
    deploy(&file("flag.json", &flag), &[]).expect(2).says("sets the flag and key of ha-agent");
    deploy(&good, &["--layered"]).expect(2).says("the manifest is full, and was to be layered");
    deploy(&good, &["--id", "V 2"]).expect(2).says("\"V 2\" cannot name a release");
    deploy(&good, &["--rolling"]).expect(3).says("nobody holds press_1");
    site.run(&["deploy", "press_1", "--resume"]).expect(1).says("no release of the pool was rolled out");
    site.run(&["deploy", "press_1", &good]).expect(2).says("there is nobody to say yes");
    site.run(&["deploy", "press_9", &good, "--yes"]).expect(2).says("there is no pool \"press_9\"");

    let (before, _) = site.hub["IOTHUB_CONNECTION_STRING"].split_once("SharedAccessKey=").expect("a key");
    let wrong = format!("{before}SharedAccessKey=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
    site.run_as(&wrong, &["deploy", "press_1", &good, "--yes"]).expect(4).says("does not accept the credentials");

    let calls = site.json(&["deploy", "press_1", &good, "--dry-run"], 0);
    assert_eq!(calls["calls"].as_array().expect("calls").len(), 4, "{calls}");
    let nothing = site.run(&["drift", "press_1"]).expect(0);
    assert!(nothing.stdout.contains("no deployment tells its members what to run"), "{}", nothing.stdout);
}

#[test]
fn a_deployment_that_nobody_takes_up_is_told_member_by_member() {
    let site = Site::open(PATIENT);
    let good = site.manifest("good.json", "press:1");
    let deploy = || site.json(&["deploy", "press_1", &good, "--id=v1", "--yes", "--timeout-s=2"], 5);
    let mut done = deploy();
    assert_eq!((&done["release"], &done["created"]), (&json!("ha-press_1-v1"), &json!(true)));
    let said = |done: &Value, member: &str| {
        let progress = &done["members"][member];
        assert_eq!(progress["state"], "waiting", "{done}");
        progress["said"].as_str().expect("a reason").to_owned()
    };
    while MEMBERS.iter().any(|member| said(&done, member).contains("the hub has not targeted it yet")) {
        done = deploy();
    }
    for member in MEMBERS {
        assert!(said(&done, member).contains("$edgeAgent has reported nothing"), "{done}");
    }
    let drift = site.json(&["drift"], 6);
    assert_eq!(drift[0]["members"][0]["astray"], "$edgeAgent has never reported");
    assert_eq!(drift[0]["members"][1]["deployments"]["ha-press_1-v1"], "Applied");

    // The same once more is no new deployment; other content under the same name is refused.
    let again = site.json(&["deploy", "press_1", &good, "--id=v1", "--yes", "--no-wait"], 0);
    assert_eq!(again["created"], false);
    let other = site.manifest("other.json", "press:2");
    site.run(&["deploy", "press_1", &other, "--id=v1", "--yes"]).expect(3).says("with other content");

    // Who joins is to run what the others run, and who takes another's place as well.
    let joined = site.json(&["join", "press_1", "edge-3", "--create"], 0);
    assert!(joined["steps"].to_string().contains("the tag of the deployment ha-press_1-v1"), "{joined}");
    site.run(&["replace", "press_1", "edge-2", "edge-4", "--create", "--yes", "--fenced"]).expect(0);
    site.wait_until("the hub tells the new ones", || {
        let drift = site.json(&["drift"], 6);
        let applied = |member: &Value| member["deployments"]["ha-press_1-v1"] == "Applied";
        drift[0]["members"].as_array().is_some_and(|members| members.len() == 3 && members.iter().all(applied))
    });
    site.run(&["init", "press_1"]).expect(0);
    site.run(&["init", "press_1"]).expect(0).says("everything is there at the hub");
}

/// Two Edge devices in front of the hub. Their edgeAgents start an agent for the images `press:1` to `press:3`, whose workload
/// records each tenth of a second that it runs, and that another one runs at the same time, should that ever be. `press:3` does not get
/// that far before there is a file `mended`. `score:1` does nothing.
struct Devices {
    edges: [Option<Running>; 2],
    record: std::path::PathBuf,
}

const WORKLOAD: &str = r#"
exec 9> lock
flock --nonblock 9 || { echo "$(date +%s%3N) $IOTEDGE_DEVICEID $1 OVERLAP" >> record; exit 1; }
while :; do echo "$(date +%s%3N) $IOTEDGE_DEVICEID $1 $$" >> record; sleep 0.1; done
"#;

impl Devices {
    fn open(site: &Site) -> Self {
        site.stage.file("workload.sh", WORKLOAD);
        let edges = [Some(Self::edge(site, 1)), Some(Self::edge(site, 2))];
        Self { edges, record: site.stage.folder().join("record") }
    }

    /// Power fails: all that runs there ends at once.
    fn cut(&mut self, site: &Site, number: usize) {
        self.edges[number - 1] = None;
        site.stage.kill_with(&format!("IOTEDGE_DEVICEID=edge-{number}"));
    }

    fn restore(&mut self, site: &Site, number: usize) {
        self.edges[number - 1] = Some(Self::edge(site, number));
    }

    fn edge(site: &Site, number: usize) -> Running {
        let (device, folder) = (format!("edge-{number}"), format!("e{number}"));
        let log = ["--verbose", "--quiet"][number - 1];
        let state = site.stage.folder().join(&folder).display().to_string();
        let program = site.stage.command(&[]).get_program().to_string_lossy().into_owned();
        // The port is known when the device is open, and another one than that of an earlier run.
        let _ = std::fs::remove_file(site.stage.folder().join(format!("{folder}.port")));
        let agent = |version: &str, before: &str| {
            let run = format!(
                "cd {}; until test -s {folder}.port; do sleep 0.1; done; {before} HA_AGENT_MQTT_PORT=$(cat {folder}.port) exec {program} agent --state-dir {folder}-agent \
                 --leave-grace-ms 3000 -- sh workload.sh {version}",
                site.stage.folder().display()
            );
            json!(["sh", "-c", run])
        };
        let images = json!({
            "registry.example.com/press:1": agent("1", ""),
            "registry.example.com/press:2": agent("2", ""),
            "registry.example.com/press:3": agent("3", "until test -e mended; do sleep 0.1; done;"),
            "registry.example.com/score:1": ["sleep", "600"],
        });
        let images = site.stage.file(&format!("{folder}.images.json"), &images.to_string());
        let args = [log, "emulator", "edge-hub", "--device", &device, "--mqtt-port=0", "--https-port=0", "--print-env"];
        let hub_port = port(&site.hub["EMULATOR_MQTT"]);
        let more = ["--hub-mqtt-port", hub_port, "--reported-sync-ms=300", "--images-file", &images, "--state", &state];
        let variables = [
            ("IOTHUB_CONNECTION_STRING", site.hub["IOTHUB_CONNECTION_STRING"].as_str()),
            ("IOTHUB_CA_FILE", site.hub["IOTHUB_CA_FILE"].as_str()),
        ];
        let mut edge = site.stage.start_with(&[&args[..], &more].concat(), &variables);
        let variables = edge.wait_for_variables("EDGE_CONTROL_TOKEN");
        site.stage.file(&format!("{folder}.port"), port(&variables["EDGE_MQTT"]));
        edge
    }

    fn record(&self) -> Vec<Sign> {
        let text = std::fs::read_to_string(&self.record).unwrap_or_default();
        assert!(!text.contains("OVERLAP"), "two ran at once:\n{text}");
        // The last line may be half written.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole).lines();
        whole
            .map(|line| {
                let mut words = line.split(' ').map(str::to_owned);
                let mut word = || words.next().unwrap_or_else(|| panic!("{line:?}"));
                Sign { at_ms: word().parse().expect("an instant"), device: word(), version: word(), process: word() }
            })
            .collect()
    }

    fn last(&self) -> (String, String) {
        self.record().pop().map(|sign| (sign.device, sign.version)).unwrap_or_default()
    }
}

/// A sign of life of the workload.
#[derive(Debug, Clone)]
struct Sign {
    at_ms: u64,
    device: String,
    version: String,
    /// Its process id, which another one has after a restart.
    process: String,
}

/// The pairs of neighbours between which the work went to another process.
fn handovers(record: &[Sign]) -> Vec<[&Sign; 2]> {
    let pairs = record.windows(2).filter(|pair| pair[0].process != pair[1].process);
    pairs.map(|pair| [&pair[0], &pair[1]]).collect()
}

#[test]
fn a_roll_out_costs_one_handover_and_stops_at_the_first_bad_member() {
    let site = Site::open(PATIENT);
    let devices = Devices::open(&site);
    let _controller = site.start_controller();
    let (v1, v2, broken) = (
        site.manifest("v1.json", &image("1")),
        site.manifest("v2.json", &image("2")),
        site.manifest("broken.json", &image("9")),
    );

    site.run(&["deploy", "press_1", &v1, "--id=v1", "--yes", "--timeout-s=300"]).expect(0);
    site.wait_until("the workload runs", || devices.last() == ("edge-1".to_owned(), "1".to_owned()));
    layer_over(&site);
    site.run(&["drift"]).expect(0);
    let began = devices.record().len();

    let rolling = ["--rolling", "--yes", "--settle-s=2", "--timeout-s=300"];
    let done = site.json(&[&["deploy", "press_1", &v2, "--id=v2"], &rolling[..]].concat(), 0);
    assert_eq!(done["members"], json!({"edge-1": {"state": "runs"}, "edge-2": {"state": "runs"}}), "{done}");
    site.wait_until("the other one does the work", || devices.last() == ("edge-2".to_owned(), "2".to_owned()));
    site.run(&["drift"]).expect(0);

    let record = devices.record().split_off(began);
    let [[last, first]] = handovers(&record)[..] else { panic!("one handover and no restart: {record:?}") };
    assert_eq!([&last.device, &first.device], ["edge-1", "edge-2"]);
    eprintln!("the work was interrupted for {} ms", first.at_ms.saturating_sub(last.at_ms));

    // The standby does not start: the roll-out stops there, and the holder does not notice.
    let stopped = site.run(&["deploy", "press_1", &broken, "--id=v3", "--rolling", "--yes", "--timeout-s=5"]);
    stopped.expect(5).says("edge-1 does not run ha-press_1-v3 yet").says("--rollback");
    assert_eq!(devices.last(), ("edge-2".to_owned(), "2".to_owned()));
    site.run(&["drift"]).expect(6);
    site.run(&["deploy", "press_1", "--rollback", "--yes", "--settle-s=1", "--timeout-s=300", "--prune"])
        .expect(0)
        .says("edge-1: runs ha-press_1-v2");
    assert_eq!(handovers(&devices.record()).len(), 1, "the work stayed where it was");

    // The layer has stayed over all of that.
    let applied = json!({"ha-press_1+models-m2": "Applied", "ha-press_1-v2": "Applied"});
    site.wait_until("the hub applies what is left", || {
        let drift = site.json(&["drift"], 0);
        drift[0]["members"].as_array().expect("members").iter().all(|member| member["deployments"] == applied)
    });
}

/// A module of its own in a layer over what the members run, and a newer one of it.
fn layer_over(site: &Site) {
    let layer = |level: u32| {
        let score = json!({"type": "docker", "status": "running", "restartPolicy": "always",
            "settings": {"image": "registry.example.com/score:1"}, "env": {"LEVEL": {"value": level.to_string()}}});
        let content = json!({"modulesContent": {"$edgeAgent": {"properties.desired.modules.score": score}}});
        site.stage.file(&format!("layer-{level}.json"), &content.to_string())
    };
    let deploy = |manifest: &str, id: &str| {
        let id = format!("--id={id}");
        site.json(&["deploy", "press_1", manifest, "--layered=models", &id, "--yes", "--timeout-s=300", "--prune"], 0)
    };
    let done = deploy(&layer(1), "m1");
    assert_eq!(done["members"], json!({"edge-1": {"state": "runs"}, "edge-2": {"state": "runs"}}), "{done}");
    assert_eq!(deploy(&layer(2), "m2")["deleted"], json!(["ha-press_1+models-m1"]));
}

#[test]
fn a_roll_out_is_resumed_once_its_cause_is_mended_and_after_the_holder_has_failed() {
    let site = Site::open(PROMPT);
    let mut devices = Devices::open(&site);
    let _controller = site.start_controller();
    let [v1, v2, v3] = ["1", "3", "2"].map(|tag| site.manifest(&format!("press-{tag}.json"), &image(tag)));
    site.run(&["deploy", "press_1", &v1, "--id=v1", "--yes", "--timeout-s=300"]).expect(0);
    site.wait_until("the workload runs", || devices.last() == ("edge-1".to_owned(), "1".to_owned()));

    let rolling = ["--rolling", "--yes", "--settle-s=1", "--timeout-s=4"];
    let stopped = site.run(&[&["deploy", "press_1", &v2, "--id=v2"], &rolling[..]].concat());
    stopped.expect(5).says("edge-2 does not run ha-press_1-v2 yet").says("--resume");
    site.stage.file("mended", "");
    let resume = ["deploy", "press_1", "--resume", "--yes", "--settle-s=1", "--timeout-s=300"];
    site.run(&resume).expect(0).says("edge-2 is active").says("edge-1: runs ha-press_1-v2");
    site.run(&resume).expect(1).says("the roll-out of ha-press_1-v2 is over");

    // The standby has the next release when the holder fails: the work goes to it, and the roll-out comes as far as the one that is gone.
    let rolling = ["deploy", "press_1", &v3, "--id=v3", "--rolling", "--yes", "--settle-s=3", "--timeout-s=20"];
    let deploy = site.start(&rolling);
    site.wait_until("the standby is well", || site.log("deploy.log").contains("edge-1: is well"));
    devices.cut(&site, 2);
    site.wait_until("the standby takes over", || devices.last() == ("edge-1".to_owned(), "2".to_owned()));
    deploy.wait().expect(5);
    let said = site.log("deploy.log");
    assert!(said.contains("edge-2 does not run ha-press_1-v3 yet") && said.contains("--resume"), "{said}");

    devices.restore(&site, 2);
    site.run(&resume).expect(0).says("edge-2: runs ha-press_1-v3");
    site.run(&["drift"]).expect(0);
    assert_eq!(devices.last(), ("edge-1".to_owned(), "2".to_owned()));
    assert_eq!(handovers(&devices.record()).len(), 2, "one was planned, and one was not");
}

#[test]
fn the_guide_can_be_followed() {
    let site = Site::open(PATIENT);
    let devices = Devices::open(&site);
    let _controller = site.start_controller();
    // A reader has a pool at work.
    site.run(&["deploy", "press_1", &site.manifest("v1.json", &image("1")), "--yes", "--timeout-s=300"]).expect(0);
    site.wait_until("the workload runs", || devices.last() == ("edge-1".to_owned(), "1".to_owned()));
    let variables = [
        ("IOTEDGE_HA_CONFIG", site.config.as_str()),
        ("IOTEDGE_HA_CONNECTION_STRING", site.hub["IOTHUB_CONNECTION_STRING"].as_str()),
    ];
    let ran = guide::run(&site.stage, "guides/deployment.md", "", &variables);
    assert_eq!(ran.code, Some(0), "{}\n{}\n{}", ran.stdout, ran.stderr, site.logs());
}
