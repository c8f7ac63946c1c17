//! `POST /devices`: many registry operations in one call.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::body::{AuthenticationBody, Capabilities, DeviceBody, ModuleBody};
use super::expect::Expect;
use super::refusal::{Code, Refusal};
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

/// What is to be done to an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Create,
    CreateOrUpdate,
    Update,
    UpdateIfMatchEtag,
    Delete,
    DeleteIfMatchEtag,
    UpdateTwin,
    UpdateTwinIfMatchEtag,
}

/// An entry that was carried out, but not all of it.
type Warning = Option<Refusal>;

impl Hub {
    /// Carries out each entry on its own; failures are listed, the rest is done.
    pub fn bulk(&mut self, body: &Value, now: Timestamp) -> Result<BulkOutcome, Refusal> {
        let entries = read(body)?;
        let mut seen = BTreeSet::new();
        let twice: Vec<_> = entries.iter().filter(|(entry, _)| !seen.insert(entry.whole_id())).collect();
        if !twice.is_empty() {
            let refusal = Refusal::new(Code::DeviceDefinedMultipleTimes, "an identity stands in the list twice");
            let errors = twice.into_iter().map(|(entry, mode)| entry.error(*mode, &refusal)).collect();
            return Ok(BulkOutcome::new(errors, Vec::new()));
        }
        let (mut errors, mut warnings) = (Vec::new(), Vec::new());
        for (entry, mode) in &entries {
            match self.carry_out(entry, *mode, now) {
                Ok(warning) => warnings.extend(warning.map(|refusal| entry.warning(&refusal))),
                Err(refusal) => errors.push(entry.error(*mode, &self.plainly(entry, refusal))),
            }
        }
        Ok(BulkOutcome::new(errors, warnings))
    }

    fn carry_out(&mut self, entry: &Entry, mode: Mode, now: Timestamp) -> Result<Warning, Refusal> {
        let done = match mode {
            Mode::Create => return self.bulk_create(entry, now),
            Mode::CreateOrUpdate if !self.exists(&entry.whole_id()) => return self.bulk_create(entry, now),
            Mode::CreateOrUpdate | Mode::Update => self.bulk_put(entry, &Expect::Any, now),
            Mode::UpdateIfMatchEtag => self.bulk_put(entry, &tag(entry.e_tag.as_deref())?, now),
            Mode::Delete => self.bulk_delete(entry, &Expect::Any, now),
            Mode::DeleteIfMatchEtag => self.bulk_delete(entry, &tag(entry.e_tag.as_deref())?, now),
            Mode::UpdateTwin => self.bulk_twin(entry, &Expect::Any, now),
            Mode::UpdateTwinIfMatchEtag => self.bulk_twin(entry, &tag(entry.twin_etag.as_deref())?, now),
        };
        done.map(|()| None)
    }

    /// An identity whose twin is refused is there all the same.
    fn bulk_create(&mut self, entry: &Entry, now: Timestamp) -> Result<Warning, Refusal> {
        self.bulk_put(entry, &Expect::Nothing, now)?;
        Ok(self.seed_twin(&entry.whole_id(), &entry.twin_body(), now).err())
    }

