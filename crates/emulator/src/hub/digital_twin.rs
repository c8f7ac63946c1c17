//! Digital twins: a device twin as the conventions of IoT Plug and Play read it.
//!
//! Nothing is kept here. What a device reports and what is desired of it are shown as one, and a patch becomes a write
//! of desired properties.

mod patch;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{Expect, Hub, Id, Refusal, Shown};

/// What marks an object in a twin as a component: `"__t": "c"`.
const MARKER: &str = "__t";
/// The longest id of a model, as DTDL limits it.
const MODEL_ID_CHARS_MAX: usize = 2048;

impl Hub {
    /// `GET /digitaltwins/{id}`
    pub fn digital_twin(&self, device: &str) -> Result<Shown, Refusal> {
        let twin = self.twin_of(&Id::device(device))?;
        let (desired, reported) = twin.sections();
        let desired = Side { body: desired.body(), metadata: desired.metadata() };
        let reported = Side { body: reported.body(), metadata: reported.metadata() };
        let (mut out, mut metadata) = level(&desired, &reported);
        if let Some(model) = twin.model_id() {
            metadata.insert("$model".into(), model.into());
        }
        out.insert("$dtId".into(), device.into());
        out.insert("$metadata".into(), metadata.into());
        Ok(Shown { body: Value::Object(out), etag: twin.etag() })
    }

    /// `PATCH /digitaltwins/{id}`: all operations or none; the answer is the etag.
    pub fn patch_digital_twin(
        &mut self,
        device: &str,
        operations: &Value,
        expect: &Expect,
        now: Timestamp,
    ) -> Result<String, Refusal> {
        let id = Id::device(device);
        let twin = self.twin_of(&id)?;
        if !expect.allows(&twin.etag()) {
            return Err(Refusal::twin_etag(device));
        }
        let (desired, reported) = twin.sections();
        let patch = patch::desired(operations, desired.body(), reported.body())?;
        if !patch.is_empty() {
            self.merge_desired(&id, patch, now)?;
        }
        Ok(self.twin_of(&id)?.etag())
    }

    /// Notes the model that a client named when it connected. One that names none leaves the earlier one in place.
    pub fn announce_model(&mut self, id: &Id, model: &str, now: Timestamp) {
        if !is_model_id(model) {
            tracing::info!(%id, "a model id that is none is ignored: 'dtmi:' and up to {MODEL_ID_CHARS_MAX} characters");
            return;
        }
        let Ok(twin) = self.twin_of_mut(id) else { return };
        if twin.set_model_id(model) {
            self.changed(id, now);
        }
    }
}

fn is_model_id(text: &str) -> bool {
    text.starts_with("dtmi:") && text.len() <= MODEL_ID_CHARS_MAX && text.chars().all(|c| c.is_ascii_graphic())
}

fn is_component(value: &Value) -> bool {
    value.get(MARKER).is_some_and(|marker| marker == "c")
}

/// One section of a twin at some depth, with what is known of each key.
#[derive(Clone, Copy)]
struct Side<'a> {
    body: &'a Map<String, Value>,
    metadata: &'a Map<String, Value>,
}

impl<'a> Side<'a> {
    /// The section below a component; `None` where it has no such component.
    fn component(&self, name: &str) -> Option<Self> {
        let body = self.body.get(name).filter(|value| is_component(value))?;
        Some(Self { body: body.as_object()?, metadata: self.metadata.get(name)?.as_object()? })
    }

    fn property(&self, name: &str) -> Option<&'a Value> {
        self.body.get(name).filter(|value| !is_component(value))
    }

    fn known(&self, name: &str, what: &str) -> Option<&'a Value> {
        self.metadata.get(name)?.get(what)
    }
}

