//! Configurations and edge deployments: stored, shown, tested, and applied to one device on request. What happens to the
//! devices that a target condition chooses is in [`evaluation`](super::evaluation).

mod condition;
mod content;
mod metrics;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

pub(super) use condition::Target;
pub(super) use content::{Claim, Content, module_names, settle};

use self::metrics::Results;
use super::evaluation::Rule;
use super::expect::Expect;
use super::limits;
use super::query::Query;
use super::refusal::{Code, Refusal};
use super::registry::Shown;
use super::time;
use super::{Hub, Id};

/// A stored configuration.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Configuration {
    labels: Map<String, Value>,
    content: Map<String, Value>,
    target_condition: String,
    created: Timestamp,
    updated: Timestamp,
    priority: i64,
    metrics: Map<String, Value>,
    revision: u64,
    #[serde(default)]
    results: Results,
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
        let missing = || Refusal::new(Code::InvalidConfigurationContent, "content is missing");
        let content = body.content.ok_or_else(missing)?;
        let target_condition = body.target_condition.unwrap_or_default();
        let fresh = Content::read(&content)?;
        // The stored content stays, so the condition has to suit that one.
        let stored = self.configurations.get(id).and_then(|old| Content::read(&old.content).ok());
        check_condition(&target_condition, &stored.unwrap_or(fresh))?;
        let metrics = body.metrics.unwrap_or_default().queries.unwrap_or_default();
        metrics::check_custom(&metrics)?;
        let priority = body.priority.unwrap_or(0);
        if priority < 0 {
            return Err(Refusal::argument("priority is not negative"));
        }
        let next = Configuration {
            labels: check_labels(body.labels)?,
            content,
            target_condition,
            created: now,
            updated: now,
            priority,
            metrics,
            revision: 1,
            results: Results::default(),
        };
        let shown = self.store_configuration(id, next, expect)?;
        self.revision += 1;
        self.evaluation_due = true;
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
        self.evaluation_due = true;
        Ok(())
    }

    /// `POST /devices/{id}/applyConfigurationContent`: makes the modules and sets their desired properties. What the
    /// content names counts as written even where it changes nothing.
    pub fn apply_content(&mut self, device: &str, body: &Value, now: Timestamp) -> Result<(), Refusal> {
        if !self.find(device)?.iot_edge {
            return Err(Refusal::argument("Not an Azure IoT Edge device"));
        }
        let missing = || Refusal::new(Code::InvalidConfigurationContent, "modulesContent is missing");
        let modules = content::edge(body.get("modulesContent").ok_or_else(missing)?)?;
        let mut sections = Vec::new();
        for (module, claims) in &modules {
            let section = settle(&Map::new(), claims);
            limits::check_size(&section, limits::PROPERTIES_CHARS_MAX).map_err(|violation| {
                Refusal::new(Code::InvalidConfigurationContent, format!("'{module}': {violation}"))
            })?;
            sections.push((Id::module(device, module), section));
        }
        self.make_modules(device, &module_names(&modules), now)?;
        for (id, section) in sections {
            self.impose_desired(&id, section, now)?;
        }
        Ok(())
    }

    /// `POST /configurations/testQueries`: what is wrong with a condition and with metric queries.
    pub fn test_queries(&self, body: &Value) -> Value {
        let condition = body.get("targetCondition").and_then(Value::as_str);
        let condition_error = condition.and_then(test_condition);
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

    fn store_configuration(&mut self, id: &str, mut next: Configuration, expect: &Expect) -> Result<Shown, Refusal> {
        let (count, most) = (self.configurations.len(), self.settings.configurations_max);
        match (self.configurations.get(id), expect) {
            (None, Expect::Nothing) if count >= most => {
                let text = format!("a hub of this size has at most {most} configurations");
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
                next.results = old.results.clone();
            }
        }
        let shown = next.shown(id);
        self.configurations.insert(id.to_owned(), next);
        Ok(shown)
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
                "systemMetrics": {
                    "results": self.results.system,
                    "queries": metrics::system_queries(id, &self.content, &self.target_condition),
                },
                "metrics": {"results": self.results.custom, "queries": self.metrics},
                "etag": etag,
            }),
            etag,
        }
    }

    /// What evaluation goes by; `None` for what an older version stored and this one cannot read.
    pub(super) fn rule<'a>(&self, id: &'a str) -> Option<Rule<'a>> {
        let content = Content::read(&self.content).ok()?;
        let over_modules = matches!(content, Content::Module(_));
        let target = Target::parse(&self.target_condition, over_modules).ok()?;
        Some(Rule { id, priority: self.priority, created: self.created, target, content })
    }

    /// Counts anew; `rows` finds how many rows a query admits. Whether anything changed.
    pub(super) fn refresh_metrics(&mut self, id: &str, mut rows: impl FnMut(&Query) -> usize) -> bool {
        let system = metrics::system_queries(id, &self.content, &self.target_condition);
        let system = match self.target_condition.trim() {
            "" => system.keys().map(|name| (name.clone(), 0.into())).collect(),
            _ => metrics::count(&system, &mut rows),
        };
        let fresh = Results { system, custom: metrics::count(&self.metrics, rows) };
        let changed = fresh != self.results;
        self.results = fresh;
        changed
    }
}

fn check_id(id: &str) -> Result<(), Refusal> {
    let fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-+%_*!'".contains(c);
    if id.is_empty() || id.len() > 128 || !id.chars().all(fine) {
        return Err(Refusal::argument("not a configuration id"));
    }
    Ok(())
}

fn check_labels(labels: Option<Map<String, Value>>) -> Result<Map<String, Value>, Refusal> {
    let labels = labels.unwrap_or_default();
    match labels.values().all(Value::is_string) {
        true => Ok(labels),
        false => Err(Refusal::argument("labels are texts")),
    }
}

fn check_condition(text: &str, content: &Content) -> Result<(), Refusal> {
    let over_modules = matches!(content, Content::Module(_));
    let parsed = Target::parse(text, over_modules);
    parsed.map(|_| ()).map_err(|e| Refusal::new(Code::InvalidConfigurationTargetCondition, e.to_string()))
}

/// A condition for testing may be over devices or over modules.
fn test_condition(text: &str) -> Option<String> {
    if text.trim() == "*" {
        return Some("'*' cannot be tested".to_owned());
    }
    let over_devices = Target::parse(text, false);
    over_devices.or_else(|e| Target::parse(text, true).map_err(|_| e)).err().map(|e| e.to_string())
}

fn not_found(id: &str) -> Refusal {
    Refusal::new(Code::ConfigurationNotFound, id)
}
