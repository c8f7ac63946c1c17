//! What the schema cannot say of a module's entry: texts within texts, versions, templates.

use serde_json::{Map, Value};

use super::Sections;
use super::claim::{self, Claim};
use crate::create_options::{self, CreateOptions};
use crate::error::Problem;
use crate::{EDGE_AGENT, EDGE_HUB};

/// What is wrong with the entries that `$edgeAgent` is to run.
pub(super) fn check(claims: &[Claim]) -> Vec<Problem> {
    let sections = claim::settle_all(&Sections::new(), claims);
    let agent = sections.get(EDGE_AGENT);
    let mut problems = Vec::new();
    for group in ["systemModules", "modules"] {
        let Some(entries) = agent.and_then(|agent| agent.get(group)).and_then(Value::as_object) else { continue };
        for (name, entry) in entries {
            let Some(settings) = entry.get("settings").and_then(Value::as_object) else { continue };
            let found = check_settings(settings).map(|(key, reason, hint)| {
                let path =
                    ["modulesContent", EDGE_AGENT, claim::ROOT, group, name, "settings", &key].map(str::to_owned);
                Problem { path: claim::pointer_of(&path, claims), reason, hint }
            });
            problems.extend(found);
        }
    }
    problems.extend(check_version(&sections, EDGE_AGENT, &["1.0", "1.1"], claims));
    problems.extend(check_version(&sections, EDGE_HUB, &["1.0", "1.1", "1.2", "1.3"], claims));
    problems
}

fn check_settings(settings: &Map<String, Value>) -> Option<(String, String, &'static str)> {
    let image = settings.get("image")?.as_str()?;
    if image.contains("${") {
        let reason = format!("{image} still has a placeholder");
        return Some(("image".into(), reason, "build the template first: deploy takes finished manifests"));
    }
    if image.trim().is_empty() || image.contains(char::is_whitespace) {
        return Some(("image".into(), "no image name".into(), "name an image, as in registry.example.com/name:tag"));
    }
    match CreateOptions::read(settings) {
        Ok(_) => None,
        // The schema has said so.
        Err(bad) if settings.get(&bad.key).is_some_and(|piece| !piece.is_string()) => None,
        Err(create_options::Bad { key, reason }) => {
            Some((key, reason, "createOptions is a JSON object in a text, long ones go on in createOptions01, 02, …"))
        }
    }
}

fn check_version(sections: &Sections, module: &str, known: &[&str], claims: &[Claim]) -> Option<Problem> {
    let version = sections.get(module)?.get("schemaVersion")?.as_str()?;
    let path = ["modulesContent", module, claim::ROOT, "schemaVersion"].map(str::to_owned);
    (!known.contains(&version)).then(|| Problem {
        path: claim::pointer_of(&path, claims),
        reason: format!("{module} knows the versions {}, not this one", known.join(", ")),
        hint: "use 1.1",
    })
}
