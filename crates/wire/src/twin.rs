//! Device and module twins (IoT Hub REST reference: Twin).

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::identity::{AuthenticationType, Capabilities, ConnectionState, Status, X509Thumbprint};
use crate::{ETag, Map, Timestamp};

/// Largest `tags`, counted as the hub counts (Microsoft docs: understand device twins).
pub const TAGS_BYTES_MAX: usize = 8 * 1024;
/// Largest `properties.desired`, and largest `properties.reported`.
pub const SECTION_BYTES_MAX: usize = 32 * 1024;
/// Deepest nesting.
pub const DEPTH_MAX: usize = 10;

/// A device twin, or a module twin when `module_id` is there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Twin {
    /// The device.
    pub device_id: String,
    /// The module, in a module's twin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub module_id: Option<String>,
    /// Moves with writes to tags and desired properties only: fit for compare-and-swap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub etag: Option<ETag>,
    /// The identity's etag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_etag: Option<ETag>,
    /// The device's status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// Free text beside the status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_reason: Option<String>,
    /// When the status last changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_update_time: Option<Timestamp>,
    /// As in the identity: not to be relied on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection_state: Option<ConnectionState>,
    /// As in the identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_activity_time: Option<Timestamp>,
    /// Cloud-to-device messages waiting.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cloud_to_device_message_count: Option<i64>,
    /// How the identity proves itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authentication_type: Option<AuthenticationType>,
    /// Certificate thumbprints.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub x509_thumbprint: Option<X509Thumbprint>,
    /// The digital twin model, where one is declared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_id: Option<String>,
    /// Moves with every write, reported ones too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// What the back end alone sees.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub tags: Map,
    /// The two sections.
    #[serde(default)]
    pub properties: TwinProperties,
    /// What the device is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Capabilities>,
    /// As in the identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_scope: Option<String>,
    /// As in the identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_scopes: Option<Vec<String>>,
    /// The configurations that touch it: `{id: {"status": "Applied"}}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub configurations: Option<Map>,
    /// Fields this crate does not know.
    #[serde(flatten)]
    pub other: Map,
}

impl Twin {
    /// An empty twin.
    pub fn new(device_id: impl Into<String>, module_id: Option<String>) -> Self {
        Twin {
            device_id: device_id.into(),
            module_id,
            etag: None,
            device_etag: None,
            status: None,
            status_reason: None,
            status_update_time: None,
            connection_state: None,
            last_activity_time: None,
            cloud_to_device_message_count: None,
            authentication_type: None,
            x509_thumbprint: None,
            model_id: None,
            version: None,
            tags: Map::new(),
            properties: TwinProperties::default(),
            capabilities: None,
            device_scope: None,
            parent_scopes: None,
            configurations: None,
            other: Map::new(),
        }
    }
}

/// The two sections of a twin.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct TwinProperties {
    /// Written by the back end, read by the device.
    #[serde(default)]
    pub desired: Section,
    /// Written by the device, read by the back end.
    #[serde(default)]
    pub reported: Section,
    /// Fields this crate does not know.
    #[serde(flatten)]
    pub other: Map,
}

/// Desired or reported properties, with the hub's `$version` and `$metadata` among them.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Section(pub Map);

impl Section {
    /// `$version`, where it is there and a number.
    pub fn version(&self) -> Option<u64> {
        self.0.get("$version").and_then(Value::as_u64)
    }

    /// `$metadata`, where it is there and an object. A device never sees it.
    pub fn metadata(&self) -> Option<&Map> {
        self.0.get("$metadata").and_then(Value::as_object)
    }

    /// When the property at `path` was last written; the whole section for an empty path.
    pub fn last_updated(&self, path: &[&str]) -> Option<Timestamp> {
        let mut at = self.metadata()?;
        for key in path {
            at = at.get(*key)?.as_object()?;
        }
        at.get("$lastUpdated")?.as_str()?.parse().ok()
    }

    /// A property at the top level; the hub's own `$` fields are not found here.
    pub fn get(&self, key: &str) -> Option<&Value> {
        if key.starts_with('$') { None } else { self.0.get(key) }
    }

