//! The control plane's door: the hub as a resource of Azure Resource Manager.

mod catalogue;
mod certificates;
mod consumer_groups;
mod routes;
mod transfers;

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::answer::{ok, with_body};
use super::call::Call;
use crate::access::{Audience, Policy};
use crate::hub::print_time;
use crate::management::{ControlPlane, Failure, Management};
use crate::meters::Meter;
use crate::shell::Shell;

const ASYNC_OPERATION: HeaderName = HeaderName::from_static("azure-asyncoperation");
/// Of what a hub may hold.
const DEVICES_MAX: u64 = 1_000_000;

/// Whether the path belongs to the control plane.
pub(super) fn is_ours(path: &[&str]) -> bool {
    path.first().is_some_and(|first| ["subscriptions", "providers"].iter().any(|ours| first.eq_ignore_ascii_case(ours)))
}

/// Carries out a call under `/subscriptions/` or `/providers/`.
pub(super) fn arm(shell: &Shell, call: &Call) -> Response {
    if let Some(turned_away) = turn_away(shell, call) {
        return turned_away;
    }
    let now = shell.clock.now();
    let path: Vec<String> = call.segments.iter().map(|segment| segment.to_ascii_lowercase()).collect();
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let response = dispatch(shell, call, &path, now).unwrap_or_else(Problem::response);
    // What was read may be of a write that is on its way to the log: nobody hears of it earlier.
    shell.act(|_, _| ());
    response
}

/// A refusal, worded by the manager itself or by the provider behind it.
enum Problem {
    Manager(StatusCode, &'static str, String),
    Provider(Failure),
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        Self::Provider(failure)
    }
}

impl Problem {
    fn response(self) -> Response {
        match self {
            Self::Manager(status, code, message) => {
                let mut response = with_body(status, &json!({"error": {"code": code, "message": message}}));
                if status == StatusCode::UNAUTHORIZED {
                    let challenge = HeaderValue::from_static("Bearer error=\"invalid_token\"");
                    response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
                }
                response
            }
            Self::Provider(Failure { status, code, message }) => {
                let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                let word = status.canonical_reason().unwrap_or_default().replace(' ', "");
                let body = json!({"code": code, "httpStatusCode": word, "message": message});
                with_body(status, &body)
            }
        }
    }

    fn not_found(code: &'static str, message: impl Into<String>) -> Self {
        Self::Manager(StatusCode::NOT_FOUND, code, message.into())
    }
}

type Outcome = Result<Response, Problem>;

/// What a caller is told whose bearer token does not allow the call.
pub(super) fn turn_away(shell: &Shell, call: &Call) -> Option<Response> {
    check(shell, call, shell.clock.now()).err().map(Problem::response)
}

fn check(shell: &Shell, call: &Call, now: Timestamp) -> Result<(), Problem> {
    let bearer = shell.access().check_bearer(call.header("authorization"), Audience::Management, now);
    let bearer = bearer.map_err(|denied| {
        shell.meters.count(Meter::Unauthorized);
        tracing::warn!(method = %call.method, path = call.segments.join("/"), reason = %denied, "management call refused");
        let code = if call.header("authorization").is_some() { "InvalidAuthenticationToken" } else { "AuthenticationFailed" };
        Problem::Manager(StatusCode::UNAUTHORIZED, code, "Authentication failed.".to_owned())
    })?;
    let write = call.method != "GET" && !reads_by_post(call);
    if !bearer.may_manage(write) {
        let message = format!("The client '{}' does not have authorization to perform this action.", bearer.id);
        return Err(Problem::Manager(StatusCode::FORBIDDEN, "AuthorizationFailed", message));
    }
    if call.parameter("api-version").is_none() {
        let message = "The api-version query parameter (?api-version=) is required for all requests.".to_owned();
        return Err(Problem::Manager(StatusCode::BAD_REQUEST, "MissingApiVersionParameter", message));
    }
    call.check_version().map_err(|refusal| {
        let message = format!("The api-version is invalid: {}", refusal.text);
        Problem::Manager(StatusCode::BAD_REQUEST, "InvalidApiVersionParameter", message)
    })
}

/// Trying routes and names changes nothing; keys are for those who may change things.
fn reads_by_post(call: &Call) -> bool {
    let reads = ["$testnew", "$testall", "checkNameAvailability"];
    call.segments.last().is_some_and(|last| reads.iter().any(|read| last.eq_ignore_ascii_case(read)))
}

