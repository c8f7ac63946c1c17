//! What one member is told to run, or reports to run, in a form in which equal things are equal.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use crate::create_options::{self, CreateOptions};
use crate::digest::canonical;
use crate::manifest::Sections;
use crate::{Digest, EDGE_AGENT, EDGE_HUB};

/// One setting: `workload image`, `workload env.MODE`, `$edgeHub routes.up`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Place {
    /// The module.
    pub module: String,
    /// The key, with dots between its parts.
    pub key: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.module, self.key)
    }
}

impl FromStr for Place {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.split_once(' ').filter(|(module, key)| !module.is_empty() && !key.is_empty());
        let (module, key) = parts.ok_or("it is not a module and a key, as `drift` shows them: \"press env.PORT\"")?;
        Ok(Self { module: module.to_owned(), key: key.to_owned() })
    }
}

impl Serialize for Place {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Place {
    /// Whether `other` is this place or lies below it.
    pub fn holds(&self, other: &Self) -> bool {
        let below = other.key.strip_prefix(&self.key);
        self.module == other.module && below.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }
}

/// Settings in canonical form: defaults left out, create options joined and parsed, objects opened up to their leaves.
pub type Settings = BTreeMap<Place, Value>;

/// What one member is told to run, or reports to run.
///
/// Left out are the hub's and our own keys, registry passwords, counters, times, and which deployment set something.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Runs {
    /// The modules that `$edgeAgent` starts: what is told and what is reported can be compared.
    pub modules: Settings,
    /// Routes, the runtime and modules' own desired properties: told only.
    pub twins: Settings,
    /// The content of each module's image; reported only, and only where the container engine says it.
    pub images: Settings,
}

impl Runs {
    /// What desired properties tell a member.
    pub fn told(sections: &Sections) -> Self {
        let mut runs = Self::default();
        for (module, section) in sections {
            match module.as_str() {
                EDGE_AGENT => runs.read_agent(section),
                EDGE_HUB => open_up(EDGE_HUB, "", section, &mut runs.twins),
                name => {
                    let own = section.iter().filter(|(key, _)| *key != "ha");
                    let own: Map<String, Value> = own.map(|(key, value)| (key.clone(), value.clone())).collect();
                    open_up(name, "desired", &own, &mut runs.twins);
                }
            }
        }
        runs
    }

    /// What `$edgeAgent` reports.
    pub fn reported(reported: &Map<String, Value>) -> Self {
        let mut runs = Self::default();
        runs.read_modules(reported);
        runs
    }

    /// All of it in short: equal content has equal digests.
    pub fn digest(&self) -> Digest {
        let part = |settings: &Settings| -> Value {
            settings.iter().map(|(place, value)| json!([place.module, place.key, value])).collect()
        };
        Digest::of(&json!([part(&self.modules), part(&self.twins), part(&self.images)]))
    }

    /// Leaves out what stands at other places.
    pub(crate) fn retain(&mut self, keep: impl Fn(&Place) -> bool) {
        for settings in [&mut self.modules, &mut self.twins, &mut self.images] {
            settings.retain(|place, _| keep(place));
        }
    }

    fn read_agent(&mut self, section: &Map<String, Value>) {
        self.read_modules(section);
        let mut rest = section.clone();
        rest.retain(|key, _| !matches!(key.as_str(), "modules" | "systemModules") && !key.starts_with('$'));
        let settings = rest.get_mut("runtime").and_then(|runtime| runtime.get_mut("settings"));
        if let Some(settings) = settings.and_then(Value::as_object_mut) {
            settings.shift_remove("registryCredentials");
        }
        open_up(EDGE_AGENT, "", &rest, &mut self.twins);
    }

    fn read_modules(&mut self, section: &Map<String, Value>) {
        for group in ["systemModules", "modules"] {
            let Some(entries) = section.get(group).and_then(Value::as_object) else { continue };
            for (name, entry) in entries {
                let Some(entry) = entry.as_object() else { continue };
                let name = if group == "systemModules" { format!("${name}") } else { name.clone() };
                read_entry(&name, entry, &mut self.modules);
                if let Some(hash) = entry.get("settings").and_then(|settings| settings.get("imageHash")) {
                    self.images.insert(Place { module: name, key: "imageHash".into() }, hash.clone());
                }
            }
        }
    }
}

/// What `$edgeAgent` fills in where nothing is said, and so reports (azure-iot-edge: `IModule`, `ModuleSet`).
const DEFAULTS: &[(&str, &str)] = &[("imagePullPolicy", "on-create"), ("version", ""), ("type", "docker")];

fn read_entry(module: &str, entry: &Map<String, Value>, out: &mut Settings) {
    let mut put = |key: &str, value: Value| drop(out.insert(Place { module: module.into(), key: key.into() }, value));
    for key in ["type", "version", "status", "restartPolicy", "imagePullPolicy", "startupOrder"] {
        let Some(value) = entry.get(key).filter(|value| !value.is_null()) else { continue };
        let is_default = DEFAULTS.iter().any(|(name, default)| key == *name && value == default)
            || key == "startupOrder" && is_default_order(module, value);
        if !is_default {
            put(key, value.clone());
        }
    }
    let Some(settings) = entry.get("settings").and_then(Value::as_object) else { return };
    for (key, value) in settings {
        if !create_options::is_piece(key) && key != "imageHash" && !key.starts_with('$') {
            put(key, canonical(value));
        }
    }
    match CreateOptions::read(settings) {
        Ok(CreateOptions(options)) => open_up(module, "createOptions", &options, out),
        Err(_) => {
            let text = create_options::join(settings).unwrap_or_default();
            out.insert(Place { module: module.into(), key: "createOptions".into() }, text.into());
        }
    }
    let env = entry.get("env").and_then(Value::as_object);
    for (name, variable) in env.into_iter().flatten().filter(|(name, _)| !name.starts_with('$')) {
        let value = variable.get("value").unwrap_or(variable);
        // A variable is a text in the end, however it was written.
        let value = if value.is_string() { value.clone() } else { value.to_string().into() };
        out.insert(Place { module: module.into(), key: format!("env.{name}") }, value);
    }
}

/// The last there is, and for the runtime's own modules also the first.
fn is_default_order(module: &str, order: &Value) -> bool {
    order.as_u64() == Some(u64::from(u32::MAX)) || module.starts_with('$') && order.as_u64() == Some(0)
}

/// Writes each leaf under its path. An empty object says nothing and has none.
fn open_up(module: &str, prefix: &str, map: &Map<String, Value>, out: &mut Settings) {
    for (key, value) in map.iter().filter(|(key, _)| !key.starts_with('$')) {
        let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        match value {
            Value::Object(inner) => open_up(module, &path, inner, out),
            Value::Null => {}
            leaf => drop(out.insert(Place { module: module.into(), key: path }, canonical(leaf))),
        }
    }
}