    /// The properties alone, without the hub's `$` fields.
    pub fn without_system_fields(&self) -> Map {
        let own = self.0.iter().filter(|(key, _)| !key.starts_with('$'));
        own.map(|(key, value)| (key.clone(), value.clone())).collect()
    }
}

/// A change to a twin: what is named is merged, `null` deletes, at any depth. Arrays are replaced whole.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct TwinPatch {
    /// Changes to the tags.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<Map>,
    /// Changes to the properties.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub properties: Option<PropertiesPatch>,
}

/// The properties' part of a [`TwinPatch`]. Only desired ones are the back end's to write.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct PropertiesPatch {
    /// Changes to the desired properties.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desired: Option<Map>,
}

impl TwinPatch {
    /// A change to the tags.
    pub fn tags(tags: Map) -> Self {
        TwinPatch { tags: Some(tags), properties: None }
    }

    /// A change to the desired properties.
    pub fn desired(desired: Map) -> Self {
        TwinPatch { tags: None, properties: Some(PropertiesPatch { desired: Some(desired) }) }
    }

    /// The same with a change to the desired properties.
    pub fn and_desired(mut self, desired: Map) -> Self {
        self.properties = Some(PropertiesPatch { desired: Some(desired) });
        self
    }
}

/// Merges `patch` into `target` as the hub does: objects merge, `null` deletes, everything else replaces.
///
/// Nesting below [`DEPTH_MAX`] times two is replaced rather than merged, so that no input can exhaust the stack.
pub fn merge(target: &mut Map, patch: &Map) {
    merge_at(target, patch, 2 * DEPTH_MAX);
}

fn merge_at(target: &mut Map, patch: &Map, depth_left: usize) {
    for (key, value) in patch {
        match (target.get_mut(key), value) {
            (_, Value::Null) => {
                target.shift_remove(key);
            }
            (Some(Value::Object(old)), Value::Object(new)) if depth_left > 0 => merge_at(old, new, depth_left - 1),
            (_, Value::Object(new)) if depth_left > 0 => {
                let mut fresh = Map::new();
                merge_at(&mut fresh, new, depth_left - 1);
                target.insert(key.clone(), Value::Object(fresh));
            }
            _ => {
                target.insert(key.clone(), value.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn map(value: Value) -> Map {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn merges_like_the_hub() {
        let mut twin = map(json!({"a": {"x": 1, "y": 2}, "b": [1, 2], "c": 3}));
        merge(&mut twin, &map(json!({"a": {"x": null}, "b": [9], "c": {"d": {"e": null, "f": 1}}, "gone": null})));
        assert_eq!(Value::Object(twin), json!({"a": {"y": 2}, "b": [9], "c": {"d": {"f": 1}}}));
    }

    #[test]
    fn sections_know_their_version_and_age() {
        let section: Section = serde_json::from_value(json!({"user": "a", "$version": 2, "$metadata": {
            "$lastUpdated": "2020-09-01T20:58:36.1071912Z", "user": {"$lastUpdated": "2020-09-01T20:58:36Z"}}}))
        .unwrap();
        assert_eq!(section.version(), Some(2));
        assert_eq!(section.last_updated(&["user"]).unwrap().to_string(), "2020-09-01T20:58:36Z");
        assert!(section.last_updated(&["nobody"]).is_none());
        assert_eq!(section.without_system_fields(), map(json!({"user": "a"})));
        assert_eq!(section.get("$version"), None);
    }

    #[test]
    fn a_patch_names_only_what_it_changes() {
        let patch = TwinPatch::tags(map(json!({"ha": null}))).and_desired(map(json!({"k": 1})));
        assert_eq!(
            serde_json::to_value(patch).unwrap(),
            json!({"tags": {"ha": null}, "properties": {"desired": {"k": 1}}})
        );
        assert_eq!(serde_json::to_value(TwinPatch::tags(Map::new())).unwrap(), json!({"tags": {}}));
    }
}
