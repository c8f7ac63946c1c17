//! The document of a hub: what a new one holds, what is filled in, what is checked.

use std::ops::RangeInclusive;

use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp};
use serde::Deserialize as _;
use serde_json::{Map, Value, json};

use super::control_plane::same_region;
use super::failure::Failure;
use crate::hub::print_time;
use crate::throttle::{Size, Sku};
use crate::uploads::{Destination, is_container};

/// How long a cloud-to-device message may be told to wait.
const MESSAGE_TTL: RangeInclusive<SignedDuration> = SignedDuration::from_mins(1)..=SignedDuration::from_hours(48);
/// How long a signature for an upload may be good for.
const UPLOAD_TTL: RangeInclusive<SignedDuration> = SignedDuration::from_mins(1)..=SignedDuration::from_hours(24);

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

/// No more of a document than its routes.
pub(super) fn with_routing(routing: Value) -> Map<String, Value> {
    let properties = json!({"routing": routing});
    std::iter::once(("properties".to_owned(), properties)).collect()
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
    let size = size(document).unwrap_or_default();
    set_size(document, size);
}

/// How large the document says the hub is.
pub(super) fn size(document: &Map<String, Value>) -> Result<Size, Failure> {
    let sku = document.get("sku").and_then(|sku| sku.get("name")).cloned().unwrap_or_default();
    let names = || format!("sku.name must be one of {}", Sku::ALL.map(Sku::name).join(", "));
    let sku = Sku::deserialize(sku).map_err(|_| Failure::bad_request(names()))?;
    let units = match document.get("sku").and_then(|sku| sku.get("capacity")) {
        None | Some(Value::Null) => Some(1),
        Some(capacity) => capacity.as_u64(),
    };
    let size = Size { sku, units: units.unwrap_or(0) };
    size.check().map_err(|reason| Failure::bad_request(format!("sku.capacity: {reason}")))?;
    Ok(size)
}

pub(super) fn set_size(document: &mut Map<String, Value>, Size { sku, units }: Size) {
    document.insert("sku".into(), json!({"name": sku.name(), "tier": sku.tier(), "capacity": units}));
}

/// A property that is true or not; absent means not.
pub(super) fn flag(document: &Map<String, Value>, name: &str) -> Result<bool, Failure> {
    match document.get("properties").and_then(|properties| properties.get(name)) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(_) => Err(Failure::bad_request(format!("properties.{name} must be true or false"))),
    }
}

/// How cloud-to-device messages wait.
#[derive(Debug, Clone, Copy)]
pub(super) struct Messages {
    pub(super) ttl: SignedDuration,
    pub(super) deliveries_max: u32,
}

/// `properties.cloudToDevice` of a document that is complete.
pub(super) fn messages(document: &Map<String, Value>) -> Result<Messages, Failure> {
    let property = |name| {
        let found = document.get("properties").and_then(|properties| properties.get("cloudToDevice"));
        found.and_then(|found| found.get(name)).unwrap_or(&Value::Null)
    };
    let refused = |reason: &str| Failure::bad_request(format!("properties.cloudToDevice.{reason}"));
    let ttl = duration(property("defaultTtlAsIso8601"), &MESSAGE_TTL);
    let wanted = "defaultTtlAsIso8601 must be a duration of 1 minute to 2 days, such as \"PT1H\"";
    let count = property("maxDeliveryCount").as_u64().filter(|count| (1..=100).contains(count));
    let count = count.ok_or_else(|| refused("maxDeliveryCount must be a number from 1 to 100"))?;
    Ok(Messages { ttl: ttl.ok_or_else(|| refused(wanted))?, deliveries_max: u32::try_from(count).unwrap_or(u32::MAX) })
}

/// Where devices upload files to, by `properties.storageEndpoints`; nowhere while no container is named.
pub(super) fn uploads(document: &Map<String, Value>) -> Result<Option<Destination>, Failure> {
    let found = document.get("properties").and_then(|properties| properties.get("storageEndpoints"));
    let property = |name| found.and_then(|found| found.get("$default")?.get(name)).unwrap_or(&Value::Null);
    let refused = |reason: &str| Failure::bad_request(format!("properties.storageEndpoints.$default.{reason}"));
    let container = property("containerName").as_str().unwrap_or_default();
    if container.is_empty() {
        return Ok(None);
    }
    if !is_container(container) {
        return Err(refused("containerName must have 3 to 63 lower-case letters, digits and hyphens"));
    }
    let ttl = duration(property("sasTtlAsIso8601"), &UPLOAD_TTL);
    let ttl =
        ttl.ok_or_else(|| refused("sasTtlAsIso8601 must be a duration of 1 minute to 1 day, such as \"PT1H\""))?;
    Ok(Some(Destination { container: container.to_owned(), ttl }))
}

/// A duration of ISO 8601 within bounds.
fn duration(text: &Value, bounds: &RangeInclusive<SignedDuration>) -> Option<SignedDuration> {
    let span = text.as_str()?.parse::<Span>().ok()?;
    let duration = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
    bounds.contains(&duration).then_some(duration)
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
    size(document)?;
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
    let paths: [&[&str]; 6] = [
        &["eventHubEndpoints"],
        &["eventHubEndpoints", "events"],
        &["routing"],
        &["cloudToDevice"],
        &["storageEndpoints"],
        &["storageEndpoints", "$default"],
    ];
    match paths.into_iter().find_map(object) {
        Some(path) => Err(Failure::bad_request(format!("properties.{path} must be an object"))),
        None => Ok(()),
    }
}

pub(super) fn endpoint_names(document: &Map<String, Value>) -> Vec<String> {
    let endpoints = document.get("properties").and_then(|p| p.get("routing")).and_then(|r| r.get("endpoints"));
    let lists = endpoints.and_then(Value::as_object).into_iter().flat_map(Map::values);
    let named = lists.filter_map(Value::as_array).flatten();
    named.filter_map(|endpoint| endpoint.get("name")?.as_str().map(str::to_owned)).collect()
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
