//! Consumer groups of the built-in endpoint: kept and shown. Nobody reads by them, for reading is AMQP.

use axum::response::Response;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::super::answer::ok;
use super::super::call::Call;
use super::{Outcome, Problem};
use crate::hub::{Hub, print_time};
use crate::management::{Failure, is_name};
use crate::shell::Shell;

/// Under what name they are kept beside the hub.
const KEPT: &str = "consumer_groups";
/// The one that always is.
const DEFAULT: &str = "$Default";
const GROUPS_MAX: usize = 20;

/// `…/eventHubEndpoints/events/ConsumerGroups`, or one of them; names keep their case.
pub(super) fn consumer_groups(shell: &Shell, call: &Call, name: Option<&str>) -> Outcome {
    let at = format!("{}/eventHubEndpoints/events/ConsumerGroups", shell.events.management.id());
    shell.act(|hub, now| carry_out(hub, call.method.as_str(), &at, name, now))
}

fn carry_out(hub: &mut Hub, method: &str, at: &str, name: Option<&str>, now: Timestamp) -> Outcome {
    let mut groups = hub.kept_beside(KEPT).and_then(Value::as_object).cloned().unwrap_or_default();
    let default = json!(print_time(Timestamp::UNIX_EPOCH));
    let not_there = |name: &str| {
        let message = format!("There is no consumer group '{name}'.");
        Failure { status: 404, code: "NotFound", message }
    };
    match (method, name) {
        ("GET", None) => {
            let others = groups.iter().map(|(name, made)| shown(at, name, made));
            let all: Vec<_> = std::iter::once(shown(at, DEFAULT, &default)).chain(others).collect();
            Ok(ok(&json!({"value": all})))
        }
        ("GET", Some(DEFAULT)) => Ok(ok(&shown(at, DEFAULT, &default))),
        ("GET", Some(name)) => Ok(ok(&shown(at, name, groups.get(name).ok_or_else(|| not_there(name))?))),
        ("PUT", Some(name)) => {
            check(name, &groups)?;
            let made = groups.entry(name).or_insert_with(|| print_time(now).into());
            let made = shown(at, name, made);
            hub.keep_beside(KEPT, groups.into());
            Ok(ok(&made))
        }
        ("DELETE", Some(name)) => {
            groups.remove(name).ok_or_else(|| not_there(name))?;
            hub.keep_beside(KEPT, groups.into());
            Ok(Response::default())
        }
        _ => Err(Problem::not_found("NotFound", "The emulator does not know this operation.")),
    }
}

fn shown(at: &str, name: &str, made: &Value) -> Value {
    let kind = "Microsoft.Devices/IotHubs/EventHubEndpoints/ConsumerGroups";
    json!({"id": format!("{at}/{name}"), "name": name, "type": kind, "properties": {"created": made}})
}

fn check(name: &str, groups: &Map<String, Value>) -> Result<(), Failure> {
    if !is_name(name, 50) {
        return Err(Failure::bad_request(
            "A consumer group's name has 1 to 50 letters, digits, dots, underscores and hyphens.",
        ));
    }
    if !groups.contains_key(name) && groups.len() + 1 >= GROUPS_MAX {
        return Err(Failure::bad_request(format!("A hub has at most {GROUPS_MAX} consumer groups.")));
    }
    Ok(())
}
