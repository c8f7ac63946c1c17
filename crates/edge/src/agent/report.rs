//! What `$edgeAgent` reports, and what the daemon lists.

use ha_wire::Map;
use ha_wire::workload::{ExitStatus, ModuleList, ModuleStatus, RuntimeStatus, WorkloadModule};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::desired::{Deployment, Refused, image_hash};
use super::supervisor::Supervisor;
use crate::hub;

/// The whole of the reported properties.
pub(super) fn reported(
    supervisor: &Supervisor,
    deployment: &Deployment,
    desired_version: Option<u64>,
    status: &Refused,
    started: Timestamp,
) -> Map {
    let (code, description) = status;
    let mut reported = Map::new();
    let mut put = |name: &str, value: Value| reported.insert(name.to_owned(), value);
    put("schemaVersion", "1.0".into());
    put("version", hub::version());
    put("lastDesiredVersion", desired_version.into());
    put("lastDesiredStatus", json!({"code": code, "description": description}));
    put("runtime", runtime(&deployment.runtime));
    put("systemModules", system_modules(&deployment.system_modules, started));
    put("modules", json!(supervisor.report()));
    reported
}

/// The part that a clean stop changes: nobody knows what runs from here on.
pub(super) fn shut_down(reported: &Map) -> Map {
    let unknown = |section: &str| {
        let names = reported.get(section).and_then(Value::as_object).into_iter().flat_map(Map::keys);
        names.map(|name| (name.clone(), json!({"runtimeStatus": "unknown"}))).collect::<Map>()
    };
    Map::from_iter([
        ("lastDesiredStatus".to_owned(), json!({"code": 406, "description": "the edge agent has been shut down"})),
        ("systemModules".to_owned(), Value::Object(unknown("systemModules"))),
        ("modules".to_owned(), Value::Object(unknown("modules"))),
    ])
}

fn runtime(desired: &Value) -> Value {
    let architecture = std::env::consts::ARCH;
    let settings = desired.get("settings").and_then(Value::as_object);
    // Credentials of registries stay where they are.
    let kept = settings.into_iter().flatten().filter(|(name, _)| *name != "registryCredentials");
    let settings: Map = kept.map(|(name, value)| (name.clone(), value.clone())).collect();
    json!({
        "type": desired.get("type").cloned().unwrap_or_else(|| "docker".into()),
        "platform": {"os": std::env::consts::OS, "architecture": architecture, "version": env!("CARGO_PKG_VERSION")},
        "settings": settings,
    })
}

/// edgeAgent and edgeHub are this process itself: while it can report, they run.
fn system_modules(desired: &Map, started: Timestamp) -> Value {
    let module = |name: &str| {
        let wanted = desired.get(name);
        let image = wanted.and_then(|wanted| wanted.pointer("/settings/image")).and_then(Value::as_str);
        let image = image.unwrap_or(concat!("iotedge-ha-edge:", env!("CARGO_PKG_VERSION")));
        let options = wanted.and_then(|wanted| wanted.pointer("/settings/createOptions")).and_then(Value::as_str);
        let mut module = json!({
            "type": "docker",
            "imagePullPolicy": "on-create",
            "startupOrder": 0,
            "runtimeStatus": "running",
            "exitCode": 0,
            "statusDescription": "running",
            "lastStartTimeUtc": started.to_string(),
            "lastExitTimeUtc": "0001-01-01T00:00:00Z",
            "settings": {"image": image, "imageHash": image_hash(image), "createOptions": options.unwrap_or("{}")},
            "env": wanted.and_then(|wanted| wanted.get("env")).cloned().unwrap_or_else(|| json!({})),
        });
        if name == "edgeHub" {
            for (field, value) in [("status", json!("running")), ("restartPolicy", json!("always"))] {
                module[field] = value;
            }
            module["restartCount"] = json!(0);
            module["lastRestartTimeUtc"] = json!("0001-01-01T00:00:00Z");
        }
        module
    };
    json!({"edgeAgent": module("edgeAgent"), "edgeHub": module("edgeHub")})
}

