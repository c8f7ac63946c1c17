//! Twins: tags, desired and reported properties, their counters and etags.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ha_wire::twin::merge;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::evaluation::Status;
use super::expect::Expect;
use super::limits::{self, Violation};
use super::refusal::Refusal;
use super::section::{Section, Stamp};
use super::time;
use super::{Effect, Hub, Id};

/// The twin of one identity.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Twin {
    etag: u64,
    tags: Map<String, Value>,
    desired: Section,
    reported: Section,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    model_id: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    configurations: BTreeMap<String, Status>,
}

/// What a write changed, for those who hear of changes.
#[derive(Debug)]
pub(super) struct Changed {
    pub(super) version: u64,
    /// Moves on a back end's writes only.
    pub(super) etag: Option<String>,
    pub(super) tags: Option<Map<String, Value>>,
    pub(super) desired: Option<Value>,
    pub(super) reported: Option<Value>,
    pub(super) replaced: bool,
}

/// What a back end sends to change a twin; everything else in its body is ignored.
#[derive(Debug, Default)]
struct Change {
    tags: Option<Map<String, Value>>,
    desired: Option<Map<String, Value>>,
}

impl Twin {
    /// A twin as it is born. Module twins are born with the oldest date there is, device twins with the present.
    pub(super) fn new(born: &str) -> Self {
        Self {
            etag: 1,
            tags: Map::new(),
            desired: Section::new(born),
            reported: Section::new(born),
            model_id: None,
            configurations: BTreeMap::new(),
        }
    }

    /// The back end's compare-and-swap token: base64 of a big-endian counter.
    pub(super) fn etag(&self) -> String {
        STANDARD.encode(self.etag.to_be_bytes())
    }

    /// What the service API shows as `version`.
    pub(super) fn version(&self) -> u64 {
        self.etag + self.reported.version()
    }

    /// Tags, absent when empty.
    pub(super) fn tags(&self) -> Option<Value> {
        (!self.tags.is_empty()).then(|| Value::Object(self.tags.clone()))
    }

    /// `properties` as the service API shows them.
    pub(super) fn properties(&self) -> Value {
        json!({"desired": self.desired.full(), "reported": self.reported.full()})
    }

    /// The model a device named when it connected.
    pub(super) fn model_id(&self) -> Option<&str> {
        self.model_id.as_deref()
    }

    /// Notes the model; whether it is another one.
    pub(super) fn set_model_id(&mut self, model: &str) -> bool {
        let other = self.model_id.as_deref() != Some(model);
        if other {
            self.model_id = Some(model.to_owned());
        }
        other
    }

    /// Desired and reported properties.
    pub(super) fn sections(&self) -> (&Section, &Section) {
        (&self.desired, &self.reported)
    }

    /// `configurations` as the service API shows them, absent when empty.
    pub(super) fn configurations(&self) -> Option<Value> {
        let shown = |(id, status): (&String, &Status)| (id.clone(), json!({"status": status}));
        let all: Map<String, Value> = self.configurations.iter().map(shown).collect();
        (!all.is_empty()).then_some(Value::Object(all))
    }

    /// What the device sees of its twin.
    pub(super) fn own_view(&self) -> Value {
        json!({"desired": self.desired.plain(), "reported": self.reported.plain()})
    }

    fn apply(&mut self, change: &Change, at: &str, replace: bool) -> Result<bool, Violation> {
        let mut next = self.clone();
        if let Some(tags) = &change.tags {
            limits::check_patch(tags)?;
            if replace {
                next.tags.clear();
            }
            merge(&mut next.tags, tags);
            limits::check_size(&next.tags, limits::TAGS_CHARS_MAX)?;
        }
        if let Some(desired) = &change.desired {
            limits::check_patch(desired)?;
            let stamp = Stamp { at, versioned: true };
            if replace {
                next.desired.replace(desired, stamp);
            } else {
                next.desired.merge(desired, stamp);
            }
            limits::check_size(next.desired.body(), limits::PROPERTIES_CHARS_MAX)?;
        }
        let written = change.tags.is_some() || change.desired.is_some();
        next.etag += u64::from(written);
        *self = next;
        Ok(written)
    }