fn dispatch(shell: &Shell, call: &Call, path: &[&str], now: Timestamp) -> Outcome {
    let management = &shell.events.management;
    let ControlPlane { subscription, resource_group, .. } = management.control_plane();
    if let ("GET", ["providers", "microsoft.devices", "operations"]) = (call.method.as_str(), path) {
        return Ok(ok(&catalogue::operations()));
    }
    if !path.get(1).is_some_and(|named| named.eq_ignore_ascii_case(subscription)) {
        let message = format!("The subscription could not be found; the emulator's is '{subscription}'.");
        return Err(Problem::not_found("SubscriptionNotFound", message));
    }
    match path[2..] {
        ["providers", "microsoft.devices", "iothubs"] if call.method == "GET" => {
            Ok(ok(&json!({"value": [management.show(now)]})))
        }
        ["providers", "microsoft.devices", "locations", _, "operationresults", _] if call.method == "GET" => {
            operation(management, call, now)
        }
        ["providers", "microsoft.devices", "usages"] if call.method == "GET" => {
            Ok(ok(&catalogue::usages(management.control_plane(), management.in_force(now).size)))
        }
        ["providers", "microsoft.devices", "checknameavailability"] if call.method == "POST" => {
            let asked = body(call)?;
            let name = asked["name"].as_str().ok_or_else(|| Failure::bad_request("name is missing"))?;
            Ok(ok(&catalogue::availability(name, management.hub_name())))
        }
        ["resourcegroups", group, ..] if !group.eq_ignore_ascii_case(resource_group) => {
            let message = format!("Resource group '{group}' could not be found; the emulator's is '{resource_group}'.");
            Err(Problem::not_found("ResourceGroupNotFound", message))
        }
        ["resourcegroups", _, "providers", "microsoft.devices", "iothubs"] if call.method == "GET" => {
            Ok(ok(&json!({"value": [management.show(now)]})))
        }
        ["resourcegroups", _, "providers", "microsoft.devices", "iothubs", hub, ref rest @ ..] => {
            if !hub.eq_ignore_ascii_case(management.hub_name()) {
                let ours = management.hub_name();
                let message =
                    format!("The Resource 'Microsoft.Devices/IotHubs/{hub}' was not found; there is '{ours}'.");
                return Err(Problem::not_found("ResourceNotFound", message));
            }
            resource(shell, call, rest, now)
        }
        _ => Err(Problem::not_found("InvalidResourceType", "There is no such resource type here.")),
    }
}

fn resource(shell: &Shell, call: &Call, rest: &[&str], now: Timestamp) -> Outcome {
    let management = &shell.events.management;
    match (call.method.as_str(), rest) {
        ("GET", []) => Ok(ok(&management.show(now))),
        ("PUT", []) => {
            let (document, if_match) = (body(call)?, call.header("if-match"));
            let accepted =
                shell.manage(|management, hub, now| management.put(document, if_match, || hub.fresh_key(), now))?;
            let response = with_body(StatusCode::CREATED, &accepted.resource);
            Ok(begun(management, call, &accepted.operation, response))
        }
        ("PATCH", []) => {
            let body = body(call)?;
            Ok(ok(&shell.manage(|management, _, now| management.patch(&body, now))?))
        }
        ("DELETE", []) => {
            let message = "The emulator's hub lives as long as its process; end that, and remove its state folder.";
            Err(Problem::Manager(StatusCode::CONFLICT, "ResourceDeletionFailed", message.to_owned()))
        }
        ("GET", ["iothubstats"]) => Ok(ok(&shell.act(|hub, _| hub.device_statistics()))),
        ("GET", ["quotametrics"]) => Ok(ok(&quota(shell, now))),
        ("GET", ["routingendpointshealth"]) => {
            let names = management.endpoint_names(now);
            Ok(ok(&json!({"value": shell.events.endpoints.health(&names)})))
        }
        (_, ["certificates", below @ ..]) => {
            let as_written = call.segments[call.segments.len() - below.len()..].iter().map(String::as_str);
            certificates::certificates(shell, call, &as_written.collect::<Vec<_>>())
        }
        (_, [kind @ ("privatelinkresources" | "privateendpointconnections"), name @ ..]) => {
            no_private(call, kind, name)
        }
        ("GET", ["skus"]) => Ok(ok(&catalogue::sizes())),
        (_, ["eventhubendpoints", "events", "consumergroups"]) => consumer_groups::consumer_groups(shell, call, None),
        (_, ["eventhubendpoints", "events", "consumergroups", _]) => {
            consumer_groups::consumer_groups(shell, call, call.segments.last().map(String::as_str))
        }
        ("GET", ["jobs"]) => transfers::list(shell),
        ("GET", ["jobs", _]) => transfers::job(shell, call.segments.last().map_or("", String::as_str)),
        ("POST", ["exportdevices"]) => transfers::export(shell, &body(call)?, now),
        ("POST", ["importdevices"]) => transfers::import(shell, &body(call)?, now),
        ("POST", ["listkeys"]) => {
            let keys: Vec<Value> = shell.access().rules().policies.iter().map(key).collect();
            Ok(ok(&json!({"value": keys})))
        }
        ("POST", ["iothubkeys", name, "listkeys"]) => key_of(shell, name),
        ("POST", ["routing", "routes", "$testnew"]) => Ok(ok(&routes::test_new(&body(call)?)?)),
        ("POST", ["routing", "routes", "$testall"]) => {
            Ok(ok(&routes::test_all(&management.in_force(now).routes, &body(call)?)?))
        }
        ("POST", ["failover"]) => {
            let body = body(call)?;
            let region = body.get("failoverRegion").and_then(Value::as_str).unwrap_or_default();
            let operation = shell.manage(|management, _, now| management.fail_over(region, now))?;
            let mut response = Response::default();
            *response.status_mut() = StatusCode::ACCEPTED;
            Ok(begun(management, call, &operation, response))
        }
        _ => Err(Problem::not_found("NotFound", "The emulator does not know this operation.")),
    }
}