/// The root: its properties and, one level down, the components.
fn level(desired: &Side<'_>, reported: &Side<'_>) -> (Map<String, Value>, Map<String, Value>) {
    let (mut out, metadata) = properties(desired, reported);
    let none = Map::new();
    let empty = Side { body: &none, metadata: &none };
    for name in names(desired, reported) {
        let (wanted, told) = (desired.component(name), reported.component(name));
        if wanted.is_none() && told.is_none() {
            continue;
        }
        let (mut component, known) = properties(&wanted.unwrap_or(empty), &told.unwrap_or(empty));
        // A component goes with its last property.
        if known.is_empty() {
            continue;
        }
        component.insert("$metadata".into(), known.into());
        out.insert(name.into(), component.into());
    }
    (out, metadata)
}

/// The properties of the root or of a component: the values that the device reports, and what is known of each.
fn properties(desired: &Side<'_>, reported: &Side<'_>) -> (Map<String, Value>, Map<String, Value>) {
    let (mut values, mut metadata) = (Map::new(), Map::new());
    for name in names(desired, reported) {
        let (wanted, told) = (desired.property(name), reported.property(name));
        let mut known = Map::new();
        if let Some(wanted) = wanted {
            known.insert("desiredValue".into(), wanted.clone());
            let version = desired.known(name, "$lastUpdatedVersion");
            known.insert("desiredVersion".into(), version.cloned().unwrap_or_default());
        }
        if let Some(told) = told {
            values.insert(name.into(), acknowledged(told, &mut known).clone());
        }
        if wanted.is_none() && told.is_none() {
            continue;
        }
        let side = if told.is_some() { reported } else { desired };
        known.insert("lastUpdateTime".into(), side.known(name, "$lastUpdated").cloned().unwrap_or_default());
        metadata.insert(name.into(), known.into());
    }
    (values, metadata)
}

/// The value inside an acknowledgement `{value, ac, av, ad}`, or the value itself where it is none.
fn acknowledged<'a>(told: &'a Value, known: &mut Map<String, Value>) -> &'a Value {
    let of_ack = |key: &String| matches!(key.as_str(), "value" | "ac" | "av" | "ad");
    let fields = [("av", "ackVersion"), ("ac", "ackCode"), ("ad", "ackDescription")];
    match told.get("value") {
        Some(value) if told["ac"].is_number() && told.as_object().is_some_and(|all| all.keys().all(of_ack)) => {
            for (short, long) in fields {
                known.extend(told.get(short).map(|field| (long.to_owned(), field.clone())));
            }
            value
        }
        _ => told,
    }
}

