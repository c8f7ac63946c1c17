//! Throttles, quota and bill of the calls of back ends.

use axum::body::HttpBody as _;
use axum::http::HeaderValue;
use axum::http::header::CONNECTION;
use axum::response::Response;

use super::answer::refused;
use super::call::Call;
use crate::hub::{Code, Refusal};
use crate::meters::{Bill, Meter};
use crate::shell::Shell;
use crate::throttle::{Lane, STEP_BYTES, Turn, messages};

/// Lets a call through when its turn comes; otherwise the answer that turns it away.
pub(super) async fn pass(shell: &Shell, call: &Call, meter: Meter) -> Result<(), Response> {
    if bill_of(meter, call).is_some()
        && let Err(spent) = shell.check_quota()
    {
        return Err(refused(&Refusal::new(Code::IotHubQuotaExceeded, spent.to_string())));
    }
    let Some(lane) = lane(meter) else {
        return Ok(());
    };
    match shell.gate.take(lane, cost(lane, call)) {
        Turn::Now => Ok(()),
        Turn::After(wait) => {
            shell.meters.count(Meter::Queued);
            tokio::time::sleep(wait).await;
            Ok(())
        }
        Turn::Refused => Err(throttled(shell, operation_type(meter, call.method.as_str()))),
    }
}

/// Writes an answered call on the bill. What was refused costs nothing, but a method that found nobody does.
pub(super) fn bill(shell: &Shell, call: &Call, meter: Meter, response: &Response) {
    let Some(bill) = bill_of(meter, call) else {
        return;
    };
    let answered = response.status().is_success();
    let answer_bytes = usize::try_from(response.body().size_hint().lower()).unwrap_or(0);
    let path = call.path();
    let device = path.get(1).filter(|_| bill != Bill::Queries).copied();
    match bill {
        Bill::Methods if matches!(response.status().as_u16(), 200 | 404 | 504) => {
            shell.bill(bill, device, call.body().len());
            if answered {
                shell.bill(bill, device, answer_bytes);
            }
        }
        Bill::TwinReads | Bill::Queries if answered => shell.bill(bill, device, answer_bytes),
        Bill::TwinWrites | Bill::AppliedContent if answered => shell.bill(bill, device, call.body().len()),
        _ => {}
    }
}

/// 429 as the hub words it, without Retry-After; the connection is closed.
pub(super) fn throttled(shell: &Shell, operation_type: &str) -> Response {
    shell.meters.count(Meter::Throttled);
    let text =
        format!("The request has been throttled. Wait 10 seconds and try again. Operation type: {operation_type}");
    let mut response = refused(&Refusal::new(Code::ThrottlingBacklogTimeout, text));
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// What the texts of throttling call an operation. `RegistryRead` and `ConfigurationWrite` are the hub's words, the
/// others follow them.
pub(super) fn operation_type(meter: Meter, method: &str) -> &'static str {
    match meter {
        Meter::RegistryReads | Meter::Statistics => "RegistryRead",
        Meter::RegistryWrites => "RegistryWrite",
        Meter::TwinReads => "TwinRead",
        Meter::TwinWrites => "TwinWrite",
        Meter::Queries => "Query",
        Meter::Methods => "DirectMethod",
        Meter::Configurations if method == "GET" => "ConfigurationRead",
        Meter::Configurations => "ConfigurationWrite",
        Meter::Jobs if method == "GET" => "JobRead",
        Meter::Jobs => "JobWrite",
        Meter::Telemetry => "DeviceToCloud",
        _ => "Other",
    }
}

fn lane(meter: Meter) -> Option<Lane> {
    Some(match meter {
        Meter::RegistryReads | Meter::RegistryWrites => Lane::Registry,
        Meter::TwinReads => Lane::TwinReads,
        Meter::TwinWrites => Lane::TwinWrites,
        Meter::Queries => Lane::Queries,
        Meter::Methods => Lane::Methods,
        Meter::Configurations => Lane::Configurations,
        Meter::Jobs => Lane::Jobs,
        _ => return None,
    })
}

fn cost(lane: Lane, call: &Call) -> u64 {
    match lane {
        Lane::Methods => messages(call.body().len(), STEP_BYTES),
        _ => entries(call),
    }
}

/// How many operations a call is: each entry of a bulk call counts.
pub(super) fn entries(call: &Call) -> u64 {
    if call.method != "POST" || call.path() != ["devices"] {
        return 1;
    }
    let count = call.json().ok().and_then(|body| body.as_array().map(Vec::len));
    count.unwrap_or(1).max(1) as u64
}

fn bill_of(meter: Meter, call: &Call) -> Option<Bill> {
    Some(match meter {
        Meter::TwinReads => Bill::TwinReads,
        Meter::TwinWrites => Bill::TwinWrites,
        Meter::Queries => Bill::Queries,
        Meter::Methods => Bill::Methods,
        Meter::Configurations if matches!(call.path()[..], ["devices", ..]) => Bill::AppliedContent,
        _ => return None,
    })
}
