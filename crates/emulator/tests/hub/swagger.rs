//! Answers held against Microsoft's description of the service API, version 2021-04-12.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use serde_json::{Map, Value};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/azure/iothub-service-2021-04-12.json");

/// Where the description and the service part, as `Definition.property: what`, and how that is known. "Recorded" is held against
/// the recordings: each of those must occur in one, and no other departure may.
pub(crate) const DEVIATIONS: &[(&str, Evidence)] = &[
    ("Configuration.schemaVersion: null", Evidence::Recorded),
    ("Device.statusReason: null", Evidence::Recorded),
    ("Module.managedBy: null", Evidence::Recorded),
    ("X509Thumbprint.primaryThumbprint: null", Evidence::Recorded),
    ("X509Thumbprint.secondaryThumbprint: null", Evidence::Recorded),
    ("Twin.configurations: not described", Evidence::Recorded),
    ("Twin.modelId: not described", Evidence::Docs),
    ("ConfigurationQueriesTestResponse.targetConditionError: null", Evidence::Ours),
    ("PurgeMessageQueueResult.moduleId: null", Evidence::Docs),
    ("SymmetricKey.primaryKey: null", Evidence::Docs),
    ("SymmetricKey.secondaryKey: null", Evidence::Docs),
];

/// How a departure from the description is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Evidence {
    /// A recorded answer of the real service has it.
    Recorded,
    /// Microsoft's documentation shows it.
    Docs,
    /// A choice of ours that clients are known to bear.
    Ours,
}

/// Fails unless the answer is one that the description knows, but for the listed deviations. Where the description is not at hand,
/// or does not know the path (devices' own paths, the emulator's), anything goes.
#[track_caller]
pub(crate) fn check(method: &str, path: &str, status: u16, item_type: Option<&str>, body: &Value) {
    let listed: BTreeSet<_> = DEVIATIONS.iter().map(|(what, _)| (*what).to_owned()).collect();
    let new: Vec<_> = departures(method, path, status, item_type, body).difference(&listed).cloned().collect();
    assert!(new.is_empty(), "{method} {path} {status} departs from the description: {new:#?}\n{body}");
}

/// Where an answer departs from the description.
pub(crate) fn departures(
    method: &str,
    path: &str,
    status: u16,
    item_type: Option<&str>,
    body: &Value,
) -> BTreeSet<String> {
    let mut found = Departures { root: description(), found: BTreeSet::new() };
    let Some(operation) = operation(method, path) else { return found.found };
    let answer = &operation["responses"][status.to_string()];
    if answer.is_null() {
        // Refusals are not described at all.
        if status < 400 {
            found.found.insert(format!("{method} {path}: status {status}"));
        } else if !is_refusal(body) {
            found.found.insert(format!("{method} {path}: the body of a refusal"));
        }
        return found.found;
    }
    match &answer["schema"] {
        Value::Null if body.is_null() => {}
        Value::Null => _ = found.found.insert(format!("{method} {path}: a body")),
        // Rows of projections and jobs come on the same path as twins.
        _ if item_type.is_some_and(|kind| kind != "Twin") => {}
        // A call that is refused as a whole has the body of any refusal.
        _ if status == 400 && is_refusal(body) => {}
        schema => found.value("", schema, body),
    }
    found.found
}

fn is_refusal(body: &Value) -> bool {
    let text = |name| body[name].is_string();
    body.as_object().is_some_and(|map| map.len() == 2) && text("Message") && text("ExceptionMessage")
}

fn description() -> &'static Value {
    static DESCRIPTION: OnceLock<Value> = OnceLock::new();
    DESCRIPTION.get_or_init(|| match std::fs::read_to_string(FILE) {
        Ok(text) => serde_json::from_str(&text).expect("JSON"),
        Err(_) => {
            println!("skipped: no description of the API at {FILE}");
            Value::Null
        }
    })
}

/// The operation behind a path: the one that leaves least open.
fn operation(method: &str, path: &str) -> Option<&'static Value> {
    let path: Vec<_> = path.split('?').next()?.trim_matches('/').split('/').collect();
    let open = |template: &str| template.matches('{').count();
    let templates = description()["paths"].as_object()?.iter().filter(|(template, _)| {
        let template: Vec<_> = template.trim_matches('/').split('/').collect();
        template.len() == path.len()
            && template.iter().zip(&path).all(|(wanted, part)| wanted.starts_with('{') || wanted == part)
    });
    let (_, operations) = templates.min_by_key(|(template, _)| open(template))?;
    operations.get(method.to_ascii_lowercase())
}

