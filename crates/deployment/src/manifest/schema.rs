//! The published schema, and what it leaves to say.

use std::sync::LazyLock;

use jsonschema::Validator;
use serde_json::{Map, Value, json};

use super::claim::{self, Claim};
use super::{Kind, Sections};
use crate::error::Problem;
use crate::{EDGE_AGENT, EDGE_HUB};

static SCHEMA: LazyLock<Validator> = LazyLock::new(|| {
    let schema = include_str!("../../schema/azure-iot-edge-deployment-2.0.json");
    let schema = serde_json::from_str(schema).expect("the embedded schema is JSON");
    jsonschema::draft4::new(&schema).expect("the embedded schema is one")
});

/// Stands in for the base of a layer: the least that the schema takes.
fn least_base() -> Sections {
    let system = json!({"type": "docker", "settings": {"image": "base"}});
    let hub = json!({"type": "docker", "settings": {"image": "base"}, "status": "running", "restartPolicy": "always"});
    let agent = json!({"schemaVersion": "1.1", "runtime": {"type": "docker", "settings": {}},
        "systemModules": {"edgeAgent": system, "edgeHub": hub}, "modules": {}});
    let entries = [(EDGE_AGENT, agent), (EDGE_HUB, json!({"schemaVersion": "1.1", "routes": {}}))];
    entries.into_iter().map(|(name, value)| (name.to_owned(), value.as_object().cloned().unwrap_or_default())).collect()
}

/// What in the manifest breaks the published schema.
pub(super) fn check(kind: Kind, modules: &Map<String, Value>, claims: &[Claim]) -> Vec<Problem> {
    let base = match kind {
        Kind::Full => Sections::new(),
        Kind::Layered => least_base(),
    };
    let whole: Map<String, Value> = claim::settle_all(&base, claims)
        .into_iter()
        .map(|(module, section)| (module, json!({ claim::ROOT: section })))
        .collect();
    let mut problems: Vec<Problem> = SCHEMA
        .iter_errors(&json!({ "modulesContent": whole }))
        .map(|error| {
            let path: Vec<String> = error.instance_path().iter().map(|segment| segment.to_string()).collect();
            Problem {
                hint: hint(&path),
                path: claim::pointer_of(&path, claims),
                // Values may be passwords.
                reason: error.masked_with("the value").to_string(),
            }
        })
        .collect();
    if modules.is_empty() {
        problems.push(Problem {
            path: "/modulesContent".into(),
            reason: "names no module".into(),
            hint: "give the content of $edgeAgent and $edgeHub, or keys of them in a layer",
        });
    }
    problems
}

fn hint(path: &[String]) -> &'static str {
    let names = |name: &str| path.iter().any(|part| part == name);
    if names("routes") {
        "a route is a text, or an object of route, priority (0 to 9) and timeToLiveSecs; its name has no . $ # or blank"
    } else if names("env") {
        "a variable is {\"value\": text, number or boolean}; its name has no + # $ . or blank"
    } else if names("modules") || names("systemModules") {
        "a module has type, status, restartPolicy and settings with its image; see the deployment schema 2.0"
    } else {
        "see the deployment schema 2.0 of IoT Edge"
    }
}