    /// A list says which device is missing; only calls on single modules call that unauthorised.
    fn plainly(&self, entry: &Entry, refusal: Refusal) -> Refusal {
        let missing = !self.exists(&Id::device(&entry.id));
        match refusal.code {
            Code::IotHubUnauthorizedAccess if missing => Refusal::device_not_found(&entry.id),
            _ => refusal,
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

fn read(body: &Value) -> Result<Vec<(Entry, Mode)>, Refusal> {
    let entries = body.as_array().ok_or_else(|| Refusal::argument("an array is expected"))?;
    if entries.is_empty() {
        return Err(Refusal::argument("the list is empty"));
    }
    if entries.len() > ENTRIES_MAX {
        return Err(Refusal::new(Code::TooManyDevices, format!("at most {ENTRIES_MAX} entries")));
    }
    let read = |(number, entry): (usize, &Value)| {
        let place = |reason: String| Refusal::argument(format!("entry {number}: {reason}"));
        let entry = Entry::deserialize(entry).map_err(|e| place(e.to_string()))?;
        let mode = entry.import_mode.as_deref().map_or(Some(Mode::CreateOrUpdate), Mode::parse);
        let mode = mode.ok_or_else(|| place("unknown importMode".to_owned()))?;
        Ok((entry, mode))
    };
    entries.iter().enumerate().map(read).collect()
}

impl BulkOutcome {
    fn new(errors: Vec<Value>, warnings: Vec<Value>) -> Self {
        let successful = errors.is_empty();
        Self { successful, body: json!({"isSuccessful": successful, "errors": errors, "warnings": warnings}) }
    }
}

impl Mode {
    const NAMES: [(Self, &str); 8] = [
        (Self::Create, "create"),
        (Self::CreateOrUpdate, "createOrUpdate"),
        (Self::Update, "update"),
        (Self::UpdateIfMatchEtag, "updateIfMatchETag"),
        (Self::Delete, "delete"),
        (Self::DeleteIfMatchEtag, "deleteIfMatchETag"),
        (Self::UpdateTwin, "updateTwin"),
        (Self::UpdateTwinIfMatchEtag, "updateTwinIfMatchETag"),
    ];

    fn parse(text: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(_, name)| name.eq_ignore_ascii_case(text)).map(|(mode, _)| *mode)
    }

    fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(mode, _)| *mode == self).map_or("", |(_, name)| name)
    }
}

impl Entry {
    fn error(&self, mode: Mode, refusal: &Refusal) -> Value {
        let mut out = json!({"deviceId": self.id});
        if let Some(module) = &self.module_id {
            out["moduleId"] = json!(module);
        }
        out["errorCode"] = json!(refusal.code.name());
        out["errorStatus"] = json!(refusal.text);
        out["operation"] = json!(mode.name());
        out
    }

    fn warning(&self, refusal: &Refusal) -> Value {
        json!({"deviceId": self.id, "warningCode": "DeviceRegisteredWithoutTwin", "warningStatus": refusal.text})
    }

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

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::super::{DeviceBody, Dice};
    use super::*;

    fn at() -> Timestamp {
        Timestamp::from_second(1_700_000_000).expect("a time")
    }

    /// With a device `old` and its module `m`.
    fn hub() -> Hub {
        let mut hub = Hub::new(Dice::new([5; 32]), SignedDuration::ZERO);
        hub.put_device("old", &DeviceBody::default(), &Expect::Nothing, at()).expect("made");
        hub.put_module("old", "m", &ModuleBody::default(), &Expect::Nothing, at()).expect("made");
        hub
    }

    fn bulk(hub: &mut Hub, entries: Value) -> Value {
        let outcome = hub.bulk(&entries, at()).expect("read");
        assert_eq!(outcome.body["isSuccessful"], outcome.successful);
        outcome.body
    }

    fn verdict(mut entry: Value, mode: &str) -> String {
        entry["importMode"] = json!(mode);
        let body = bulk(&mut hub(), json!([entry]));
        body["errors"][0]["errorCode"].as_str().unwrap_or("done").to_owned()
    }

