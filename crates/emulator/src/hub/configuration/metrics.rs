//! Metrics of configurations: the queries that the hub makes up, and those that callers bring.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::super::query::Query;
use super::super::refusal::{Code, Refusal};
use super::condition;

/// Custom metrics of one configuration.
const CUSTOM_MAX: usize = 5;

/// Counts as of the last evaluation; empty before the first.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::hub) struct Results {
    pub(super) system: Map<String, Value>,
    pub(super) custom: Map<String, Value>,
}

/// The queries behind the system metrics.
pub(super) fn system_queries(id: &str, content: &Map<String, Value>, target_condition: &str) -> Map<String, Value> {
    let over_modules = content.contains_key("moduleContent");
    let condition = match condition::bare(target_condition, over_modules) {
        "" | "*" => None,
        other => Some(other),
    };
    if content.contains_key("modulesContent") {
        return edge_queries(id, condition);
    }
    let from = match over_modules {
        true => "select deviceId, moduleId from devices.modules",
        false => "select deviceId from devices",
    };
    let targeted = match condition {
        Some(condition) => format!("{from} where {condition}"),
        None => from.to_owned(),
    };
    let applied = format!("{from} where configurations.[[{id}]].status = 'Applied'");
    object(json!({"targetedCount": targeted, "appliedCount": applied}))
}

/// Checks custom queries: how many, and whether each is one.
pub(super) fn check_custom(queries: &Map<String, Value>) -> Result<(), Refusal> {
    let bad = |text: String| Refusal::new(Code::InvalidConfigurationCustomMetricsQuery, text);
    if queries.len() > CUSTOM_MAX {
        return Err(bad(format!("at most {CUSTOM_MAX} custom metrics")));
    }
    for (name, query) in queries {
        let text = query.as_str().ok_or_else(|| bad(format!("the metric '{name}' is not a text")))?;
        Query::parse(text).map_err(|e| bad(format!("the metric '{name}': {e}")))?;
    }
    Ok(())
}

/// Counts what each query finds. A query that does not parse is left out.
pub(in crate::hub) fn count(queries: &Map<String, Value>, mut rows: impl FnMut(&Query) -> usize) -> Map<String, Value> {
    let counted = queries.iter().filter_map(|(name, query)| {
        let query = Query::parse(query.as_str()?).ok()?;
        Some((name.clone(), Value::from(rows(&query))))
    });
    counted.collect()
}

fn edge_queries(id: &str, condition: Option<&str>) -> Map<String, Value> {
    let edge = "select deviceId from devices where capabilities.iotEdge = true";
    let targeted = match condition {
        // An OR must not reach beyond the condition.
        Some(condition) if has_or(condition) => format!("{edge} and ({condition})"),
        Some(condition) => format!("{edge} and {condition}"),
        None => edge.to_owned(),
    };
    let applied = format!(
        "select deviceId from devices.modules where moduleId = '$edgeAgent' and configurations.[[{id}]].status = 'Applied'"
    );
    let reported = format!(
        "{applied} and properties.desired.$version = properties.reported.lastDesiredVersion and properties.reported.lastDesiredStatus.code"
    );
    object(json!({
        "targetedCount": targeted,
        "appliedCount": applied,
        "reportedSuccessfulCount": format!("{reported} = 200"),
        "reportedFailedCount": format!("{reported} != 200"),
    }))
}

fn has_or(condition: &str) -> bool {
    condition.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word.eq_ignore_ascii_case("or"))
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}
