//! One section of a twin that carries `$metadata` and `$version`: desired or reported properties.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Desired or reported properties with their metadata, as the hub keeps them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Section {
    body: Map<String, Value>,
    metadata: Map<String, Value>,
    version: u64,
}

/// The instant and, for desired properties, the version that a write leaves in the metadata.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stamp<'a> {
    /// The time of the write, as the hub prints it.
    pub at: &'a str,
    /// Present in desired metadata only.
    pub versioned: bool,
}

impl Section {
    /// The section of a new twin: empty, version 1, metadata with nothing but its birth.
    pub(super) fn new(born: &str) -> Self {
        let mut metadata = Map::new();
        metadata.insert("$lastUpdated".into(), born.into());
        Self { body: Map::new(), metadata, version: 1 }
    }

    /// The desired properties of a twin that is born with some: still version 1.
    pub(super) fn seeded(body: &Map<String, Value>, born: &str) -> Self {
        let mut section = Self::new(born);
        section.version = 0;
        let stamp = Stamp { at: born, versioned: true };
        section.merge(body, stamp);
        section
    }

    /// The number of writes, starting at 1.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// The properties without `$metadata` and `$version`.
    pub(super) fn body(&self) -> &Map<String, Value> {
        &self.body
    }

    /// `$metadata`: what is known of each property.
    pub(super) fn metadata(&self) -> &Map<String, Value> {
        &self.metadata
    }

    /// Merges `patch` (null deletes at any depth); counts as one write.
    pub(super) fn merge(&mut self, patch: &Map<String, Value>, stamp: Stamp<'_>) {
        self.version += 1;
        let mark = Mark::new(stamp, self.version);
        merge_marked(&mut self.body, &mut self.metadata, patch, &mark);
    }

    /// Replaces everything by `body`; counts as one write.
    pub(super) fn replace(&mut self, body: &Map<String, Value>, stamp: Stamp<'_>) {
        self.body.clear();
        self.metadata.clear();
        self.merge(body, stamp);
    }

    /// The section as the service API shows it.
    pub(super) fn full(&self) -> Value {
        let mut out = self.body.clone();
        out.insert("$metadata".into(), Value::Object(self.metadata.clone()));
        out.insert("$version".into(), json!(self.version));
        Value::Object(out)
    }

    /// What a write of `patch` left, for those who hear of changes: the patch with its metadata and the new version.
    pub(super) fn changed(&self, patch: &Map<String, Value>) -> Value {
        let mut out = patch.clone();
        out.insert("$metadata".into(), Value::Object(metadata_of(patch, &self.metadata)));
        out.insert("$version".into(), json!(self.version));
        Value::Object(out)
    }

    /// The section as a device sees it: no metadata.
    pub(super) fn plain(&self) -> Value {
        let mut out = self.body.clone();
        out.insert("$version".into(), json!(self.version));
        Value::Object(out)
    }
}

fn metadata_of(patch: &Map<String, Value>, metadata: &Map<String, Value>) -> Map<String, Value> {
    let own = metadata.iter().filter(|(key, _)| key.starts_with('$'));
    let mut out: Map<String, Value> = own.map(|(key, value)| (key.clone(), value.clone())).collect();
    let none = Map::new();
    for (key, value) in patch {
        if let Some(Value::Object(under)) = metadata.get(key) {
            let inner = metadata_of(value.as_object().unwrap_or(&none), under);
            out.insert(key.clone(), Value::Object(inner));
        }
    }
    out
}

struct Mark<'a> {
    at: &'a str,
    version: Option<u64>,
}

impl<'a> Mark<'a> {
    fn new(stamp: Stamp<'a>, version: u64) -> Self {
        Self { at: stamp.at, version: stamp.versioned.then_some(version) }
    }

    fn put(&self, metadata: &mut Map<String, Value>) {
        metadata.insert("$lastUpdated".into(), self.at.into());
        if let Some(version) = self.version {
            metadata.insert("$lastUpdatedVersion".into(), json!(version));
        }
    }
}

fn merge_marked(
    body: &mut Map<String, Value>,
    metadata: &mut Map<String, Value>,
    patch: &Map<String, Value>,
    mark: &Mark<'_>,
) {
    mark.put(metadata);
    for (key, value) in patch {
        match value {
            Value::Null => {
                body.shift_remove(key);
                metadata.shift_remove(key);
            }
            Value::Object(inner) => {
                if !body.get(key).is_some_and(Value::is_object) {
                    metadata.shift_remove(key);
                }
                merge_marked(object_at(body, key), object_at(metadata, key), inner, mark);
            }
            other => {
                body.insert(key.clone(), other.clone());
                let mut leaf = Map::new();
                mark.put(&mut leaf);
                metadata.insert(key.clone(), Value::Object(leaf));
            }
        }
    }
}

