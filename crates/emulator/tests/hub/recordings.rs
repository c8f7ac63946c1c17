//! Exchanges recorded with a real hub, replayed: same status, same headers, same shape.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use iotedge_ha_emulator::{Emulator, Options};
use reqwest::Method;
use serde_json::Value;

use crate::backend::{Answer, Backend};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/azure/service-recordings");
const HEADERS: [&str; 9] = [
    "content-type",
    "date",
    "etag",
    "server",
    "vary",
    "x-ms-request-id",
    "x-ms-item-type",
    "x-ms-continuation",
    "iothub-errorcode",
];

#[tokio::test]
async fn a_real_hub_answered_the_same() {
    let Ok(folder) = std::fs::read_dir(FOLDER) else {
        println!("skipped: no recordings at {FOLDER}");
        return;
    };
    let mut files: Vec<_> = folder.flatten().map(|entry| entry.path()).collect();
    files.sort();
    for file in files {
        replay(&file).await;
    }
}

/// Where Microsoft's description of the API and the real hub part company, as far as the recordings show: exactly there may we.
#[test]
fn the_listed_deviations_are_the_real_hubs() {
    let Ok(folder) = std::fs::read_dir(FOLDER) else {
        return;
    };
    let mut found = BTreeSet::new();
    for entry in folder.flatten().flat_map(|file| entries(&file.path())) {
        let method = entry["RequestMethod"].as_str().expect("a method");
        let status = entry["StatusCode"].as_u64().and_then(|status| u16::try_from(status).ok()).expect("a status");
        let item_type = entry["ResponseHeaders"]["x-ms-item-type"].as_str();
        // An empty body is recorded as an empty list.
        let body = if status == 204 { Value::Null } else { body(&entry["ResponseBody"]) };
        let answer = ha_swagger::Answer { method, path: &path(&entry), status, item_type, body: &body };
        found.extend(answer.departures().unwrap_or_default());
    }
    let recorded = ha_swagger::DEVIATIONS.iter().filter(|(_, evidence)| *evidence == ha_swagger::Evidence::Recorded);
    assert_eq!(found, recorded.map(|(what, _)| (*what).to_owned()).collect());
}

fn entries(file: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).expect("a recording");
    let mut recording: Value = serde_json::from_str(text.trim_start_matches('\u{feff}')).expect("JSON");
    match recording["Entries"].take() {
        Value::Array(entries) => entries,
        other => panic!("no entries in {}: {other}", file.display()),
    }
}

fn path(entry: &Value) -> String {
    let uri = entry["RequestUri"].as_str().expect("a URI");
    let path = uri.splitn(4, '/').nth(3).expect("a path");
    format!("/{}", path.split('?').next().unwrap_or_default())
}

async fn replay(file: &Path) {
    // The recorded hub had not evaluated its configurations yet.
    let options = Options { evaluation_interval: Duration::ZERO, ..Options::default() };
    let hub = Emulator::start(options).await.expect("a hub");
    let backend = Backend::new(&hub);
    let mut etags = BTreeMap::new();
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    for (number, entry) in entries(file).iter().enumerate() {
        let place = format!("{name} #{number}");
        let answer = replay_entry(&backend, entry, &etags).await;
        let status = entry["StatusCode"].as_u64().expect("a status");
        assert_eq!(u64::from(answer.status.as_u16()), status, "{place} {}", answer.body);
        let recorded = body(&entry["ResponseBody"]);
        learn(&recorded, &answer.body, &mut etags);
        check_headers(entry, &answer, &place);
        if status != 204 {
            check_body(answer.body, &recorded, &place);
        }
    }
}

/// Lists show what else was on the real hub at that time: there only what both have is compared.
fn check_body(mut ours: Value, theirs: &Value, place: &str) {
    let Value::Array(ours) = ours else {
        forget_oddities(&mut ours, theirs);
        return assert_eq!(shape(&ours), shape(theirs), "{place}");
    };
    for item in ours {
        // Another test's configuration had reached some twins of the real hub.
        let untouched = |other: &&Value| other.get("configurations").is_none();
        let same = |other: &&Value| ["deviceId", "moduleId", "id"].iter().all(|id| item[id] == other[id]);
        if let Some(theirs) = theirs.as_array().into_iter().flatten().filter(untouched).find(same) {
            assert_eq!(shape(&item), shape(theirs), "{place}");
        }
    }
}

