//! Every property that the published description of the service API gives our bodies is known to our types: it lands in a
//! field of its own, not among the unknown ones, and survives.

use std::path::Path;

use iotedge_ha_wire::bulk::{BulkError, BulkResult, BulkWarning, ImportEntry};
use iotedge_ha_wire::configuration::{Configuration, ConfigurationContent, ConfigurationMetrics};
use iotedge_ha_wire::identity::{Authentication, Capabilities, SymmetricKey, X509Thumbprint};
use iotedge_ha_wire::method::{MethodAnswer, MethodRequest};
use iotedge_ha_wire::query::QueryRequest;
use iotedge_ha_wire::statistics::{DeviceStatistics, ServiceStatistics};
use iotedge_ha_wire::twin::TwinProperties;
use iotedge_ha_wire::{Device, Map, Module, Twin};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

const SWAGGER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/azure/iothub-service-2021-04-12.json");

#[test]
fn every_property_is_known() {
    if !Path::new(SWAGGER).is_file() {
        println!("skipped: no description of the service API at {SWAGGER}");
        return;
    }
    let swagger = serde_json::from_slice(&std::fs::read(SWAGGER).unwrap()).unwrap();
    known::<Device>(&swagger, "Device", |it| Some(&it.other));
    known::<Module>(&swagger, "Module", |it| Some(&it.other));
    known::<Authentication>(&swagger, "AuthenticationMechanism", |it| Some(&it.other));
    known::<SymmetricKey>(&swagger, "SymmetricKey", |_| None);
    known::<X509Thumbprint>(&swagger, "X509Thumbprint", |_| None);
    known::<Capabilities>(&swagger, "DeviceCapabilities", |it| Some(&it.other));
    known::<Twin>(&swagger, "Twin", |it| Some(&it.other));
    known::<TwinProperties>(&swagger, "TwinProperties", |it| Some(&it.other));
    known::<Configuration>(&swagger, "Configuration", |it| Some(&it.other));
    known::<ConfigurationContent>(&swagger, "ConfigurationContent", |it| Some(&it.other));
    known::<ConfigurationMetrics>(&swagger, "ConfigurationMetrics", |_| None);
    known::<DeviceStatistics>(&swagger, "RegistryStatistics", |it| Some(&it.other));
    known::<ServiceStatistics>(&swagger, "ServiceStatistics", |it| Some(&it.other));
    known::<ImportEntry>(&swagger, "ExportImportDevice", |it| Some(&it.other));
    known::<BulkResult>(&swagger, "BulkRegistryOperationResult", |it| Some(&it.other));
    known::<BulkError>(&swagger, "DeviceRegistryOperationError", |it| Some(&it.other));
    known::<BulkWarning>(&swagger, "DeviceRegistryOperationWarning", |it| Some(&it.other));
    known::<QueryRequest>(&swagger, "QuerySpecification", |_| None);
    known::<MethodRequest>(&swagger, "CloudToDeviceMethod", |_| None);
    known::<MethodAnswer>(&swagger, "CloudToDeviceMethodResult", |_| None);
}

fn known<T: DeserializeOwned + Serialize>(swagger: &Value, name: &str, unknown: fn(&T) -> Option<&Map>) {
    let sample = sample(swagger, &swagger["definitions"][name], 0);
    let parsed: T = serde_json::from_value(sample.clone()).unwrap_or_else(|error| panic!("{name}: {error}: {sample}"));
    let unknown: Vec<_> = unknown(&parsed).into_iter().flat_map(Map::keys).collect();
    assert!(unknown.is_empty(), "{name} has no field for {unknown:?}");
    assert_eq!(serde_json::to_value(&parsed).unwrap(), sample, "{name}");
}

/// A body with every property present.
fn sample(swagger: &Value, schema: &Value, depth: usize) -> Value {
    if let Some(name) = schema["$ref"].as_str().and_then(|path| path.strip_prefix("#/definitions/")) {
        return sample(swagger, &swagger["definitions"][name], depth + 1);
    }
    if let Some(properties) = schema["properties"].as_object().filter(|_| depth < 8) {
        let filled = properties.iter().map(|(key, schema)| (key.clone(), sample(swagger, schema, depth + 1)));
        return Value::Object(filled.collect());
    }
    match (schema["type"].as_str(), schema["format"].as_str(), schema["enum"][0].as_str()) {
        (_, _, Some(first)) => json!(first),
        (_, Some("date-time"), _) => json!("2020-09-01T20:58:35.909741Z"),
        (Some("integer"), ..) => json!(7),
        (Some("boolean"), ..) => json!(true),
        (Some("array"), ..) => json!([sample(swagger, &schema["items"], depth + 1)]),
        (Some("string"), ..) => json!("text"),
        _ => json!({"key": 1}),
    }
}