struct Departures {
    root: &'static Value,
    found: BTreeSet<String>,
}

impl Departures {
    fn note(&mut self, place: &str, what: impl std::fmt::Display) {
        self.found.insert(format!("{place}: {what}"));
    }

    fn value(&mut self, place: &str, schema: &Value, value: &Value) {
        if let Some(reference) = schema["$ref"].as_str() {
            let name = reference.rsplit('/').next().unwrap_or_default();
            return self.value(name, &self.root["definitions"][name], value);
        }
        match (schema["type"].as_str(), value) {
            // An object without properties is how the description writes "anything".
            (Some("object") | None, _) if is_open(schema) => {}
            (Some("object") | None, Value::Object(map)) => self.object(place, schema, map),
            (Some("array"), Value::Array(items)) => {
                items.iter().for_each(|item| self.value(place, &schema["items"], item));
            }
            (Some("string"), Value::String(text)) => self.text(place, schema, text),
            (Some("integer"), Value::Number(number)) if number.is_i64() => {
                let fits = schema["format"] != "int32" || number.as_i64().is_some_and(|n| i32::try_from(n).is_ok());
                if !fits {
                    self.note(place, "more than 32 bits");
                }
            }
            (Some("number"), Value::Number(_)) | (Some("boolean"), Value::Bool(_)) => {}
            (_, Value::Null) => self.note(place, "null"),
            (wanted, _) => {
                self.note(place, format_args!("{value} where {} is described", wanted.unwrap_or("an object")));
            }
        }
    }

    fn object(&mut self, place: &str, schema: &Value, map: &Map<String, Value>) {
        for (name, value) in map {
            let inner = format!("{place}.{name}");
            if let Some(known) = schema["properties"].get(name) {
                self.value(&inner, known, value);
            } else if let Some(any) = schema.get("additionalProperties") {
                self.value(&format!("{place}.*"), any, value);
            } else {
                self.note(&inner, "not described");
            }
        }
    }

    fn text(&mut self, place: &str, schema: &Value, text: &str) {
        let choices = schema["enum"].as_array();
        if choices.is_some_and(|choices| !choices.iter().any(|choice| choice == text)) {
            self.note(place, format_args!("{text} is not among the choices"));
        }
        // "Never" comes without a time zone in answers to creations.
        let time = text.trim_end_matches('Z').parse::<jiff::civil::DateTime>();
        if schema["format"] == "date-time" && time.is_err() {
            self.note(place, format_args!("{text} is no time"));
        }
    }
}

fn is_open(schema: &Value) -> bool {
    schema.get("properties").is_none() && schema.get("additionalProperties").is_none()
}

#[test]
fn the_checker_finds_what_is_wrong() {
    if description().is_null() {
        return;
    }
    let device = |body: Value| departures("GET", "/devices/a", 200, None, &body);
    let said = |what: &str| BTreeSet::from([what.to_owned()]);
    assert_eq!(device(serde_json::json!({"deviceId": "a", "status": "enabled"})), BTreeSet::new());
    assert_eq!(device(serde_json::json!({"deviceId": 1})), said("Device.deviceId: 1 where string is described"));
    assert_eq!(device(serde_json::json!({"status": "on"})), said("Device.status: on is not among the choices"));
    assert_eq!(device(serde_json::json!({"colour": "red"})), said("Device.colour: not described"));
    assert_eq!(
        device(serde_json::json!({"authentication": {"symmetricKey": {"primaryKey": true}}})),
        said("SymmetricKey.primaryKey: true where string is described")
    );
    assert_eq!(
        device(serde_json::json!({"lastActivityTime": "soon"})),
        said("Device.lastActivityTime: soon is no time")
    );
    assert_eq!(departures("DELETE", "/devices/a", 200, None, &Value::Null), said("DELETE /devices/a: status 200"));
    assert_eq!(
        departures("POST", "/devices/query", 404, None, &serde_json::json!({"error": "no"})),
        said("POST /devices/query: the body of a refusal")
    );
}