async fn replay_entry(backend: &Backend, entry: &Value, etags: &BTreeMap<String, String>) -> Answer {
    let path = path(entry);
    let method: Method = entry["RequestMethod"].as_str().and_then(|m| m.parse().ok()).expect("a method");
    let headers = &entry["RequestHeaders"];
    let if_match = headers["If-Match"].as_str().map(|recorded| {
        let bare = recorded.trim_matches('"');
        match etags.get(bare) {
            Some(ours) => format!("\"{ours}\""),
            None => recorded.to_owned(),
        }
    });
    let body = match body(&entry["RequestBody"]) {
        Value::Null => None,
        mut body => {
            unsanitise(&mut body);
            Some(body)
        }
    };
    backend.call(method, &path, if_match.as_deref(), body).await
}

/// Some bodies are recorded as text.
fn body(value: &Value) -> Value {
    match value {
        Value::String(text) => serde_json::from_str(text).unwrap_or(Value::Null),
        other => other.clone(),
    }
}

/// Which of our etags stands where a recorded one stood.
fn learn(recorded: &Value, ours: &Value, etags: &mut BTreeMap<String, String>) {
    if let (Some(theirs), Some(ours)) = (recorded["etag"].as_str(), ours["etag"].as_str()) {
        etags.insert(theirs.to_owned(), ours.to_owned());
    }
}

/// The real hub shows a module twin that was born in bulk a little differently; we do not.
fn forget_oddities(ours: &mut Value, theirs: &Value) {
    let kind = &theirs["authentication"]["type"];
    if kind.is_string() && kind != "sas" {
        // Taken out of the recordings even where there was none.
        ours["authentication"]["symmetricKey"] = theirs["authentication"]["symmetricKey"].clone();
    }
    let version = &theirs["properties"]["reported"]["$metadata"]["$lastUpdatedVersion"];
    if version.is_number() {
        ours["properties"]["reported"]["$metadata"]["$lastUpdatedVersion"] = version.clone();
    }
}

/// Keys were taken out of the recordings; `""` asks for new ones.
fn unsanitise(value: &mut Value) {
    match value {
        Value::String(text) if text == "Sanitized" => text.clear(),
        Value::Object(map) => map.values_mut().for_each(unsanitise),
        Value::Array(items) => items.iter_mut().for_each(unsanitise),
        _ => {}
    }
}

fn check_headers(entry: &Value, answer: &Answer, place: &str) {
    let recorded = entry["ResponseHeaders"].as_object().expect("headers");
    let find = |name: &str| {
        recorded.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).and_then(|(_, value)| value.as_str())
    };
    for name in HEADERS {
        let (theirs, ours) = (find(name), answer.header(name));
        assert_eq!(theirs.is_some(), ours.is_some(), "{place}: header {name}");
        if !matches!(name, "date" | "etag" | "x-ms-request-id") {
            assert_eq!(theirs, ours, "{place}: header {name}");
        }
    }
}

/// Keys in order and their values; of what differs from hub to hub and from day to day only the kind. Times by their form, since
/// "never" is written in two ways.
fn shape(value: &Value) -> Value {
    named_shape("", value)
}

fn named_shape(name: &str, value: &Value) -> Value {
    match value {
        Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), named_shape(key, value))).collect(),
        Value::Array(items) => items.iter().map(|item| named_shape(name, item)).collect(),
        Value::String(text) if text.starts_with("0001-01-01") => text.as_str().into(),
        Value::String(text) if name.ends_with("Time") || name.ends_with("TimeUtc") || name == "$lastUpdated" => {
            if text.ends_with('Z') { "time".into() } else { format!("no time: {text}").into() }
        }
        Value::String(text) if name == "ExceptionMessage" => text.split(':').next().unwrap_or_default().into(),
        Value::String(_) if OF_THE_HUB.contains(&name) => "text".into(),
        Value::Number(_) if name.ends_with("DeviceCount") => "count".into(),
        other => other.clone(),
    }
}

/// What a hub makes up itself.
const OF_THE_HUB: [&str; 5] = ["etag", "deviceEtag", "generationId", "primaryKey", "secondaryKey"];
