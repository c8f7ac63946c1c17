//! Configurations and edge deployments: stored and shown. Nothing evaluates their target conditions.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::expect::Expect;
use super::query::{self, Query};
use super::refusal::{Code, Refusal};
use super::registry::Shown;
use super::time;
use super::{Hub, Id};

const CONFIGURATIONS_MAX: usize = 100;

/// A stored configuration.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Configuration {
    labels: Value,
    content: Map<String, Value>,
    target_condition: String,
    created: Timestamp,
    updated: Timestamp,
    priority: i64,
    metrics: Map<String, Value>,
    revision: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    id: Option<String>,
    labels: Option<Map<String, Value>>,
    content: Option<Map<String, Value>>,
    target_condition: Option<String>,
    priority: Option<i64>,
    metrics: Option<Metrics>,
}

#[derive(Default, Deserialize)]
struct Metrics {
    queries: Option<Map<String, Value>>,
}

impl Hub {
    /// `PUT /configurations/{id}`: creates without `If-Match`, updates with a quoted one.
    pub fn put_configuration(
        &mut self,
        id: &str,
        body: Value,
        expect: &Expect,
        now: Timestamp,
    ) -> Result<Shown, Refusal> {
        check_id(id)?;
        let body: Body = serde_json::from_value(body).map_err(|e| Refusal::argument(e.to_string()))?;
        if body.id.as_deref().is_some_and(|named| named != id) {
            return Err(Refusal::argument("the body names another configuration"));
        }
        let content = check_content(body.content.as_ref())?.clone();
        let next = Configuration {
            labels: body.labels.clone().map_or_else(|| json!({}), Value::Object),
            content,
            target_condition: check_condition(body.target_condition.as_deref())?,
            created: now,
            updated: now,
            priority: body.priority.unwrap_or(0),
            metrics: body.metrics.unwrap_or_default().queries.unwrap_or_default(),
            revision: 1,
        };
        let stored = self.store_configuration(id, next, expect)?;
        let shown = stored.shown(id);
        self.revision += 1;
        Ok(shown)
    }

    /// `GET /configurations/{id}`
    pub fn configuration(&self, id: &str) -> Result<Shown, Refusal> {
        let configuration = self.configurations.get(id).ok_or_else(|| not_found(id))?;
        Ok(configuration.shown(id))
    }

    /// `GET /configurations`
    pub fn list_configurations(&self) -> Vec<Value> {
        let all = self.configurations.iter();
        all.map(|(id, c)| c.shown(id).body).collect()
    }

    /// `DELETE /configurations/{id}`
    pub fn delete_configuration(&mut self, id: &str, expect: &Expect) -> Result<(), Refusal> {
        let current = self.configurations.get(id).ok_or_else(|| not_found(id))?;
        if !expect.allows(&current.etag()) {
            return Err(Refusal::precondition());
        }
        self.configurations.remove(id);
        self.revision += 1;
        Ok(())
    }

    /// `POST /devices/{id}/applyConfigurationContent`: makes the modules and sets their desired properties.
    pub fn apply_content(&mut self, device: &str, body: &Value, now: Timestamp) -> Result<(), Refusal> {
        if !self.find(device)?.iot_edge {
            return Err(Refusal::argument("Not an Azure IoT Edge device"));
        }
        let content = body
            .get("modulesContent")
            .and_then(Value::as_object)
            .ok_or_else(|| Refusal::argument("modulesContent is missing"))?;
        let mut wanted = Vec::new();
        for (module, sections) in content {
            wanted.push((module.clone(), desired_of(sections)?));
        }
        for name in deployed_modules(content) {
            self.ensure_module(device, &name, now);
        }
        for (module, desired) in wanted {
            self.ensure_module(device, &module, now);
            self.impose_desired(&Id::module(device, module), desired, now)?;
        }
        Ok(())
    }

    /// `POST /configurations/testQueries`: what is wrong with a condition and with metric queries.
    pub fn test_queries(&self, body: &Value) -> Value {
        let condition = body.get("targetCondition").and_then(Value::as_str);
        let condition_error = condition.and_then(|text| match text.trim() {
            "*" => Some("'*' cannot be tested".to_owned()),
            text => query::check_condition(text).err().map(|e| e.to_string()),
        });
        let mut query_errors = Map::new();
        let queries = body.get("customMetricQueries").and_then(Value::as_object);
        for (name, query) in queries.into_iter().flatten() {
            let verdict = Query::parse(query.as_str().unwrap_or_default());
            if let Err(e) = verdict {
                query_errors.insert(name.clone(), e.to_string().into());
            }
        }
        json!({"targetConditionError": condition_error, "customMetricQueryErrors": query_errors})
    }

    fn store_configuration(
        &mut self,
        id: &str,
        mut next: Configuration,
        expect: &Expect,
    ) -> Result<&Configuration, Refusal> {
        let count = self.configurations.len();
        match (self.configurations.get(id), expect) {
            (None, Expect::Nothing) if count >= CONFIGURATIONS_MAX => {
                let text = format!("at most {CONFIGURATIONS_MAX} configurations");
                return Err(Refusal::new(Code::ConfigurationCountLimitExceeded, text));
            }
            (None, Expect::Nothing) => {}
            (None, _) => return Err(not_found(id)),
            (Some(_), Expect::Nothing | Expect::Etag { quoted: false, .. }) => {
                let text = format!("A configuration with ID '{id}' already exists.");
                return Err(Refusal::new(Code::ConfigurationAlreadyExists, text));
            }
            (Some(old), expect) => {
                if !expect.allows(&old.etag()) {
                    return Err(Refusal::precondition());
                }
                next.content = old.content.clone();
                next.created = old.created;
                next.revision = old.revision + 1;
            }
        }
        self.configurations.insert(id.to_owned(), next);
        self.configurations.get(id).ok_or_else(|| not_found(id))
    }
}