/// All names on either side; the marker is none.
fn names<'a>(desired: &Side<'a>, reported: &Side<'a>) -> impl Iterator<Item = &'a str> {
    let known = reported.body;
    let more = desired.body.keys().filter(move |name| !known.contains_key(name.as_str()));
    known.keys().chain(more).map(String::as_str).filter(|name| *name != MARKER)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::hub::{DeviceBody, Dice};

    const T1: &str = "2026-01-01T00:00:00Z";
    const T2: &str = "2026-01-02T00:00:00Z";

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    fn hub() -> Hub {
        let mut hub = Hub::new(Dice::new([9; 32]), jiff::SignedDuration::ZERO);
        let body = DeviceBody::read(json!({})).expect("a body");
        hub.put_device("d", &body, &Expect::Nothing, at(T1)).expect("made");
        hub
    }

    fn report(hub: &mut Hub, body: &Value, when: &str) {
        hub.report(&Id::device("d"), body.as_object().expect("an object"), at(when)).expect("reported");
    }

    fn body(hub: &Hub) -> Value {
        hub.digital_twin("d").expect("there").body
    }

    /// The temperature controller of Microsoft's documentation.
    #[test]
    fn the_documented_example() {
        let mut hub = hub();
        hub.announce_model(&Id::device("d"), "dtmi:com:example:TemperatureController;1", at(T1));
        let operations =
            json!([{"op": "add", "path": "/thermostat1", "value": {"targetTemperature": 20.4, "$metadata": {}}}]);
        hub.patch_digital_twin("d", &operations, &Expect::Nothing, at(T1)).expect("patched");
        report(
            &mut hub,
            &json!({"serialNumber": "alwinexlepaho8329", "thermostat1": {"__t": "c", "maxTempSinceLastReboot": 25.3,
                "targetTemperature": {"value": 20.4, "ac": 200, "av": 2, "ad": "Successfully executed patch"}}}),
            T2,
        );
        let operations = json!([{"op": "add", "path": "/thermostat1/targetTemperature", "value": 21.4}]);
        hub.patch_digital_twin("d", &operations, &Expect::Nothing, at(T2)).expect("patched");
        assert_eq!(
            body(&hub),
            json!({
                "$dtId": "d",
                "serialNumber": "alwinexlepaho8329",
                "thermostat1": {
                    "maxTempSinceLastReboot": 25.3,
                    "targetTemperature": 20.4,
                    "$metadata": {
                        "targetTemperature": {"desiredValue": 21.4, "desiredVersion": 3, "ackVersion": 2, "ackCode": 200,
                            "ackDescription": "Successfully executed patch", "lastUpdateTime": T2},
                        "maxTempSinceLastReboot": {"lastUpdateTime": T2},
                    },
                },
                "$metadata": {
                    "$model": "dtmi:com:example:TemperatureController;1",
                    "serialNumber": {"lastUpdateTime": T2},
                },
            })
        );
    }

    #[test]
    fn reported_values_by_table() {
        for (told, value, known) in [
            (json!(1), json!(1), json!({})),
            (json!({"a": {"b": 1}}), json!({"a": {"b": 1}}), json!({})),
            (json!({"value": 1, "ac": 200, "av": 3}), json!(1), json!({"ackVersion": 3, "ackCode": 200})),
            (json!({"value": {"x": 1}, "ac": 203}), json!({"x": 1}), json!({"ackCode": 203})),
            // Objects that merely have such a field.
            (json!({"value": 1}), json!({"value": 1}), json!({})),
            (json!({"value": 1, "ac": "200"}), json!({"value": 1, "ac": "200"}), json!({})),
            (json!({"value": 1, "ac": 200, "more": 1}), json!({"value": 1, "ac": 200, "more": 1}), json!({})),
        ] {
            let mut hub = hub();
            report(&mut hub, &json!({"p": told}), T2);
            let mut expected = known;
            expected["lastUpdateTime"] = json!(T2);
            let found = body(&hub);
            assert_eq!((&found["p"], &found["$metadata"]["p"]), (&value, &expected), "{told}");
        }
    }

    #[test]
    fn a_desired_value_is_no_value_until_it_is_reported_and_empty_components_do_not_show() {
        let mut hub = hub();
        assert_eq!(body(&hub), json!({"$dtId": "d", "$metadata": {}}));
        let add =
            json!([{"op": "add", "path": "/led/color", "value": "red"}, {"op": "add", "path": "/on", "value": true}]);
        hub.patch_digital_twin("d", &add, &Expect::Nothing, at(T2)).expect("patched");
        let known = |value: Value| json!({"desiredValue": value, "desiredVersion": 2, "lastUpdateTime": T2});
        let expected = json!({"$dtId": "d", "led": {"$metadata": {"color": known(json!("red"))}}, "$metadata": {"on": known(json!(true))}});
        assert_eq!(body(&hub), expected);
        let remove = json!([{"op": "remove", "path": "/led/color"}, {"op": "remove", "path": "/on"}]);
        hub.patch_digital_twin("d", &remove, &Expect::Nothing, at(T2)).expect("patched");
        assert_eq!(body(&hub), json!({"$dtId": "d", "$metadata": {}}));
    }

    #[test]
    fn a_model_moves_no_counter_and_nonsense_is_none() {
        let mut hub = hub();
        let id = Id::device("d");
        let before = hub.twin(&id).expect("a twin");
        for (model, now) in
            [("dtmi:a;1", "dtmi:a;1"), ("urn:a:1", "dtmi:a;1"), ("dtmi:a b;1", "dtmi:a;1"), ("dtmi:b;2", "dtmi:b;2")]
        {
            hub.announce_model(&id, model, at(T2));
            assert_eq!(hub.twin(&id).expect("a twin")["modelId"], now, "{model}");
        }
        let after = hub.twin(&id).expect("a twin");
        assert_eq!((&before["etag"], &before["version"]), (&after["etag"], &after["version"]));
    }
}
