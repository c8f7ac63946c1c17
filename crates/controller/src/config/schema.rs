//! The JSON Schema of the file, for editors and for the reference.

use super::file::RawFile;

/// The JSON Schema of the configuration file.
pub fn config_schema() -> serde_json::Value {
    schemars::schema_for!(RawFile).to_value()
}
