//! What back ends call: identities, twins, queries, configurations, statistics.

use axum::response::Response;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::answer::{Outcome, coded, no_content, ok, refused, shown, unknown};
use super::call::Call;
use super::query::query;
use super::{bound, digital_twin, jobs, metering, methods};
use crate::access::{Caller, Denied, Right};
use crate::hub::{Code, DeviceBody, Hub, Id, ModuleBody, Refusal};
use crate::meters::Meter;
use crate::shell::Shell;

/// Carries out a call on the hub's own paths.
pub(super) async fn service(shell: &Shell, call: &Call) -> Response {
    let path = call.path();
    let (meter, caller) = match admit(shell, call) {
        Ok(admitted) => admitted,
        Err(turned_away) => return *turned_away,
    };
    if let Err(turned_away) = metering::pass(shell, call, meter).await {
        return turned_away;
    }
    match &path[..] {
        ["twins" | "digitaltwins", device, ..] => shell.meters.count_for(meter, &Id::device(*device)),
        _ => shell.meters.add(meter, metering::entries(call)),
    }
    let response = carry_out(shell, call, &path, meter, caller).await;
    metering::bill(shell, call, meter, &response);
    response
}

/// What kind of operation it is and by what right it is asked for; otherwise the answer that refuses it.
pub(super) fn admit(shell: &Shell, call: &Call) -> Result<(Meter, Caller), Box<Response>> {
    let path = call.path();
    let (meter, right) = kind(call.method.as_str(), &path).ok_or_else(|| Box::new(refused(&unknown())))?;
    call.check_version().map_err(|refusal| Box::new(refused(&refusal)))?;
    let now = shell.clock.now();
    let wanted = (call.method.as_str(), &path[..]);
    let caller = shell.access().check_service(call.header("authorization"), right, wanted, now).map_err(|denied| {
        shell.meters.count(Meter::Unauthorized);
        tracing::warn!(method = %call.method, path = path.join("/"), reason = %denied, "request refused");
        Box::new(refused(&not_allowed(&denied, call, &path)))
    })?;
    Ok((meter, caller))
}

/// The operation that a path is, so far as throttling knows it.
pub(super) fn operation_type(call: &Call) -> &'static str {
    match kind(call.method.as_str(), &call.path()) {
        Some((meter, _)) => metering::operation_type(meter, call.method.as_str()),
        None => metering::operation_type(Meter::Telemetry, ""),
    }
}

async fn carry_out(shell: &Shell, call: &Call, path: &[&str], meter: Meter, caller: Caller) -> Response {
    match (meter, path) {
        (Meter::Methods, ["digitaltwins", ..]) => return digital_twin::invoke(shell, call, path).await,
        (Meter::Methods, _) => return methods::invoke(shell, call, path).await,
        _ => {}
    }
    if let ["jobs"] = path {
        return ok(&shell.transfers.list());
    }
    if let ["jobs", id] = path
        && *id != "v2"
    {
        return jobs::transfers(shell, call, id).unwrap_or_else(|refusal| refused(&refusal));
    }
    let outcome = shell.act(|hub, now| dispatch(hub, call, path, now));
    if meter == Meter::Jobs {
        shell.jobs_changed.notify_one();
    }
    outcome.unwrap_or_else(|refusal| refused(&as_seen_by(caller, refusal, path)))
}

/// A principal without a role is told so by name; everyone else learns only that it will not do.
fn not_allowed(denied: &Denied, call: &Call, path: &[&str]) -> Refusal {
    let Denied::NoRole(principal) = denied else {
        return Refusal::unauthorized();
    };
    let (method, path) = (&call.method, path.join("/"));
    let text =
        format!("Principal {principal} is not authorized for {method} on /{path} due to no assigned permissions");
    Refusal::new(Code::IotHubUnauthorized, text)
}

/// Modules of a missing or disabled device are unauthorised under a shared access policy, and not found under a token.
fn as_seen_by(caller: Caller, refusal: Refusal, path: &[&str]) -> Refusal {
    match (caller, refusal.code, path) {
        (Caller::Bearer, Code::IotHubUnauthorizedAccess, ["devices", device, ..]) => Refusal::device_not_found(device),
        _ => refusal,
    }
}

/// What kind of operation a path is, and the right it takes.
fn kind(method: &str, path: &[&str]) -> Option<(Meter, Right)> {
    use Meter::{Configurations, Feedback, Jobs, Methods, Queries, Statistics};
    use Meter::{RegistryReads, RegistryWrites, TwinReads, TwinWrites};
    use Right::{RegistryRead, RegistryWrite, ServiceConnect};
    Some(match (method, path) {
        ("POST", ["devices", "query"]) => (Queries, ServiceConnect),
        ("POST", ["devices", _, "applyConfigurationContent"]) => (Configurations, ServiceConnect),
        ("GET", ["statistics", _]) => (Statistics, RegistryRead),
        ("POST", ["twins", _, "methods"] | ["twins", _, "modules", _, "methods"]) => (Methods, ServiceConnect),
        ("POST", ["digitaltwins", _, "commands", _] | ["digitaltwins", _, "components", _, "commands", _]) => {
            (Methods, ServiceConnect)
        }
        ("GET", ["twins" | "digitaltwins", _] | ["twins", _, "modules", _]) => (TwinReads, ServiceConnect),
        (_, ["twins" | "digitaltwins", _] | ["twins", _, "modules", _]) => (TwinWrites, ServiceConnect),
        (_, ["configurations", ..]) => (Configurations, ServiceConnect),
        (_, ["jobs", "v2", ..]) => (Jobs, ServiceConnect),
        ("GET", ["jobs"]) | (_, ["jobs", _]) => (Jobs, RegistryWrite),
        (_, ["messages", "serviceBound", "feedback", ..]) => (Feedback, ServiceConnect),
        ("DELETE", ["devices", _, "commands"]) => (RegistryWrites, ServiceConnect),
        ("GET", ["devices", ..]) => (RegistryReads, RegistryRead),
        (_, ["devices", ..]) => (RegistryWrites, RegistryWrite),
        _ => return None,
    })
}