    fn changed(&self, change: &Change, replaced: bool) -> Changed {
        Changed {
            version: self.version(),
            etag: Some(self.etag()),
            tags: change.tags.clone(),
            desired: change.desired.as_ref().map(|desired| self.desired.changed(desired)),
            reported: None,
            // A deployment replaces desired properties alone; that is told as an update.
            replaced: replaced && change.tags.is_some(),
        }
    }

    fn report(&mut self, patch: &Map<String, Value>, at: &str) -> Result<u64, Violation> {
        let patch = strip(patch);
        limits::check_patch(&patch)?;
        let mut next = self.reported.clone();
        let stamp = Stamp { at, versioned: false };
        next.merge(&patch, stamp);
        limits::check_size(next.body(), limits::PROPERTIES_CHARS_MAX)?;
        self.reported = next;
        Ok(self.reported.version())
    }
}

impl Hub {
    /// Merges tags and desired properties; counts as one write however much it holds.
    pub fn patch_twin(&mut self, id: &Id, body: &Value, expect: &Expect, now: Timestamp) -> Result<Value, Refusal> {
        let change = Change::read(body)?;
        self.write_twin(id, &change, expect, now, false)
    }

    /// Replaces tags and desired properties; a section that the body leaves out becomes empty.
    pub fn replace_twin(&mut self, id: &Id, body: &Value, expect: &Expect, now: Timestamp) -> Result<Value, Refusal> {
        let mut change = Change::read_all(body)?;
        change.tags.get_or_insert_default();
        change.desired.get_or_insert_default();
        self.write_twin(id, &change, expect, now, true)
    }

    /// Gives a twin that was just born in bulk its first content: no write, so no counter moves. The real hub dates
    /// a device's desired properties with the oldest date there is, and all of a module's twin with the present.
    pub(super) fn seed_twin(&mut self, id: &Id, body: &Value, now: Timestamp) -> Result<(), Refusal> {
        let change = Change::read(body)?;
        let twin = self.twin_of_mut(id)?;
        let present = time::print(now);
        let born = if id.module.is_some() { &present } else { time::NEVER };
        let mut next = Twin::new(&present);
        next.apply(&change, born, false).map_err(|violation| Refusal::argument(violation.to_string()))?;
        next.desired = match &change.desired {
            Some(desired) => Section::seeded(desired, born),
            None => twin.desired.clone(),
        };
        next.etag = 1;
        *twin = next;
        Ok(())
    }

    /// Sets desired properties as a deployment does: the body becomes the whole section.
    pub fn impose_desired(&mut self, id: &Id, desired: Map<String, Value>, now: Timestamp) -> Result<(), Refusal> {
        let change = Change { tags: None, desired: Some(desired) };
        self.write_twin_with(id, &change, now, true).map(|_| ())
    }

    /// Merges desired properties as a configuration does that owns only a part of them.
    pub(super) fn merge_desired(&mut self, id: &Id, patch: Map<String, Value>, now: Timestamp) -> Result<(), Refusal> {
        let change = Change { tags: None, desired: Some(patch) };
        self.write_twin_with(id, &change, now, false)
    }

    /// The desired properties without the hub's own fields.
    pub(super) fn desired(&self, id: &Id) -> Result<&Map<String, Value>, Refusal> {
        Ok(self.twin_of(id)?.desired.body())
    }

    /// Notes how configurations stand with the twin; no counter moves. Whether anything changed.
    pub(super) fn set_configurations(&mut self, id: &Id, statuses: &BTreeMap<String, Status>, now: Timestamp) -> bool {
        let Ok(twin) = self.twin_of_mut(id) else {
            return false;
        };
        if twin.configurations == *statuses {
            return false;
        }
        twin.configurations.clone_from(statuses);
        self.changed(id, now);
        true
    }

    /// What a device gets when it asks for its twin.
    pub fn own_twin(&self, id: &Id) -> Result<Value, Refusal> {
        Ok(self.twin_of(id)?.own_view())
    }