/// There are no private links and endpoints, and none can be made.
fn no_private(call: &Call, kind: &str, name: &[&str]) -> Outcome {
    match (call.method.as_str(), kind, name) {
        ("GET", "privatelinkresources", []) => Ok(ok(&json!({"value": []}))),
        ("GET", _, []) => Ok(ok(&json!([]))),
        _ => Err(Problem::not_found("NotFound", "The emulator's hub has no private links and endpoints.")),
    }
}

fn key_of(shell: &Shell, name: &str) -> Outcome {
    let rules = shell.access().rules();
    let found = rules.policies.iter().find(|policy| policy.name().eq_ignore_ascii_case(name));
    let found = found.ok_or_else(|| {
        let message = format!("There is no shared access policy '{name}'.");
        Failure { status: 404, code: "NotFound", message }
    })?;
    Ok(ok(&key(found)))
}

/// The status form says how it is going; the other one answers with the hub once it is over.
fn operation(management: &Management, call: &Call, now: Timestamp) -> Outcome {
    let id = call.segments.last().map(String::as_str).unwrap_or_default();
    let Some(progress) = management.progress(id, now) else {
        return Err(Problem::not_found("NotFound", "There is no such operation, or it was over long ago."));
    };
    let response = match (call.parameter("asyncinfo"), progress.ended) {
        (Some(_), ended) => {
            let status = if ended.is_some() { "Succeeded" } else { "InProgress" };
            let mut body = json!({"id": id, "name": id, "status": status, "startTime": print_time(progress.started)});
            if let Some(ended) = ended {
                body["endTime"] = json!(print_time(ended));
            }
            ok(&body)
        }
        (None, Some(_)) => ok(&management.show(now)),
        (None, None) => {
            let mut response = Response::default();
            *response.status_mut() = StatusCode::ACCEPTED;
            begun(management, call, id, response)
        }
    };
    Ok(if progress.ended.is_some() { response } else { patiently(management, response) })
}

/// Tells where to ask how the operation is going.
fn begun(management: &Management, call: &Call, operation: &str, response: Response) -> Response {
    let ControlPlane { subscription, location, .. } = management.control_plane();
    let host = call.header("host").unwrap_or("localhost");
    let version = call.parameter("api-version").unwrap_or_default();
    let region = ha_wire::percent_encode(location);
    let id = ha_wire::percent_encode(operation);
    let url = format!(
        "https://{host}/subscriptions/{subscription}/providers/Microsoft.Devices/locations/{region}/operationResults/{id}\
         ?api-version={version}&operationSource=other"
    );
    let mut response = patiently(management, response);
    for (name, url) in [(ASYNC_OPERATION, format!("{url}&asyncinfo=")), (header::LOCATION, url)] {
        if let Ok(url) = HeaderValue::from_str(&url) {
            response.headers_mut().insert(name, url);
        }
    }
    response
}

fn patiently(management: &Management, mut response: Response) -> Response {
    let seconds = management.control_plane().retry_after_s;
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    response
}

fn quota(shell: &Shell, now: Timestamp) -> Value {
    let devices = shell.act(|hub, _| hub.device_statistics())["totalDeviceCount"].clone();
    let day = shell.gate.day(now);
    json!({"value": [
        {"name": "TotalMessages", "currentValue": day.used(), "maxValue": day.max()},
        {"name": "TotalDeviceCount", "currentValue": devices, "maxValue": DEVICES_MAX},
    ]})
}

fn key(policy: &Policy) -> Value {
    let [primary, secondary] = policy.keys();
    json!({"keyName": policy.name(), "primaryKey": primary.reveal(), "secondaryKey": secondary.reveal(),
        "rights": policy.rights().to_string()})
}

fn body(call: &Call) -> Result<Value, Problem> {
    call.json().map_err(|refusal| {
        Problem::Manager(
            StatusCode::BAD_REQUEST,
            "InvalidRequestContent",
            format!("The request content: {}", refusal.text),
        )
    })
}