fn dispatch(hub: &mut Hub, call: &Call, path: &[&str], now: Timestamp) -> Outcome {
    match path {
        ["devices", "query"] => query(hub, call, now),
        ["devices", ..] => identities(hub, call, path, now),
        ["twins", device] => twin(hub, call, &Id::device(*device), now),
        ["twins", device, "modules", module] => twin(hub, call, &Id::module(*device, *module), now),
        ["digitaltwins", device] => digital_twin::digital_twin(hub, call, device, now),
        ["configurations", ..] => configurations(hub, call, path, now),
        ["jobs", "v2", ..] => jobs::jobs(hub, call, path, now),
        ["messages", "serviceBound", "feedback", rest @ ..] => bound::feedback(hub, call, rest, now),
        ["statistics", "devices"] => Ok(ok(&hub.device_statistics())),
        ["statistics", "service"] => Ok(ok(&hub.service_statistics())),
        _ => Err(unknown()),
    }
}

fn identities(hub: &mut Hub, call: &Call, path: &[&str], now: Timestamp) -> Outcome {
    let expect = call.expect();
    match (call.method.as_str(), path) {
        ("GET", ["devices"]) => {
            let top = call.parameter("top").and_then(|top| top.parse().ok());
            Ok(ok(&Value::Array(hub.list_devices(top))))
        }
        ("POST", ["devices"]) => {
            let outcome = hub.bulk(&call.json()?, now)?;
            Ok(match outcome.successful {
                true => ok(&outcome.body),
                false => coded(&Refusal::new(Code::BulkRegistryOperationFailure, ""), &outcome.body),
            })
        }
        ("GET", ["devices", id]) => hub.device(id).map(|s| shown(&s)),
        ("PUT", ["devices", id]) => {
            let body = DeviceBody::read(call.json()?)?;
            hub.put_device(id, &body, &expect, now).map(|s| shown(&s))
        }
        ("DELETE", ["devices", id]) => hub.delete_device(id, &expect, now).map(|()| no_content()),
        ("DELETE", ["devices", id, "commands"]) => {
            let purged = hub.purge_messages(id, now)?;
            Ok(ok(&json!({"totalMessagesPurged": purged, "deviceId": id, "moduleId": null})))
        }
        ("POST", ["devices", id, "applyConfigurationContent"]) => {
            hub.apply_content(id, &call.json()?, now).map(|()| no_content())
        }
        ("GET", ["devices", id, "modules"]) => hub.list_modules(id).map(|list| ok(&Value::Array(list))),
        ("GET", ["devices", id, "modules", module]) => hub.module(id, module).map(|s| ok(&s.body)),
        ("PUT", ["devices", id, "modules", module]) => {
            let body = ModuleBody::read(call.json()?)?;
            hub.put_module(id, module, &body, &expect, now).map(|s| ok(&s.body))
        }
        ("DELETE", ["devices", id, "modules", module]) => {
            hub.delete_module(id, module, &expect, now).map(|()| no_content())
        }
        _ => Err(unknown()),
    }
}

fn twin(hub: &mut Hub, call: &Call, id: &Id, now: Timestamp) -> Outcome {
    let twin = match call.method.as_str() {
        "GET" => hub.twin(id),
        "PATCH" => hub.patch_twin(id, &call.json()?, &call.expect(), now),
        "PUT" => hub.replace_twin(id, &call.json()?, &call.expect(), now),
        _ => Err(unknown()),
    };
    twin.map(|twin| ok(&twin))
}

fn configurations(hub: &mut Hub, call: &Call, path: &[&str], now: Timestamp) -> Outcome {
    match (call.method.as_str(), path) {
        ("GET", ["configurations"]) => Ok(ok(&Value::Array(hub.list_configurations()))),
        ("POST", ["configurations", "testQueries"]) => Ok(ok(&hub.test_queries(&call.json()?))),
        ("GET", ["configurations", id]) => hub.configuration(id).map(|s| shown(&s)),
        ("PUT", ["configurations", id]) => {
            hub.put_configuration(id, call.json()?, &call.expect(), now).map(|s| shown(&s))
        }
        ("DELETE", ["configurations", id]) => hub.delete_configuration(id, &call.expect()).map(|()| no_content()),
        _ => Err(unknown()),
    }
}
