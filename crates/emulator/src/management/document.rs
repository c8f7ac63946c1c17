//! The document of a hub: what a new one holds, what is filled in, what is checked.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::failure::Failure;
use super::same_region;
use crate::hub::print_time;
use crate::routing::{Limits, Problem, Table};

/// Messages a day and unit, by pricing tier.
const SKUS: [(&str, &str, u64); 7] = [
    ("F1", "Free", 8_000),
    ("B1", "Basic", 400_000),
    ("B2", "Basic", 6_000_000),
    ("B3", "Basic", 300_000_000),
    ("S1", "Standard", 400_000),
    ("S2", "Standard", 6_000_000),
    ("S3", "Standard", 300_000_000),
];

/// The first label of a host name; a bare address or `localhost` names no hub.
pub(super) fn name_of(host: &str) -> String {
    let label = host.split(['.', ':']).next().unwrap_or_default();
    let is_name = !label.is_empty() && label != "localhost" && !label.bytes().all(|b| b.is_ascii_digit());
    if is_name { label.to_owned() } else { "emulator".to_owned() }
}

/// A hub as the portal makes one: the fallback route is on.
pub(super) fn fresh(location: &str, now: Timestamp) -> Map<String, Value> {
    let fallback = json!({"name": "$fallback", "source": "DeviceMessages", "condition": "true",
        "endpointNames": ["events"], "isEnabled": true});
    let document = json!({
        "location": location,
        "tags": {},
        "properties": {"routing": {"fallbackRoute": fallback}},
        "sku": {"name": "S1", "capacity": 1},
        "systemData": {"createdAt": print_time(now)},
    });
    match document {
        Value::Object(document) => document,
        _ => Map::new(),
    }
}

pub(super) fn set_routing(document: &mut Map<String, Value>, routing: Value) {
    if let Some(Value::Object(properties)) = document.get_mut("properties") {
        properties.insert("routing".into(), routing);
    }
}

/// Fills in what a hub has whether it was said or not. An absent fallback route stays absent: it is off.
pub(super) fn complete(document: &mut Map<String, Value>) {
    for read_only in ["id", "name", "type", "etag"] {
        document.shift_remove(read_only);
    }
    document.entry("tags").or_insert_with(|| json!({}));
    let properties = document.entry("properties").or_insert_with(|| json!({}));
    merge_missing(
        properties,
        &json!({
            "ipFilterRules": [],
            "eventHubEndpoints": {"events": {"retentionTimeInDays": 1, "partitionCount": 4}},
            "routing": {
                "endpoints": {
                    "serviceBusQueues": [], "serviceBusTopics": [], "eventHubs": [], "storageContainers": [],
                    "cosmosDBSqlContainers": [],
                },
                "routes": [],
                "enrichments": [],
            },
            "storageEndpoints": {"$default": {"sasTtlAsIso8601": "PT1H", "connectionString": "", "containerName": ""}},
            "messagingEndpoints": {
                "fileNotifications": {"lockDurationAsIso8601": "PT1M", "ttlAsIso8601": "PT1H", "maxDeliveryCount": 10},
            },
            "enableFileUploadNotifications": false,
            "cloudToDevice": {
                "maxDeliveryCount": 10,
                "defaultTtlAsIso8601": "PT1H",
                "feedback": {"lockDurationAsIso8601": "PT1M", "ttlAsIso8601": "PT1H", "maxDeliveryCount": 10},
            },
            "features": "None",
        }),
    );
    let sku = document.entry("sku").or_insert_with(|| json!({}));
    let tier = sku_row(sku).1;
    sku["tier"] = json!(tier);
}

/// What a hub knows of its built-in endpoint.
pub(super) fn complete_events(events: &mut Value, hub: &str) {
    let count = events.get("partitionCount").and_then(Value::as_u64).unwrap_or(4).min(128);
    events["partitionIds"] = (0..count).map(|id| id.to_string()).collect();
    events["path"] = json!(hub);
    events["endpoint"] = json!("sb://there-is-no-amqp.invalid/");
}

