//! Every body recorded from a real hub parses, and comes back without losing a field.

use std::path::Path;

use iotedge_ha_wire::bulk::{BulkResult, ImportEntry};
use iotedge_ha_wire::configuration::Configuration;
use iotedge_ha_wire::statistics::{DeviceStatistics, ServiceStatistics};
use iotedge_ha_wire::twin::TwinPatch;
use iotedge_ha_wire::{Device, ErrorCode, HubError, Module, Twin};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

const RECORDINGS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/azure/service-recordings");

#[test]
fn answers_survive_a_round_trip() {
    let mut answers = 0;
    for entry in entries() {
        let body = json_of(&entry["ResponseBody"]);
        if entry["StatusCode"] == 200 {
            check_answer(&entry, &body);
            answers += 1;
        }
    }
    assert!(answers == 0 || answers > 80, "only {answers} answers were checked");
}

#[test]
fn refusals_are_understood() {
    for entry in entries().iter().filter(|entry| entry["StatusCode"] == 412) {
        let body = json_of(&entry["ResponseBody"]).to_string();
        let header = entry["ResponseHeaders"]["iothub-errorcode"].as_str();
        let with_header = HubError::decode(header, body.as_bytes());
        let without = HubError::decode(None, body.as_bytes());
        assert_eq!(with_header.code, Some(ErrorCode::PreconditionFailed), "{body}");
        assert_eq!(without.code, Some(ErrorCode::PreconditionFailed), "{body}");
        assert!(without.tracking_id.is_some(), "{body}");
    }
}

#[test]
fn requests_are_understood() {
    for entry in entries() {
        let body = json_of(&entry["RequestBody"]);
        let segments = segments(&entry);
        match (entry["RequestMethod"].as_str().unwrap(), segments.as_slice()) {
            ("POST", ["devices"]) => drop(serde_json::from_value::<Vec<ImportEntry>>(body).unwrap()),
            ("PUT", ["devices", _]) => drop(serde_json::from_value::<Device>(body).unwrap()),
            ("PUT", ["devices", _, "modules", _]) => drop(serde_json::from_value::<Module>(body).unwrap()),
            ("PUT", ["configurations", _]) => drop(serde_json::from_value::<Configuration>(body).unwrap()),
            ("PATCH", _) => drop(serde_json::from_value::<TwinPatch>(body).unwrap()),
            _ => {}
        }
    }
}

fn check_answer(entry: &Value, body: &Value) {
    let method = entry["RequestMethod"].as_str().unwrap();
    match (method, segments(entry).as_slice()) {
        ("POST", ["devices"]) => survives::<BulkResult>(body),
        ("POST", ["devices", "query"]) => survives::<Vec<Twin>>(body),
        (_, ["devices", _]) => survives::<Device>(body),
        (_, ["devices", _, "modules"]) => survives::<Vec<Module>>(body),
        (_, ["devices", _, "modules", _]) => survives::<Module>(body),
        (_, ["twins", ..]) => survives::<Twin>(body),
        (_, ["configurations"]) => survives::<Vec<Configuration>>(body),
        (_, ["configurations", _]) => survives::<Configuration>(body),
        (_, ["statistics", "devices"]) => survives::<DeviceStatistics>(body),
        (_, ["statistics", "service"]) => survives::<ServiceStatistics>(body),
        (_, other) => panic!("no type for {method} {other:?}"),
    }
}

fn survives<T: DeserializeOwned + Serialize>(body: &Value) {
    let parsed: T = serde_json::from_value(body.clone()).unwrap_or_else(|error| panic!("{error}: {body}"));
    assert_eq!(serde_json::to_value(&parsed).unwrap(), *body);
}

fn entries() -> Vec<Value> {
    if !Path::new(RECORDINGS).is_dir() {
        println!("skipped: no recordings at {RECORDINGS}");
        return Vec::new();
    }
    let files = std::fs::read_dir(RECORDINGS).unwrap().map(|entry| std::fs::read(entry.unwrap().path()).unwrap());
    let recordings = files.map(|text| serde_json::from_slice::<Value>(&text).unwrap());
    recordings.flat_map(|recording| recording["Entries"].as_array().unwrap().clone()).collect()
}

fn segments(entry: &Value) -> Vec<&str> {
    let uri = entry["RequestUri"].as_str().unwrap();
    let path = uri.split_once(".net/").unwrap().1.split('?').next().unwrap();
    path.trim_end_matches('/').split('/').collect()
}

/// Arrays were recorded as texts.
fn json_of(body: &Value) -> Value {
    match body {
        Value::String(text) => serde_json::from_str(text).unwrap_or(Value::Null),
        other => other.clone(),
    }
}
