//! Scheduled jobs: `/jobs/v2`.

use jiff::Timestamp;

use super::answer::ok;
use super::call::Call;
use super::query::{continuation, page, page_size};
use super::service::{Outcome, unknown};
use crate::hub::Hub;

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

/// Pages are asked for by headers, as with queries; older documentation names query parameters.
fn list(hub: &Hub, call: &Call, now: Timestamp) -> Outcome {
    let asked = |name| call.parameter(name).filter(|value| !value.is_empty());
    let size = asked("pageSize").and_then(|size| size.parse().ok()).unwrap_or_else(|| page_size(call));
    let token = continuation(call).or_else(|| asked("continuationToken"));
    let jobs = hub.list_jobs(asked("jobType"), asked("jobStatus"), size, token, now)?;
    Ok(page(jobs))
}
