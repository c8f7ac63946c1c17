//! Faults: put in force, shown, healed.

use axum::http::StatusCode;
use axum::response::Response;
use jiff::SignedDuration;
use serde::Deserialize;
use serde_json::{Value, json};

use super::read;
use crate::doors::Restart;
use crate::faults::{DeviceFault, RestFault, RestKind};
use crate::hub::Id;
use crate::rest::answer::{no_content, ok, problem};
use crate::rest::call::Call;
use crate::shell::Shell;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClockFault {
    skew_ms: i64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct IndexFault {
    lag_ms: i64,
}

impl IndexFault {
    fn check(&self) -> Result<(), String> {
        if (0..=24 * 3600 * 1000).contains(&self.lag_ms) { Ok(()) } else { Err("lag_ms is 0 to 86400000".into()) }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Flap {
    module: Option<String>,
    #[serde(default = "once")]
    count: u32,
}

fn once() -> u32 {
    1
}

impl Flap {
    fn check(&self) -> Result<(), String> {
        if (1..=1000).contains(&self.count) { Ok(()) } else { Err("count is 1 to 1000".into()) }
    }
}

fn flaps(shell: &Shell, device: &str, flap: Flap) -> Result<(), String> {
    let id = Id { device: device.to_owned(), module: flap.module };
    for _ in 0..flap.count {
        if !shell.act(|hub, now| hub.flap(&id, now)) {
            return Err(format!("there is no {id}"));
        }
    }
    tracing::info!(%id, count = flap.count, "the connection state flaps");
    Ok(())
}

/// Carries out a call under `/faults`; `None` if there is no such call.
pub(super) fn faults(shell: &Shell, call: &Call, path: &[&str]) -> Option<Response> {
    let outcome = match (call.method.as_str(), path) {
        ("GET", []) => return Some(ok(&shown(shell))),
        ("DELETE", []) => {
            shell.faults.heal_all();
            Ok(())
        }
        ("PUT", ["devices", id]) => read::<DeviceFault>(call, DeviceFault::check).map(|fault| {
            tracing::info!(device = id, ?fault, "fault on a link");
            shell.faults.set_device(id, fault);
        }),
        ("DELETE", ["devices", id]) => {
            shell.faults.heal_device(id);
            tracing::info!(device = id, "link healed");
            Ok(())
        }
        ("POST", ["devices", id, "flap"]) => read::<Flap>(call, Flap::check).and_then(|flap| flaps(shell, id, flap)),
        ("PUT", ["hub", "index"]) => read::<IndexFault>(call, IndexFault::check).map(|index| {
            let lag = SignedDuration::from_millis(index.lag_ms);
            shell.act(|hub, now| hub.set_index_lag(lag, now));
        }),
        ("DELETE", ["hub", "index"]) => {
            shell.act(|hub, now| hub.set_index_lag(SignedDuration::ZERO, now));
            Ok(())
        }
        ("POST", ["hub", "restart"]) => read::<Restart>(call, Restart::check).and_then(|asked| shell.restart(asked)),
        ("PUT", ["hub", "frozen"]) => {
            tracing::info!("the hub stands still");
            shell.faults.set_frozen(true);
            Ok(())
        }
        ("DELETE", ["hub", "frozen"]) => {
            shell.faults.set_frozen(false);
            Ok(())
        }
        ("PUT", ["hub", "clock"]) => read::<ClockFault>(call, |_| Ok(())).map(|clock| {
            tracing::info!(skew_ms = clock.skew_ms, "the hub's clock is set wrong");
            shell.faults.set_clock_skew_ms(clock.skew_ms);
        }),
        ("DELETE", ["hub", "clock"]) => {
            shell.faults.set_clock_skew_ms(0);
            Ok(())
        }
        ("PUT", ["hub", kind]) => rest_fault(call, kind).map(|(kind, fault)| {
            tracing::info!(?kind, ?fault, "fault on REST answers");
            shell.faults.set_rest(kind, fault);
        }),
        ("DELETE", ["hub", kind]) => rest_kind(kind).map(|kind| {
            shell.faults.heal_rest(kind);
        }),
        _ => return None,
    };
    Some(match outcome {
        Ok(()) => no_content(),
        Err(reason) => problem(StatusCode::BAD_REQUEST, &reason),
    })
}

fn shown(shell: &Shell) -> Value {
    let mut hub = json!(shell.faults.rest());
    if shell.faults.frozen() {
        hub["frozen"] = json!({});
    }
    if shell.faults.clock_skew_ms() != 0 {
        hub["clock"] = json!({"skew_ms": shell.faults.clock_skew_ms()});
    }
    let lag = shell.act(|hub, _| hub.index_lag());
    if !lag.is_zero() {
        hub["index"] = json!({"lag_ms": lag.as_millis()});
    }
    json!({"devices": shell.faults.devices(), "hub": hub})
}

fn rest_fault(call: &Call, kind: &str) -> Result<(RestKind, RestFault), String> {
    let kind = rest_kind(kind)?;
    let fault = read::<RestFault>(call, |fault| fault.check(kind))?;
    Ok((kind, fault))
}

fn rest_kind(name: &str) -> Result<RestKind, String> {
    serde_json::from_value(json!(name)).map_err(|e| e.to_string())
}