impl Configuration {
    fn etag(&self) -> String {
        STANDARD.encode(self.revision.to_string())
    }

    fn shown(&self, id: &str) -> Shown {
        let etag = self.etag();
        Shown {
            body: json!({
                "id": id,
                "schemaVersion": null,
                "labels": self.labels,
                "content": self.content,
                "targetCondition": self.target_condition,
                "createdTimeUtc": time::print(self.created),
                "lastUpdatedTimeUtc": time::print(self.updated),
                "priority": self.priority,
                "systemMetrics": {"results": {}, "queries": self.system_queries(id)},
                "metrics": {"results": {}, "queries": self.metrics},
                "etag": etag,
            }),
            etag,
        }
    }

    fn system_queries(&self, id: &str) -> Value {
        let condition = match self.target_condition.trim() {
            "" | "*" => None,
            other => Some(other),
        };
        if self.content.contains_key("modulesContent") {
            return edge_queries(id, condition);
        }
        let from = if self.content.contains_key("moduleContent") {
            "select deviceId, moduleId from devices.modules"
        } else {
            "select deviceId from devices"
        };
        let targeted = match condition {
            Some(condition) => format!("{from} where {condition}"),
            None => from.to_owned(),
        };
        json!({
            "targetedCount": targeted,
            "appliedCount": format!("{from} where configurations.[[{id}]].status = 'Applied'"),
        })
    }
}

fn edge_queries(id: &str, condition: Option<&str>) -> Value {
    let edge = "select deviceId from devices where capabilities.iotEdge = true";
    let targeted = match condition {
        Some(condition) => format!("{edge} and {condition}"),
        None => edge.to_owned(),
    };
    let applied = format!(
        "select deviceId from devices.modules where moduleId = '$edgeAgent' and configurations.[[{id}]].status = 'Applied'"
    );
    let reported = format!(
        "{applied} and properties.desired.$version = properties.reported.lastDesiredVersion and properties.reported.lastDesiredStatus.code"
    );
    json!({
        "targetedCount": targeted,
        "appliedCount": applied,
        "reportedSuccessfulCount": format!("{reported} = 200"),
        "reportedFailedCount": format!("{reported} != 200"),
    })
}

fn check_id(id: &str) -> Result<(), Refusal> {
    let fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-+%_*!'".contains(c);
    if id.is_empty() || id.len() > 128 || !id.chars().all(fine) {
        return Err(Refusal::argument("not a configuration id"));
    }
    Ok(())
}

fn check_condition(text: Option<&str>) -> Result<String, Refusal> {
    let text = text.unwrap_or_default();
    if text.trim().is_empty() {
        return Ok(text.to_owned());
    }
    match query::check_condition(text) {
        Ok(()) => Ok(text.to_owned()),
        Err(e) => Err(Refusal::new(Code::InvalidConfigurationTargetCondition, e.to_string())),
    }
}

fn check_content(content: Option<&Map<String, Value>>) -> Result<&Map<String, Value>, Refusal> {
    let bad = |text: &str| Refusal::new(Code::InvalidConfigurationContent, text);
    let content = content.ok_or_else(|| bad("content is missing"))?;
    let present = |name: &&str| content.get(*name).is_some_and(Value::is_object);
    let kinds = ["deviceContent", "moduleContent", "modulesContent"];
    if kinds.iter().filter(|name| present(name)).count() != 1 {
        return Err(bad("content holds exactly one of deviceContent, moduleContent, modulesContent"));
    }
    let edge = content.get("modulesContent");
    if edge.is_some_and(|modules| modules.get("$edgeAgent").is_none()) {
        return Err(bad("modulesContent must have $edgeAgent"));
    }
    Ok(content)
}

/// `properties.desired` whole, or keys `properties.desired.a.b` one by one.
fn desired_of(sections: &Value) -> Result<Map<String, Value>, Refusal> {
    let bad = || Refusal::argument("a module's content has keys properties.desired…");
    let mut desired = Map::new();
    for (key, value) in sections.as_object().ok_or_else(bad)? {
        let path = key.strip_prefix("properties.desired").ok_or_else(bad)?;
        let names = path.split('.').filter(|name| !name.is_empty());
        let wrapped = names.rev().fold(value.clone(), |inner, name| json!({ name: inner }));
        let Value::Object(patch) = wrapped else {
            return Err(bad());
        };
        ha_wire::twin::merge(&mut desired, &patch);
    }
    Ok(desired)
}

/// Names of the modules that `$edgeAgent` is told to run.
fn deployed_modules(content: &Map<String, Value>) -> Vec<String> {
    let agent = content.get("$edgeAgent").map(desired_of);
    let Some(Ok(desired)) = agent else {
        return Vec::new();
    };
    let modules = desired.get("modules").and_then(Value::as_object);
    modules.map_or_else(Vec::new, |m| m.keys().cloned().collect())
}

fn not_found(id: &str) -> Refusal {
    Refusal::new(Code::ConfigurationNotFound, id)
}
