//! Which deployment set something.

use std::fmt;

use crate::manifest::Claim;
use crate::runs::Place;
use crate::{EDGE_AGENT, EDGE_HUB};

/// A deployment that applies to a member.
#[derive(Clone, PartialEq, Debug)]
pub struct Applied {
    /// Its id.
    pub id: String,
    /// The larger one wins.
    pub priority: i64,
    /// What it sets.
    pub claims: Vec<Claim>,
}

/// Who set something.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Cause {
    /// A deployment.
    Deployment(String),
    /// Nobody's deployment: it was set for this device alone.
    DeviceAlone,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deployment(id) => f.write_str(id),
            Self::DeviceAlone => f.write_str("set for this device alone"),
        }
    }
}

/// Who set what stands at `place`, among the deployments that apply: the one of the highest priority that says something there.
pub fn cause(place: &Place, applied: &[Applied]) -> Cause {
    let (module, path) = written_at(place);
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let says = |applied: &&Applied| applied.claims.iter().any(|claim| claim.touches(&module, &path));
    let winner = applied.iter().filter(says).max_by(|a, b| a.priority.cmp(&b.priority).then(a.id.cmp(&b.id)));
    winner.map_or(Cause::DeviceAlone, |winner| Cause::Deployment(winner.id.clone()))
}

/// The module and the path in a manifest where a setting was written.
fn written_at(place: &Place) -> (String, Vec<String>) {
    let parts = |text: &str| text.split('.').map(str::to_owned).collect::<Vec<_>>();
    let module = place.module.as_str();
    match place.key.strip_prefix("desired.") {
        Some(path) => (module.to_owned(), parts(path)),
        None if module == EDGE_HUB && is_of_twin(&place.key) || module == EDGE_AGENT && is_of_twin(&place.key) => {
            (module.to_owned(), parts(&place.key))
        }
        None => match module.strip_prefix('$') {
            Some(system) => (EDGE_AGENT.to_owned(), vec!["systemModules".to_owned(), system.to_owned()]),
            None => (EDGE_AGENT.to_owned(), vec!["modules".to_owned(), module.to_owned()]),
        },
    }
}

fn is_of_twin(key: &str) -> bool {
    let first = key.split('.').next().unwrap_or(key);
    matches!(first, "routes" | "storeAndForwardConfiguration" | "schemaVersion" | "runtime")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::Manifest;

    fn applied(id: &str, priority: i64, modules: serde_json::Value) -> Applied {
        let manifest = Manifest::from_content(&json!({ "modulesContent": modules })).expect("a manifest");
        Applied { id: id.into(), priority, claims: manifest.claims().to_vec() }
    }

    #[test]
    fn the_highest_that_says_something_there_is_named() {
        let module = |image: &str| json!({"type": "docker", "status": "running", "restartPolicy": "always", "settings": {"image": image}});
        let all = [
            applied(
                "low",
                1,
                json!({"$edgeAgent": {"properties.desired.modules.w": module("w:1")},
                "$edgeHub": {"properties.desired.routes.up": "FROM /* INTO $upstream"}, "w": {"properties.desired": {"a": 1}}}),
            ),
            applied(
                "high",
                2,
                json!({"$edgeAgent": {"properties.desired.modules.w": module("w:2")},
                "w": {"properties.desired.b": 2}}),
            ),
        ];
        for (module, key, who) in [
            ("w", "image", "high"),
            ("w", "desired.a", "low"),
            ("w", "desired.b", "high"),
            ("$edgeHub", "routes.up", "low"),
            ("$edgeHub", "image", "set for this device alone"),
            ("other", "image", "set for this device alone"),
        ] {
            let place = Place { module: module.into(), key: key.into() };
            assert_eq!(cause(&place, &all).to_string(), who, "{place}");
        }
    }
}