/// The modules as `GET /modules` lists them.
pub(super) fn listed(supervisor: &Supervisor, started: Timestamp) -> ModuleList {
    let module = |name: &str, image: &str, status: ModuleStatus| WorkloadModule {
        id: Some(format!("{name}-id")),
        name: name.to_owned(),
        kind: Some("docker".to_owned()),
        config: Map::from_iter([
            ("settings".to_owned(), json!({"image": image, "imageHash": image_hash(image)})),
            ("env".to_owned(), json!([])),
        ]),
        status,
        other: Map::new(),
    };
    let system = ["edgeAgent", "edgeHub"].map(|name| {
        let status = ModuleStatus {
            start_time: Some(started.to_string()),
            exit_status: None,
            runtime_status: RuntimeStatus { status: "running".to_owned(), description: Some("running".to_owned()) },
        };
        module(name, concat!("iotedge-ha-edge:", env!("CARGO_PKG_VERSION")), status)
    });
    let own = supervisor.list().into_iter().map(|seen| {
        let exit =
            |(at, code): (Timestamp, i32)| ExitStatus { exit_time: at.to_string(), status_code: code.to_string() };
        let status = ModuleStatus {
            start_time: seen.started().map(|at| at.to_string()),
            exit_status: seen.exited().map(exit),
            runtime_status: RuntimeStatus {
                status: seen.status().to_owned(),
                description: Some(seen.status().to_owned()),
            },
        };
        module(seen.name, seen.image(), status)
    });
    ModuleList { modules: system.into_iter().chain(own).collect() }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::shell::now;
    use crate::timings::Timings;

    /// Data that lies beside the repository; without it the test says so and passes.
    fn sample(name: &str) -> Option<Value> {
        let path = format!("{}/../../../shared/azure/iotedge/samples/{name}", env!("CARGO_MANIFEST_DIR"));
        let Ok(text) = std::fs::read_to_string(&path) else {
            println!("skipped: no sample at {path}");
            return None;
        };
        Some(serde_json::from_str(&text).expect("JSON"))
    }

    fn names(value: &Value) -> BTreeSet<&str> {
        let names = value.as_object().expect("an object").keys().map(String::as_str);
        names.filter(|name| !name.starts_with('$')).collect()
    }

    #[test]
    fn the_report_has_the_fields_of_the_real_one() {
        let Some(twin) = sample("edgeagent_twin_healthy.synthetic.json") else { return };
        let desired = twin["properties"]["desired"].as_object().expect("desired properties");
        let deployment = Deployment::read(desired).expect("a deployment");
        let mut supervisor = Supervisor::new(&Timings::default());
        supervisor.deploy(&deployment.modules);
        supervisor.reconcile(now());
        let ours = reported(&supervisor, &deployment, Some(11), &(200, String::new()), Timestamp::now());
        let (ours, theirs) = (Value::Object(ours), &twin["properties"]["reported"]);
        assert_eq!(names(&ours), names(theirs));
        for place in [
            "/version",
            "/lastDesiredStatus",
            "/runtime",
            "/runtime/platform",
            "/modules/ha-agent",
            "/modules/ha-agent/settings",
            "/systemModules/edgeAgent",
            "/systemModules/edgeHub",
        ] {
            let at = |whole: &Value| whole.pointer(place).unwrap_or_else(|| panic!("no {place}")).clone();
            assert_eq!(names(&at(&ours)), names(&at(theirs)), "{place}");
        }
        for same in [
            "/modules/ha-agent/runtimeStatus",
            "/modules/ha-agent/restartPolicy",
            "/lastDesiredStatus",
            "/lastDesiredVersion",
        ] {
            assert_eq!(ours.pointer(same), theirs.pointer(same), "{same}");
        }
    }

    #[test]
    fn public_manifests_can_be_read() {
        for name in ["ha_full_manifest.synthetic.json", "test_edge_deployment_v11.json"] {
            let Some(manifest) = sample(name) else { return };
            let desired = &manifest["modulesContent"]["$edgeAgent"]["properties.desired"];
            let deployment = Deployment::read(desired.as_object().expect("desired properties")).expect(name);
            assert_eq!(deployment.modules.len(), names(&desired["modules"]).len(), "{name}");
        }
    }

    #[test]
    fn a_clean_stop_touches_nothing_but_what_is_unknown() {
        let reported = json!({"modules": {"a": {"runtimeStatus": "running"}}, "systemModules": {"edgeHub": {}}});
        let patch = shut_down(reported.as_object().expect("an object"));
        assert_eq!(patch["modules"], json!({"a": {"runtimeStatus": "unknown"}}));
        assert_eq!(patch["lastDesiredStatus"]["code"], 406);
    }
}
