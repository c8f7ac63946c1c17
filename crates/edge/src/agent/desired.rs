//! What `$edgeAgent` is told to run.

use std::collections::BTreeMap;

use ha_wire::Map;
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// The desired properties of `$edgeAgent`, read.
#[derive(Clone, Debug, Default)]
pub(super) struct Deployment {
    pub(super) modules: BTreeMap<String, Spec>,
    pub(super) system_modules: Map,
    pub(super) runtime: Value,
}

/// One module, as it is to be.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Spec {
    pub(super) kind: String,
    pub(super) version: Option<String>,
    pub(super) running: bool,
    pub(super) restart: RestartPolicy,
    pub(super) pull: String,
    pub(super) order: u32,
    pub(super) image: String,
    pub(super) create_options: String,
    pub(super) env: BTreeMap<String, Value>,
}

/// When an ended module is started again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum RestartPolicy {
    Never,
    OnFailure,
    OnUnhealthy,
    #[default]
    Always,
}

/// Why a deployment is not applied: the code of `lastDesiredStatus`, and a text.
pub(super) type Refused = (u32, String);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    #[serde(rename = "type")]
    kind: Option<String>,
    version: Option<String>,
    status: Option<Status>,
    restart_policy: Option<RestartPolicy>,
    image_pull_policy: Option<String>,
    startup_order: Option<u32>,
    settings: Map,
    #[serde(default)]
    env: BTreeMap<String, Option<Variable>>,
}

#[derive(Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Running,
    Stopped,
}

#[derive(Deserialize)]
struct Variable {
    value: Value,
}

/// Docker's create options come as one text, or cut into so many pieces at most.
const PIECES_MAX: usize = 100;

impl Deployment {
    pub(super) fn read(desired: &Map) -> Result<Self, Refused> {
        if desired.keys().all(|name| name.starts_with('$')) {
            return Err((417, "the desired properties are empty".to_owned()));
        }
        let version = desired.get("schemaVersion").and_then(Value::as_str);
        match version.and_then(|version| version.split_once('.')) {
            Some(("1", "0" | "1")) => {}
            Some(_) => return Err((412, format!("schema version {} is not supported", version.unwrap_or_default()))),
            None => return Err((400, "schemaVersion is missing".to_owned())),
        }
        let object = |name: &str| match desired.get(name) {
            None | Some(Value::Null) => Ok(Map::new()),
            Some(Value::Object(map)) => Ok(map.clone()),
            Some(_) => Err((400, format!("{name} is no object"))),
        };
        let mut modules = BTreeMap::new();
        for (name, module) in object("modules")? {
            if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b)) {
                return Err((400, format!("{name:?} is no module's name")));
            }
            if !module.is_null() {
                let spec = Spec::read(module).map_err(|reason| (400, format!("module {name}: {reason}")))?;
                modules.insert(name, spec);
            }
        }
        let runtime = desired.get("runtime").cloned().unwrap_or_default();
        Ok(Self { modules, system_modules: object("systemModules")?, runtime })
    }
}

impl Spec {
    fn read(module: Value) -> Result<Self, String> {
        let written: Written = serde_json::from_value(module).map_err(|error| error.to_string())?;
        let image = written.settings.get("image").and_then(Value::as_str).unwrap_or_default().trim().to_owned();
        if image.is_empty() {
            return Err("settings.image is missing".to_owned());
        }
        let variables = written.env.into_iter().filter_map(|(name, variable)| Some((name, variable?.value)));
        Ok(Self {
            kind: written.kind.unwrap_or_else(|| "docker".to_owned()),
            version: written.version,
            running: written.status != Some(Status::Stopped),
            restart: written.restart_policy.unwrap_or_default(),
            pull: written.image_pull_policy.unwrap_or_else(|| "on-create".to_owned()),
            order: written.startup_order.unwrap_or(u32::MAX),
            image,
            create_options: create_options(&written.settings),
            env: variables.collect(),
        })
    }

    /// Whether a running module has to be made anew to become the other.
    pub(super) fn runs_as(&self, other: &Self) -> bool {
        (&self.image, &self.create_options, &self.env, &self.version)
            == (&other.image, &other.create_options, &other.env, &other.version)
    }
}

impl RestartPolicy {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::OnFailure => "on-failure",
            Self::OnUnhealthy => "on-unhealthy",
            Self::Always => "always",
        }
    }

    pub(super) fn restarts_after(self, exit_code: i32) -> bool {
        match self {
            Self::Never => false,
            Self::OnFailure | Self::OnUnhealthy => exit_code != 0,
            Self::Always => true,
        }
    }
}

/// `createOptions`, `createOptions01`, …, in order.
fn create_options(settings: &Map) -> String {
    let text = |name: &str| settings.get(name).and_then(Value::as_str).map(str::to_owned);
    let more = (1..PIECES_MAX).map_while(|n| text(&format!("createOptions{n:02}")));
    text("createOptions").into_iter().chain(more).collect()
}

/// There is no image; equal names stand for equal images.
pub(super) fn image_hash(image: &str) -> String {
    let digest = Sha256::digest(image.as_bytes());
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(desired: Value) -> Result<Deployment, Refused> {
        Deployment::read(desired.as_object().expect("an object"))
    }

    #[test]
    fn a_deployment_is_read_with_its_defaults() {
        let deployment = read(json!({"schemaVersion": "1.1", "modules": {"a": {
            "type": "docker",
            "settings": {"image": "x:1", "createOptions": "{\"a\":", "createOptions01": "1}"},
            "env": {"N": {"value": 5}},
        }}}))
        .expect("a deployment");
        let spec = &deployment.modules["a"];
        assert_eq!((spec.running, spec.restart, spec.order), (true, RestartPolicy::Always, u32::MAX));
        assert_eq!((spec.create_options.as_str(), &spec.env["N"]), ("{\"a\":1}", &json!(5)));
    }

    #[test]
    fn what_is_refused_has_a_code() {
        let module = |module: Value| json!({"schemaVersion": "1.1", "modules": {"a": module}});
        for (desired, code, reason) in [
            (json!({"$version": 1}), 417, "empty"),
            (json!({"modules": {}}), 400, "schemaVersion"),
            (json!({"schemaVersion": "1.2"}), 412, "1.2"),
            (json!({"schemaVersion": "1.1", "modules": []}), 400, "no object"),
            (json!({"schemaVersion": "1.1", "modules": {"a b": {}}}), 400, "a b"),
            (module(json!({"settings": {}})), 400, "settings.image"),
            (module(json!({"settings": {"image": "x"}, "status": "paused"})), 400, "paused"),
            (module(json!({"settings": {"image": "x"}, "restartPolicy": "sometimes"})), 400, "sometimes"),
        ] {
            let (found, text) = read(desired).expect_err(reason);
            assert!(found == code && text.contains(reason), "{found} {text}");
        }
    }
}