    #[test]
    fn modes_by_table() {
        let hub = hub();
        let etags = |etag: &str| json!({"id": "old", "eTag": etag, "twinETag": etag, "tags": {"a": 1}});
        let (etag, twin_etag) = (hub.device("old").expect("there").etag, "AAAAAAAAAAE=");
        let (old, new) = (json!({"id": "old", "tags": {"a": 1}}), json!({"id": "new", "tags": {"a": 1}}));
        let (m, n) = (json!({"id": "old", "moduleId": "m"}), json!({"id": "old", "moduleId": "n"}));
        let stray = json!({"id": "new", "moduleId": "m"});
        for (mode, entry, code) in [
            ("create", &new, "done"),
            ("CREATE", &n, "done"),
            ("create", &old, "DeviceAlreadyExists"),
            ("create", &m, "ModuleAlreadyExistsOnDevice"),
            ("create", &stray, "DeviceNotFound"),
            ("createOrUpdate", &new, "done"),
            ("createOrUpdate", &old, "done"),
            ("Update", &old, "done"),
            ("update", &m, "done"),
            ("update", &new, "DeviceNotFound"),
            ("update", &n, "ModuleNotFound"),
            ("updateIfMatchETag", &etags(&etag), "done"),
            ("updateifmatchetag", &etags("b2xk"), "PreconditionFailed"),
            ("updateIfMatchETag", &old, "ArgumentInvalid"),
            ("delete", &etags("b2xk"), "done"),
            ("delete", &m, "done"),
            ("delete", &new, "DeviceNotFound"),
            ("delete", &n, "ModuleNotFound"),
            ("DeleteIfMatchETag", &etags(&etag), "done"),
            ("deleteIfMatchETag", &etags("b2xk"), "PreconditionFailed"),
            ("updateTwin", &old, "done"),
            ("updateTwin", &new, "DeviceNotFound"),
            ("updateTwinIfMatchETag", &etags(twin_etag), "done"),
            ("updateTwinIfMatchETag", &etags("AAAAAAAAAAk="), "PreconditionFailed"),
        ] {
            assert_eq!(verdict(entry.clone(), mode), code, "{mode} {entry}");
        }
    }

    #[test]
    fn each_entry_fares_by_itself() {
        let mut hub = hub();
        let body = bulk(
            &mut hub,
            json!([{"id": "a", "importMode": "create", "tags": {"x": 1}}, {"id": "gone", "moduleId": "m", "importMode": "delete"},
                {"id": "a", "moduleId": "n", "importMode": "create"}, {"id": "old", "moduleId": "zz", "importMode": "updateTwin", "tags": {"y": 1}}]),
        );
        assert_eq!(
            body,
            json!({"isSuccessful": false, "warnings": [], "errors": [
                {"deviceId": "gone", "moduleId": "m", "errorCode": "DeviceNotFound", "errorStatus": "gone", "operation": "delete"},
                {"deviceId": "old", "moduleId": "zz", "errorCode": "DeviceNotFound", "errorStatus": "old", "operation": "updateTwin"}]})
        );
        assert_eq!(hub.twin(&Id::device("a")).expect("made")["tags"], json!({"x": 1}));
        assert!(hub.exists(&Id::module("a", "n")));
    }

    #[test]
    fn a_device_without_its_twin_is_a_warning() {
        let mut hub = hub();
        let body = bulk(&mut hub, json!([{"id": "a", "importMode": "create", "tags": {"b.c": 1}}]));
        assert_eq!((&body["isSuccessful"], &body["errors"]), (&json!(true), &json!([])));
        assert_eq!(body["warnings"][0]["warningCode"], "DeviceRegisteredWithoutTwin");
        assert!(hub.exists(&Id::device("a")));
    }

    #[test]
    fn an_identity_stands_once_or_nothing_is_done() {
        let mut hub = hub();
        let entry = |id: &str| json!({"id": id, "importMode": "create"});
        let body = bulk(&mut hub, json!([entry("a"), entry("b"), entry("a")]));
        let error = &body["errors"][0];
        assert_eq!((&error["deviceId"], &error["errorCode"]), (&json!("a"), &json!("DeviceDefinedMultipleTimes")));
        assert!(!hub.exists(&Id::device("b")));
    }

    #[test]
    fn lists_that_cannot_be_read_are_refused_whole() {
        let many = |count: usize| Value::from_iter((0..count).map(|n| json!({"id": format!("d{n}")})));
        let code = |body: Value| hub().bulk(&body, at()).map_err(|refusal| refusal.code);
        for body in [json!({}), json!([]), json!([{}]), json!([{"id": "a", "importMode": "upsert"}]), json!([1])] {
            assert_eq!(code(body).expect_err("refused"), Code::ArgumentInvalid);
        }
        assert_eq!(code(many(101)).expect_err("refused"), Code::TooManyDevices);
        assert!(code(many(100)).expect("read").successful);
    }
}
