//! `POST /devices`: many registry operations in one call.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::body::{AuthenticationBody, Capabilities, DeviceBody, ModuleBody};
use super::expect::Expect;
use super::refusal::Refusal;
use super::{Hub, Id};

const ENTRIES_MAX: usize = 100;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    id: String,
    module_id: Option<String>,
    e_tag: Option<String>,
    import_mode: Option<String>,
    status: Option<String>,
    status_reason: Option<String>,
    authentication: Option<AuthenticationBody>,
    #[serde(rename = "twinETag")]
    twin_etag: Option<String>,
    tags: Option<Map<String, Value>>,
    properties: Option<Map<String, Value>>,
    capabilities: Option<Capabilities>,
    device_scope: Option<String>,
    parent_scopes: Option<Vec<String>>,
    managed_by: Option<String>,
}

/// The outcome of a bulk call: whether all went well, and the body to send either way.
#[derive(Debug, Clone)]
pub struct BulkOutcome {
    /// 200 when true, 400 otherwise.
    pub successful: bool,
    /// `{isSuccessful, errors, warnings}`
    pub body: Value,
}

impl Hub {
    /// Carries out each entry on its own; failures are listed, the rest is done.
    pub fn bulk(&mut self, body: &Value, now: Timestamp) -> Result<BulkOutcome, Refusal> {
        let entries = body.as_array().ok_or_else(|| Refusal::argument("an array is expected"))?;
        if entries.is_empty() || entries.len() > ENTRIES_MAX {
            return Err(Refusal::argument(format!("1 to {ENTRIES_MAX} entries")));
        }
        let parsed: Vec<Entry> = entries
            .iter()
            .map(|entry| Entry::deserialize(entry).map_err(|e| Refusal::argument(e.to_string())))
            .collect::<Result<_, _>>()?;
        let mut errors = Vec::new();
        for entry in &parsed {
            if let Err(refusal) = self.carry_out(entry, now) {
                errors.push(json!({
                    "deviceId": entry.id,
                    "moduleId": entry.module_id,
                    "errorCode": refusal.code.name(),
                    "errorStatus": refusal.text,
                }));
            }
        }
        let successful = errors.is_empty();
        Ok(BulkOutcome { successful, body: json!({"isSuccessful": successful, "errors": errors, "warnings": []}) })
    }

    fn carry_out(&mut self, entry: &Entry, now: Timestamp) -> Result<(), Refusal> {
        let mode = entry.import_mode.as_deref().unwrap_or("create");
        match mode.to_ascii_lowercase().as_str() {
            "create" => {
                self.bulk_put(entry, &Expect::Nothing, now)?;
                self.seed_twin(&entry.whole_id(), &entry.twin_body(), now)
            }
            "update" => self.bulk_put(entry, &Expect::Any, now),
            "updateifmatchetag" => self.bulk_put(entry, &tag(entry.e_tag.as_deref())?, now),
            "delete" => self.bulk_delete(entry, &Expect::Any, now),
            "deleteifmatchetag" => self.bulk_delete(entry, &tag(entry.e_tag.as_deref())?, now),
            "updatetwin" => self.bulk_twin(entry, &Expect::Any, now),
            "updatetwinifmatchetag" => self.bulk_twin(entry, &tag(entry.twin_etag.as_deref())?, now),
            _ => Err(Refusal::argument("unknown importMode")),
        }
    }

    fn bulk_put(&mut self, entry: &Entry, expect: &Expect, now: Timestamp) -> Result<(), Refusal> {
        if let Some(module) = &entry.module_id {
            let body = ModuleBody {
                module_id: None,
                device_id: None,
                managed_by: entry.managed_by.clone(),
                authentication: entry.authentication.clone(),
            };
            return self.put_module(&entry.id, module, &body, expect, now).map(|_| ());
        }
        let body = DeviceBody {
            device_id: None,
            status: entry.status.clone(),
            status_reason: entry.status_reason.clone(),
            authentication: entry.authentication.clone(),
            capabilities: entry.capabilities.clone(),
            device_scope: entry.device_scope.clone(),
            parent_scopes: entry.parent_scopes.clone(),
        };
        self.put_device(&entry.id, &body, expect, now).map(|_| ())
    }

    fn bulk_delete(&mut self, entry: &Entry, expect: &Expect, now: Timestamp) -> Result<(), Refusal> {
        match &entry.module_id {
            Some(module) => self.delete_module(&entry.id, module, expect, now),
            None => self.delete_device(&entry.id, expect, now),
        }
    }

    fn bulk_twin(&mut self, entry: &Entry, expect: &Expect, now: Timestamp) -> Result<(), Refusal> {
        if entry.tags.is_none() && entry.properties.is_none() {
            return Ok(());
        }
        self.patch_twin(&entry.whole_id(), &entry.twin_body(), expect, now).map(|_| ())
    }
}

impl Entry {
    fn whole_id(&self) -> Id {
        Id { device: self.id.clone(), module: self.module_id.clone() }
    }

    fn twin_body(&self) -> Value {
        json!({"tags": self.tags, "properties": self.properties})
    }
}

fn tag(etag: Option<&str>) -> Result<Expect, Refusal> {
    match Expect::parse(etag) {
        Expect::Nothing => Err(Refusal::argument("the etag is missing")),
        expect => Ok(expect),
    }
}
