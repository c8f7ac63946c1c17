//! What a caller asks a job to do.

use std::collections::{BTreeMap, VecDeque};

use ha_wire::method::MethodRequest;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::Value;

use super::super::query::Condition;
use super::super::refusal::Refusal;
use super::super::registry::check_device_id;
use super::{Job, State, Work};

/// How far ahead a job may be scheduled.
const AHEAD_MAX: SignedDuration = SignedDuration::from_hours(7 * 24);
/// What Azure's command line asks for when it is told nothing.
const EXECUTION_S_DEFAULT: i64 = 3600;
/// No job outlives its history.
const EXECUTION_S_MAX: i64 = 30 * 24 * 3600;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    job_id: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    query_condition: Option<String>,
    start_time: Option<String>,
    max_execution_time_in_seconds: Option<i64>,
    update_twin: Option<Value>,
    cloud_to_device_method: Option<Value>,
}

impl Job {
    pub(super) fn read(id: &str, body: &Value, now: Timestamp) -> Result<Self, Refusal> {
        check_device_id(id)?;
        let body = Body::deserialize(body).map_err(|e| Refusal::argument(e.to_string()))?;
        if body.job_id.as_deref().is_some_and(|named| named != id) {
            return Err(Refusal::argument("the body names another job"));
        }
        let condition = body.query_condition.as_deref().unwrap_or_default();
        Condition::parse(condition).map_err(|e| {
            let reason = format!("queryCondition: {e}; '*' means all devices");
            Refusal::argument("BadRequest").because(reason)
        })?;
        let max_s = body.max_execution_time_in_seconds.unwrap_or(EXECUTION_S_DEFAULT);
        if !(1..=EXECUTION_S_MAX).contains(&max_s) {
            return Err(Refusal::argument(format!("maxExecutionTimeInSeconds is 1 to {EXECUTION_S_MAX}")));
        }
        Ok(Self {
            work: body.work()?,
            condition: condition.to_owned(),
            created: now,
            start: start(body.start_time.as_deref(), now)?,
            max_s,
            state: State::Waiting,
            started: None,
            ended: None,
            tasks: BTreeMap::new(),
            waiting: VecDeque::new(),
            running: 0,
        })
    }
}

impl Body {
    fn work(&self) -> Result<Work, Refusal> {
        let kind = self.kind.as_deref().unwrap_or_default();
        if kind.eq_ignore_ascii_case(Work::UPDATE_TWIN) {
            let patch = self.update_twin.as_ref().filter(|patch| patch.is_object());
            let patch = patch.ok_or_else(|| Refusal::argument("updateTwin is missing"))?;
            return Ok(Work::UpdateTwin(patch.clone()));
        }
        if kind.eq_ignore_ascii_case(Work::DEVICE_METHOD) {
            let method = self.cloud_to_device_method.as_ref().filter(|method| method.is_object());
            let method = method.ok_or_else(|| Refusal::argument("cloudToDeviceMethod is missing"))?;
            let method = MethodRequest::deserialize(method).map_err(|e| Refusal::argument(e.to_string()))?;
            method.validate().map_err(|e| Refusal::argument(e.to_string()))?;
            return Ok(Work::DeviceMethod(method));
        }
        Err(Refusal::argument(format!("type is {} or {}", Work::UPDATE_TWIN, Work::DEVICE_METHOD)))
    }
}

/// Absent or past means now. .NET writes times without an offset.
fn start(text: Option<&str>, now: Timestamp) -> Result<Timestamp, Refusal> {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return Ok(now);
    };
    let parsed = text.parse().or_else(|_| format!("{text}Z").parse::<Timestamp>());
    let start = parsed.map_err(|_| Refusal::argument("startTime is no ISO 8601 time"))?;
    if start.duration_since(now) > AHEAD_MAX {
        return Err(Refusal::argument("startTime is at most 7 days ahead"));
    }
    Ok(start.max(now))
}
