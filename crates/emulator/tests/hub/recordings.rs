//! Exchanges recorded with a real hub, replayed: same status, same headers, same shape.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use iotedge_ha_emulator::{Emulator, Options};
use reqwest::Method;
use serde_json::Value;

use crate::backend::{Answer, Backend};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/azure/service-recordings");
const HEADERS: [&str; 8] =
    ["content-type", "date", "etag", "server", "vary", "x-ms-request-id", "x-ms-item-type", "iothub-errorcode"];

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

async fn replay(file: &Path) {
    let text = std::fs::read_to_string(file).expect("a recording");
    let recording: Value = serde_json::from_str(text.trim_start_matches('\u{feff}')).expect("JSON");
    // The recorded hub had not evaluated its configurations yet.
    let options = Options { evaluation_interval: Duration::ZERO, ..Options::default() };
    let hub = Emulator::start(options).await.expect("a hub");
    let backend = Backend::new(&hub);
    let mut etags = BTreeMap::new();
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    for (number, entry) in recording["Entries"].as_array().into_iter().flatten().enumerate() {
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
    let uri = entry["RequestUri"].as_str().expect("a URI");
    let path = uri.splitn(4, '/').nth(3).expect("a path");
    let path = format!("/{}", path.split('?').next().unwrap_or_default());
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

/// Keys in order, and the kind of each value; times by their form, since "never" is written in two ways.
fn shape(value: &Value) -> Value {
    match value {
        Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), shape(value))).collect(),
        Value::Array(items) => items.iter().map(shape).collect(),
        Value::String(text) if text.starts_with("0001-01-01") => text.as_str().into(),
        Value::String(text) if text.starts_with("ErrorCode:") => text.as_str().into(),
        Value::String(_) => "text".into(),
        Value::Number(_) => "number".into(),
        Value::Bool(_) => "flag".into(),
        Value::Null => Value::Null,
    }
}