/// What a `PUT` must have right, routes apart.
pub(super) fn check(document: &Map<String, Value>, location: &str) -> Result<(), Failure> {
    let named = document.get("location").and_then(Value::as_str).unwrap_or_default();
    if !same_region(named, location) {
        let message = format!("the hub is in '{location}', not in '{named}', and cannot be moved");
        return Err(Failure { status: 409, code: "InvalidResourceLocation", message });
    }
    let sku = document.get("sku").and_then(|sku| sku.get("name")).and_then(Value::as_str);
    if !SKUS.iter().any(|row| Some(row.0) == sku) {
        let names: Vec<&str> = SKUS.iter().map(|row| row.0).collect();
        return Err(Failure::bad_request(format!("sku.name must be one of {}", names.join(", "))));
    }
    let capacity = document.get("sku").and_then(|sku| sku.get("capacity"));
    if capacity.is_some_and(|capacity| !matches!(capacity.as_u64(), Some(1..=200))) {
        return Err(Failure::bad_request("sku.capacity must be a number from 1 to 200"));
    }
    for (place, found) in [("tags", document.get("tags")), ("properties", document.get("properties"))] {
        if found.is_some_and(|found| !found.is_object()) {
            return Err(Failure::bad_request(format!("{place} must be an object")));
        }
    }
    check_shapes(document.get("properties"))
}

/// Parts that are shown with something filled in must be objects.
fn check_shapes(properties: Option<&Value>) -> Result<(), Failure> {
    let object = |path: &[&str]| {
        let found = path.iter().try_fold(properties?, |at, name| at.get(name));
        found.filter(|found| !found.is_object() && !found.is_null()).map(|_| path.join("."))
    };
    let paths: [&[&str]; 3] = [&["eventHubEndpoints"], &["eventHubEndpoints", "events"], &["routing"]];
    match paths.into_iter().find_map(object) {
        Some(path) => Err(Failure::bad_request(format!("properties.{path} must be an object"))),
        None => Ok(()),
    }
}

/// The routes of a document that is complete.
pub(super) fn compile(document: &Map<String, Value>, local: &[String]) -> Result<Table, Problem> {
    let sku = document.get("sku").and_then(|sku| sku.get("name")).and_then(Value::as_str).unwrap_or("S1");
    let routing = document.get("properties").and_then(|properties| properties.get("routing"));
    Table::compile(routing.unwrap_or(&Value::Null), local, Limits::of(sku))
}

pub(super) fn endpoint_names(document: &Map<String, Value>) -> Vec<String> {
    let endpoints = document.get("properties").and_then(|p| p.get("routing")).and_then(|r| r.get("endpoints"));
    let lists = endpoints.and_then(Value::as_object).into_iter().flat_map(Map::values);
    let named = lists.filter_map(Value::as_array).flatten();
    named.filter_map(|endpoint| endpoint.get("name")?.as_str().map(str::to_owned)).collect()
}

pub(super) fn daily_messages(document: &Map<String, Value>) -> u64 {
    let sku = document.get("sku").cloned().unwrap_or_default();
    let units = sku.get("capacity").and_then(Value::as_u64).unwrap_or(1);
    sku_row(&sku).2.saturating_mul(units)
}

fn sku_row(sku: &Value) -> (&'static str, &'static str, u64) {
    let name = sku.get("name").and_then(Value::as_str);
    SKUS.into_iter().find(|row| Some(row.0) == name).unwrap_or(SKUS[4])
}

/// Adds what is missing or null, at every depth.
fn merge_missing(into: &mut Value, defaults: &Value) {
    let (Value::Object(into), Value::Object(defaults)) = (into, defaults) else {
        return;
    };
    for (key, default) in defaults {
        let slot = into.entry(key.clone()).or_insert(Value::Null);
        if slot.is_null() {
            *slot = default.clone();
        } else {
            merge_missing(slot, default);
        }
    }
}