fn object_at<'a>(map: &'a mut Map<String, Value>, key: &str) -> &'a mut Map<String, Value> {
    let slot = map.entry(key).or_insert(Value::Null);
    if !slot.is_object() {
        *slot = Value::Object(Map::new());
    }
    match slot {
        Value::Object(inner) => inner,
        _ => unreachable!("the slot was made an object above"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ha_wire::twin::merge;
    use proptest::prelude::*;

    const T1: &str = "2026-01-01T00:00:00Z";
    const T2: &str = "2026-01-02T00:00:00Z";

    fn object(value: Value) -> Map<String, Value> {
        match value {
            Value::Object(map) => map,
            other => panic!("not an object: {other}"),
        }
    }

    fn stamp(at: &str) -> Stamp<'_> {
        Stamp { at, versioned: true }
    }

    #[test]
    fn a_new_section_has_only_its_birth() {
        assert_eq!(Section::new(T1).full(), json!({"$metadata": {"$lastUpdated": T1}, "$version": 1}));
    }

    #[test]
    fn a_write_marks_every_level_it_touches_and_no_other() {
        let mut section = Section::new(T1);
        section.merge(&object(json!({"a": {"b": 1, "c": 2}, "d": 3})), stamp(T1));
        section.merge(&object(json!({"a": {"b": null}})), stamp(T2));
        let old = json!({"$lastUpdated": T1, "$lastUpdatedVersion": 2});
        assert_eq!(
            section.full(),
            json!({"a": {"c": 2}, "d": 3, "$version": 3, "$metadata": {
                "$lastUpdated": T2, "$lastUpdatedVersion": 3, "d": old,
                "a": {"$lastUpdated": T2, "$lastUpdatedVersion": 3, "c": old}}})
        );
    }

    #[test]
    fn deleting_the_last_key_leaves_an_empty_object() {
        let mut section = Section::new(T1);
        section.merge(&object(json!({"a": {"b": 1}})), stamp(T1));
        section.merge(&object(json!({"a": {"b": null}})), stamp(T2));
        assert_eq!(section.body(), &object(json!({"a": {}})));
    }

    #[test]
    fn replacing_forgets_old_metadata() {
        let mut section = Section::new(T1);
        section.merge(&object(json!({"a": 1})), stamp(T1));
        section.replace(&object(json!({"b": 1})), stamp(T2));
        assert_eq!(section.plain(), json!({"b": 1, "$version": 3}));
        assert!(section.full()["$metadata"].get("a").is_none());
    }

    fn value(depth: u32) -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (0..9i64).prop_map(Value::from),
            "[a-c]{0,2}".prop_map(Value::from),
            Just(json!([1, {"x": 2}])),
        ];
        leaf.prop_recursive(depth, 24, 4, |inner| {
            prop::collection::vec(("[a-d]", inner), 0..4).prop_map(|pairs| Value::Object(pairs.into_iter().collect()))
        })
    }

    fn patch() -> impl Strategy<Value = Map<String, Value>> {
        prop::collection::vec(("[a-d]", value(3)), 0..4).prop_map(|p| p.into_iter().collect())
    }

    /// RFC 7396, word for word.
    fn reference(target: Option<&Value>, patch: &Value) -> Value {
        let Value::Object(patch) = patch else {
            return patch.clone();
        };
        let mut out = match target {
            Some(Value::Object(map)) => map.clone(),
            _ => Map::new(),
        };
        for (key, value) in patch {
            if value.is_null() {
                out.shift_remove(key);
            } else {
                let merged = reference(out.get(key), value);
                out.insert(key.clone(), merged);
            }
        }
        Value::Object(out)
    }

    fn assert_same_shape(body: &Map<String, Value>, metadata: &Map<String, Value>) {
        let keys = |m: &Map<String, Value>| {
            let mut k: Vec<String> = m.keys().filter(|k| !k.starts_with('$')).cloned().collect();
            k.sort();
            k
        };
        assert_eq!(keys(body), keys(metadata));
        for (key, value) in body {
            let under = metadata[key].as_object().expect("metadata is objects");
            assert!(under.contains_key("$lastUpdated"));
            match value {
                Value::Object(inner) => assert_same_shape(inner, under),
                _ => assert!(under.keys().all(|k| k.starts_with('$'))),
            }
        }
    }

    proptest! {
        #[test]
        fn merging_agrees_with_the_rfc_and_metadata_mirrors_the_body(
            patches in prop::collection::vec(patch(), 0..6),
        ) {
            let mut section = Section::new(T1);
            let mut tags = Map::new();
            let mut model = json!({});
            for patch in &patches {
                section.merge(patch, stamp(T2));
                merge(&mut tags, patch);
                model = reference(Some(&model), &Value::Object(patch.clone()));
            }
            prop_assert_eq!(&Value::Object(section.body().clone()), &model);
            prop_assert_eq!(&Value::Object(tags), &model);
            prop_assert_eq!(section.version(), 1 + patches.len() as u64);
            assert_same_shape(section.body(), &section.metadata);
        }
    }
}
