//! Imports and exports as Resource Manager asks for them: the jobs of `/jobs/create` under other names.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::answer::ok;
use super::Outcome;
use crate::hub::Refusal;
use crate::management::Failure;
use crate::shell::Shell;

/// `…/jobs`
pub(super) fn list(shell: &Shell) -> Outcome {
    let jobs = shell.transfers.list();
    let jobs: Vec<_> = jobs.as_array().into_iter().flatten().map(shown).collect();
    Ok(ok(&json!({"value": jobs})))
}

/// `…/jobs/{id}`
pub(super) fn job(shell: &Shell, id: &str) -> Outcome {
    Ok(ok(&shown(&shell.transfers.job(id).map_err(refused)?)))
}

/// `…/exportDevices`
pub(super) fn export(shell: &Shell, asked: &Value, now: Timestamp) -> Outcome {
    let order = json!({
        "type": "export",
        "outputBlobContainerUri": asked["exportBlobContainerUri"],
        "outputBlobName": asked["exportBlobName"],
        "excludeKeysInExport": asked["excludeKeys"],
        "includeConfigurations": asked["includeConfigurations"],
    });
    begin(shell, &order, now)
}

/// `…/importDevices`
pub(super) fn import(shell: &Shell, asked: &Value, now: Timestamp) -> Outcome {
    let mut order = asked.clone();
    order["type"] = json!("import");
    begin(shell, &order, now)
}

fn begin(shell: &Shell, order: &Value, now: Timestamp) -> Outcome {
    let id = uuid::Uuid::new_v4().to_string();
    Ok(ok(&shown(&shell.transfers.create(id, order, now).map_err(refused)?)))
}

/// `JobResponse`: as `JobProperties`, without places and progress, and with times in another form.
fn shown(job: &Value) -> Value {
    let mut shown = json!({"jobId": job["jobId"], "type": job["type"], "status": job["status"]});
    for name in ["startTimeUtc", "endTimeUtc"] {
        let at = job[name].as_str().and_then(|at| at.parse::<Timestamp>().ok());
        if let Some(at) = at {
            shown[name] = json!(at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string());
        }
    }
    if !job["failureReason"].is_null() {
        shown["failureReason"] = job["failureReason"].clone();
    }
    shown
}

fn refused(refusal: Refusal) -> Failure {
    Failure { status: refusal.code.http_status(), code: refusal.code.name(), message: refusal.text }
}