    /// Merges reported properties; the answer is the section's new version.
    pub fn report(&mut self, id: &Id, patch: &Map<String, Value>, now: Timestamp) -> Result<u64, Refusal> {
        let at = time::print(now);
        let twin = self.twin_of_mut(id)?;
        let version = twin.report(patch, &at).map_err(|violation| Refusal::argument(violation.to_string()))?;
        let reported = Some(twin.reported.changed(&strip(patch)));
        let changed =
            Changed { version: twin.version(), etag: None, tags: None, desired: None, reported, replaced: false };
        self.changed(id, now);
        self.tell_twin(id, changed, now);
        Ok(version)
    }

    fn write_twin(
        &mut self,
        id: &Id,
        change: &Change,
        expect: &Expect,
        now: Timestamp,
        replace: bool,
    ) -> Result<Value, Refusal> {
        let twin = self.twin_of(id)?;
        if !expect.allows(&twin.etag()) {
            return Err(Refusal::twin_etag(&id.device));
        }
        self.write_twin_with(id, change, now, replace)?;
        self.twin(id)
    }

    fn write_twin_with(&mut self, id: &Id, change: &Change, now: Timestamp, replace: bool) -> Result<(), Refusal> {
        let at = time::print(now);
        let twin = self.twin_of_mut(id)?;
        let written = twin.apply(change, &at, replace).map_err(|violation| Refusal::argument(violation.to_string()))?;
        let changed = twin.changed(change, replace);
        if let Some(desired) = &change.desired {
            let version = twin.desired.version();
            let mut body = desired.clone();
            body.insert("$version".into(), version.into());
            self.effects.push(Effect::Desired { id: id.clone(), version, body: Value::Object(body) });
        }
        if written {
            self.changed(id, now);
            self.tell_twin(id, changed, now);
        }
        Ok(())
    }

    pub(super) fn twin_of(&self, id: &Id) -> Result<&Twin, Refusal> {
        let device = self.devices.get(&id.device);
        let twin = match &id.module {
            None => device.map(|d| &d.twin),
            Some(module) => device.and_then(|d| d.modules.get(module)).map(|m| &m.twin),
        };
        twin.ok_or_else(|| Refusal::device_not_found(&id.device))
    }

    pub(super) fn twin_of_mut(&mut self, id: &Id) -> Result<&mut Twin, Refusal> {
        let device = self.devices.get_mut(&id.device);
        let twin = match &id.module {
            None => device.map(|d| &mut d.twin),
            Some(module) => device.and_then(|d| d.modules.get_mut(module)).map(|m| &mut m.twin),
        };
        twin.ok_or_else(|| Refusal::device_not_found(&id.device))
    }
}

impl Change {
    /// Reads a patch. A section with nothing of its own in it is no write.
    fn read(body: &Value) -> Result<Self, Refusal> {
        let mut change = Self::read_all(body)?;
        change.tags = change.tags.filter(|tags| !tags.is_empty());
        change.desired = change.desired.filter(|desired| !desired.is_empty());
        Ok(change)
    }

    fn read_all(body: &Value) -> Result<Self, Refusal> {
        let body = body.as_object().ok_or_else(|| Refusal::argument("a JSON object is expected"))?;
        let properties = section(body, "properties")?;
        let desired = match properties {
            Some(properties) => section(properties, "desired")?.map(strip),
            None => None,
        };
        Ok(Self { tags: section(body, "tags")?.cloned(), desired })
    }
}

fn section<'a>(body: &'a Map<String, Value>, name: &str) -> Result<Option<&'a Map<String, Value>>, Refusal> {
    match body.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(map)) => Ok(Some(map)),
        Some(_) => Err(Refusal::argument(format!("'{name}' must be an object"))),
    }
}

/// `$metadata` and `$version` in a body are the hub's own and ignored.
fn strip(section: &Map<String, Value>) -> Map<String, Value> {
    let own = |key: &str| key == "$metadata" || key == "$version";
    section.iter().filter(|(key, _)| !own(key)).map(|(key, value)| (key.clone(), value.clone())).collect()
}
