//! Scheduled jobs: `/jobs/v2`; imports and exports: `/jobs`.

use jiff::Timestamp;

use super::answer::{Outcome, no_content, ok, unknown};
use super::call::Call;
use super::query::{continuation, page, page_size};
use crate::hub::Hub;
use crate::shell::Shell;

/// Carries out a call on jobs.
pub(super) fn jobs(hub: &mut Hub, call: &Call, path: &[&str], now: Timestamp) -> Outcome {
    match (call.method.as_str(), path) {
        ("GET", ["jobs", "v2", "query"]) => list(hub, call, now),
        ("GET", ["jobs", "v2", id]) => Ok(ok(&hub.job(id, now))),
        ("PUT", ["jobs", "v2", id]) => hub.create_job(id, &call.json()?, now).map(|job| ok(&job)),
        ("POST", ["jobs", "v2", id, "cancel"]) => hub.cancel_job(id, now).map(|job| ok(&job)),
        _ => Err(unknown()),
    }
}

/// Carries out a call on one import or export.
pub(super) fn transfers(shell: &Shell, call: &Call, id: &str) -> Outcome {
    let now = shell.clock.now();
    match (call.method.as_str(), id) {
        ("POST", "create") => {
            let id = uuid::Uuid::new_v4().to_string();
            shell.transfers.create(id, &call.json()?, now).map(|job| ok(&job))
        }
        ("GET", id) => shell.transfers.job(id).map(|job| ok(&job)),
        ("DELETE", id) => shell.transfers.cancel(id, now).map(|()| no_content()),
        _ => Err(unknown()),
    }
}

/// Pages are asked for by headers, as with queries; older documentation names query parameters.
fn list(hub: &Hub, call: &Call, now: Timestamp) -> Outcome {
    let asked = |name| call.parameter(name).filter(|value| !value.is_empty());
    let size = asked("pageSize").and_then(|size| size.parse().ok()).unwrap_or_else(|| page_size(call));
    let token = continuation(call).or_else(|| asked("continuationToken"));
    let jobs = hub.list_jobs(asked("jobType"), asked("jobStatus"), size, token, now)?;
    Ok(page(jobs))
}
