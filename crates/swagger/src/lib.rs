//! Answers held against Microsoft's descriptions: of the service API, version 2021-04-12, and of the hub as a resource of Azure
//! Resource Manager, version 2023-06-30. Tests alone use it; where the descriptions are not at hand it knows nothing.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use serde_json::{Map, Value};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/azure");
const SERVICE: &str = "iothub-service-2021-04-12.json";
const MANAGER: &str = "iothub-arm-2023-06-30.json";

/// Where the description and the service part, as `Definition.property: what`, and how that is known. "Recorded" is held against
/// the recordings: each of those must occur in one, and no other departure may.
pub const DEVIATIONS: &[(&str, Evidence)] = &[
    ("Configuration.schemaVersion: null", Evidence::Recorded),
    ("Device.statusReason: null", Evidence::Recorded),
    ("Module.managedBy: null", Evidence::Recorded),
    ("X509Thumbprint.primaryThumbprint: null", Evidence::Recorded),
    ("X509Thumbprint.secondaryThumbprint: null", Evidence::Recorded),
    ("Twin.configurations: not described", Evidence::Recorded),
    ("Twin.modelId: not described", Evidence::Docs),
    ("ConfigurationQueriesTestResponse.targetConditionError: null", Evidence::Ours),
    ("GET /messages/serviceBound/feedback: a body", Evidence::Docs),
    ("PurgeMessageQueueResult.moduleId: null", Evidence::Docs),
    ("SymmetricKey.primaryKey: null", Evidence::Docs),
    ("SymmetricKey.secondaryKey: null", Evidence::Docs),
];

/// The same for Resource Manager. A refusal that never came to the provider has the body of all of Resource Manager's.
const MANAGER_DEVIATIONS: &[(&str, Evidence)] = &[("ErrorDetails.error: not described", Evidence::Docs)];

/// How a departure from the description is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evidence {
    /// A recorded answer of the real service has it.
    Recorded,
    /// Microsoft's documentation shows it.
    Docs,
    /// A choice of ours that clients are known to bear.
    Ours,
}

/// An answer, as far as it is described.
#[derive(Debug, Clone, Copy)]
pub struct Answer<'a> {
    /// Of the request.
    pub method: &'a str,
    /// Of the request, still encoded; what follows a `?` is left alone.
    pub path: &'a str,
    /// HTTP status.
    pub status: u16,
    /// The header `x-ms-item-type`.
    pub item_type: Option<&'a str>,
    /// JSON, or null where there was no body.
    pub body: &'a Value,
}

/// Whether both descriptions can be read here.
pub fn at_hand() -> bool {
    [false, true].iter().all(|managed| !description(*managed).is_null())
}

impl Answer<'_> {
    /// Fails unless the answer is one that the description knows, but for the listed deviations. Where the description is not at
    /// hand, or does not know the operation (devices' own, the emulator's), anything goes.
    #[track_caller]
    pub fn check(self) {
        let Self { method, path, status, body, .. } = self;
        let new = self.unlisted_departures().unwrap_or_default();
        assert!(new.is_empty(), "{method} {path} {status} departs from the description: {new:#?}\n{body}");
    }

    /// Where it departs from the description without being listed; `None` as for [`Answer::departures`].
    pub fn unlisted_departures(self) -> Option<BTreeSet<String>> {
        let listed = if is_managed(self.path) { MANAGER_DEVIATIONS } else { DEVIATIONS };
        let is_listed = |what: &String| listed.iter().any(|(known, _)| known == what);
        Some(self.departures()?.into_iter().filter(|what| !is_listed(what)).collect())
    }

    /// Where it departs from the description; `None` if there is no description of such an operation.
    pub fn departures(self) -> Option<BTreeSet<String>> {
        let Self { method, path, status, item_type, body } = self;
        let managed = is_managed(path);
        let root = description(managed);
        let mut found = Departures { root, found: BTreeSet::new() };
        let operation = operation(root, method, path)?;
        let answer = &operation["responses"][status.to_string()];
        match &answer["schema"] {
            Value::Null if answer.is_null() => found.undescribed_status(self),
            Value::Null if body.is_null() => {}
            Value::Null => found.note(&format!("{method} {path}"), "a body"),
            // Rows of projections and jobs come on the same path as twins.
            _ if item_type.is_some_and(|kind| kind != "Twin") => {}
            // A call that is refused as a whole has the body of any refusal.
            _ if status == 400 && is_refusal(body) => {}
            schema => found.value("", schema, body),
        }
        Some(found.found)
    }
}

fn is_managed(path: &str) -> bool {
    let path = path.to_ascii_lowercase();
    ["/subscriptions/", "/providers/"].iter().any(|start| path.starts_with(start))
}

fn is_refusal(body: &Value) -> bool {
    let text = |name| body[name].is_string();
    body.as_object().is_some_and(|map| map.len() == 2) && text("Message") && text("ExceptionMessage")
}

fn description(managed: bool) -> &'static Value {
    static DESCRIPTIONS: [OnceLock<Value>; 2] = [OnceLock::new(), OnceLock::new()];
    let file = if managed { MANAGER } else { SERVICE };
    DESCRIPTIONS[usize::from(managed)].get_or_init(|| match std::fs::read_to_string(format!("{FOLDER}/{file}")) {
        Ok(text) => serde_json::from_str(&text).expect("JSON"),
        Err(_) => {
            println!("skipped: no description of the API at {FOLDER}/{file}");
            Value::Null
        }
    })
}

