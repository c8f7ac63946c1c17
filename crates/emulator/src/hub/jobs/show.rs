//! Jobs as the API shows them.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::time;
use super::{Job, State, Task, TaskState, Work};

/// "Not yet", as the hub writes it.
const NOT_YET: &str = "9999-12-31T23:59:59.9999999Z";

/// A job that nobody knows.
pub(super) fn unknown(id: &str) -> Value {
    json!({"jobId": id, "type": "unknown", "status": "unknown"})
}

impl Job {
    /// The job as `/jobs/v2/{id}` shows it.
    pub(super) fn show(&self, id: &str, now: Timestamp) -> Value {
        let mut out = json!({
            "jobId": id,
            "queryCondition": self.condition,
            "createdTime": time::print(self.created),
            "startTime": time::print(self.start),
            "endTime": self.ended.map_or_else(|| NOT_YET.to_owned(), time::print),
            "maxExecutionTimeInSeconds": self.max_s,
            "type": self.work.kind(),
        });
        let (name, work) = match &self.work {
            Work::UpdateTwin(patch) => ("updateTwin", patch.clone()),
            Work::DeviceMethod(method) => ("cloudToDeviceMethod", json!(method)),
        };
        out[name] = work;
        out["status"] = json!(self.status(now));
        if self.started.is_some() {
            out["deviceJobStatistics"] = self.statistics();
        }
        out
    }

    pub(super) fn status(&self, now: Timestamp) -> &'static str {
        match self.state {
            State::Waiting if self.start > now => "scheduled",
            State::Waiting => "queued",
            State::Running => "running",
            State::Completed => "completed",
            State::Cancelled => "cancelled",
        }
    }

    /// A row of `devices.jobs`.
    pub(super) fn show_task(&self, id: &str, device: &str) -> Option<Value> {
        let task = self.tasks.get(device)?;
        let mut out = json!({
            "deviceId": device,
            "jobId": id,
            "jobType": self.work.kind(),
            "status": task.state.name(),
            "startTimeUtc": time::print(task.started.unwrap_or(self.start)),
            "endTimeUtc": if task.is_over() { time::print(task.updated) } else { NOT_YET.to_owned() },
            "createdDateTimeUtc": time::print(task.created),
            "lastUpdatedDateTimeUtc": time::print(task.updated),
        });
        match &task.state {
            TaskState::Completed(answer) => out["outcome"] = json!({"deviceMethodResponse": answer}),
            TaskState::Failed(code, words) => out["error"] = json!({"code": code, "description": words}),
            _ => {}
        }
        Some(out)
    }

    fn statistics(&self) -> Value {
        let count = |name| self.tasks.values().filter(|task| task.state.name() == name).count();
        json!({
            "deviceCount": self.tasks.len(),
            "failedCount": count("failed"),
            "succeededCount": count("completed"),
            "runningCount": count("running"),
            "pendingCount": count("pending"),
        })
    }
}

impl Work {
    pub(super) const UPDATE_TWIN: &str = "scheduleUpdateTwin";
    pub(super) const DEVICE_METHOD: &str = "scheduleDeviceMethod";

    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::UpdateTwin(_) => Self::UPDATE_TWIN,
            Self::DeviceMethod(_) => Self::DEVICE_METHOD,
        }
    }
}

impl Task {
    pub(super) fn is_over(&self) -> bool {
        !matches!(self.state, TaskState::Pending | TaskState::Running)
    }
}

impl TaskState {
    fn name(&self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Completed(_) => "completed",
            Self::Failed(..) => "failed",
            Self::Cancelled => "canceled",
        }
    }
}