/// The operation behind a path: the one that leaves least open.
fn operation(root: &'static Value, method: &str, path: &str) -> Option<&'static Value> {
    let path: Vec<_> = path.split('?').next()?.trim_matches('/').split('/').collect();
    let open = |template: &str| template.matches('{').count();
    let templates = root["paths"].as_object()?.iter().filter(|(template, _)| {
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

    fn undescribed_status(&mut self, Answer { method, path, status, body, .. }: Answer<'_>) {
        match (status, is_managed(path)) {
            (..400, _) => self.note(&format!("{method} {path}"), format_args!("status {status}")),
            // What goes wrong has one shape, whether an operation mentions it or not.
            (_, true) => self.definition("ErrorDetails", body),
            // Refusals are not described at all.
            (_, false) if !is_refusal(body) => self.note(&format!("{method} {path}"), "the body of a refusal"),
            (_, false) => {}
        }
    }

    fn definition(&mut self, name: &str, value: &Value) {
        self.value(name, &self.root["definitions"][name], value);
    }

    fn value(&mut self, place: &str, schema: &Value, value: &Value) {
        if let Some(reference) = schema["$ref"].as_str() {
            return self.definition(reference.rsplit('/').next().unwrap_or_default(), value);
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
            if let Some(known) = self.property(schema, name) {
                self.value(&inner, &known, value);
            } else if let Some(any) = schema.get("additionalProperties") {
                self.value(&format!("{place}.*"), any, value);
            } else {
                self.note(&inner, "not described");
            }
        }
        for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !map.contains_key(name) {
                self.note(&format!("{place}.{name}"), "absent");
            }
        }
    }

    /// A property of the schema, or of one that it includes.
    fn property(&self, schema: &Value, name: &str) -> Option<Value> {
        let included = schema["allOf"].as_array().into_iter().flatten().filter_map(|part| part["$ref"].as_str());
        let mut included = included.map(|reference| {
            let definition = reference.rsplit('/').next().unwrap_or_default();
            &self.root["definitions"][definition]["properties"]
        });
        let own = schema["properties"].get(name);
        own.or_else(|| included.find_map(|properties| properties.get(name))).cloned()
    }

    fn text(&mut self, place: &str, schema: &Value, text: &str) {
        let choices = schema["enum"].as_array();
        if choices.is_some_and(|choices| !choices.iter().any(|choice| choice == text)) {
            self.note(place, format_args!("{text} is not among the choices"));
        }
        let fits = match schema["format"].as_str() {
            // "Never" comes without a time zone in answers to creations.
            Some("date-time") => text.trim_end_matches('Z').parse::<jiff::civil::DateTime>().is_ok(),
            Some("date-time-rfc1123") => jiff::fmt::rfc2822::parse(text).is_ok(),
            Some("duration") => text.parse::<jiff::Span>().is_ok(),
            _ => true,
        };
        if !fits {
            self.note(place, format_args!("{text} is no {}", schema["format"].as_str().unwrap_or_default()));
        }
    }
}

fn is_open(schema: &Value) -> bool {
    ["properties", "additionalProperties", "allOf"].iter().all(|part| schema.get(part).is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn departures(method: &str, path: &str, status: u16, item_type: Option<&str>, body: &Value) -> BTreeSet<String> {
        Answer { method, path, status, item_type, body }.departures().expect("a known operation")
    }

    fn said(what: &str) -> BTreeSet<String> {
        BTreeSet::from([what.to_owned()])
    }

    #[test]
    fn what_is_listed_stands_in_the_docs() {
        let page = include_str!("../../../docs/reference/emulator/fidelity.md");
        let section = page.split("## The description").nth(1).expect("a section");
        let listed: BTreeSet<_> = DEVIATIONS.iter().chain(MANAGER_DEVIATIONS).map(|(what, _)| *what).collect();
        let told: BTreeSet<_> = section.split('`').skip(1).step_by(2).collect();
        assert_eq!(told, listed);
    }

    #[test]
    fn the_checker_finds_what_is_wrong() {
        if !at_hand() {
            return;
        }
        let device = |body: Value| departures("GET", "/devices/a", 200, None, &body);
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
            said("Device.lastActivityTime: soon is no date-time")
        );
        assert_eq!(departures("DELETE", "/devices/a", 200, None, &Value::Null), said("DELETE /devices/a: status 200"));
        assert_eq!(
            departures("POST", "/devices/query", 404, None, &serde_json::json!({"error": "no"})),
            said("POST /devices/query: the body of a refusal")
        );
    }

    #[test]
    fn the_checker_reads_resource_managers_description_too() {
        let file = format!("{FOLDER}/arm-examples-2023-06-30/iothub_get.json");
        let (Ok(text), false) = (std::fs::read_to_string(file), description(true).is_null()) else {
            println!("skipped: Microsoft's examples are not here");
            return;
        };
        let example: Value = serde_json::from_str(&text).expect("JSON");
        let hub = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Devices/IotHubs/h";
        let check = |change: &dyn Fn(&mut Value)| {
            let mut body = example["responses"]["200"]["body"].clone();
            change(&mut body);
            departures("GET", hub, 200, None, &body)
        };
        assert_eq!(check(&|_| {}), BTreeSet::new(), "Microsoft's own example");
        assert_eq!(check(&|body| body["colour"] = "red".into()), said("IotHubDescription.colour: not described"));
        assert_eq!(
            check(&|body| body["properties"]["cloudToDevice"]["defaultTtlAsIso8601"] = "1h?".into()),
            said("CloudToDeviceProperties.defaultTtlAsIso8601: 1h? is no duration")
        );
        assert_eq!(
            check(&|body| _ = body["sku"].as_object_mut().expect("sku").remove("name")),
            said("IotHubSkuInfo.name: absent")
        );
        let refusal = serde_json::json!({"code": "X", "httpStatusCode": "Conflict", "message": "m", "details": null});
        assert_eq!(departures("PATCH", hub, 409, None, &refusal), said("ErrorDetails.details: null"));
    }
}
