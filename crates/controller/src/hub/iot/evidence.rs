//! Second opinions on a member: the registry, a ping, what the edge runtime says.

use ha_core::seen::{CallFailure, Deployed, Registry, RuntimeStatus};
use ha_core::time::WallTime;
use ha_deployment::{EDGE_AGENT, EDGE_HUB, Member};
use ha_iothub::{Call, Client};
use ha_wire::method::MethodRequest;
use ha_wire::{Device, Timestamp, Twin};
use serde_json::Value;

use super::errors::call_failure;
use super::routine_call;
use crate::hub::{Opinions, Seat};

/// Asks everybody at once; what cannot be asked stays unknown.
pub(super) async fn gather(client: &Client, seat: &Seat) -> Opinions {
    let (registry, edge_agent_ping, edge_agent, edge_hub) = tokio::join!(
        registry(client, seat),
        ping(client, seat.member.as_str(), routine_call()),
        twin(client, seat, EDGE_AGENT),
        twin(client, seat, EDGE_HUB)
    );
    Opinions {
        registry,
        edge_agent_ping: edge_agent_ping.ok(),
        runtime: seat.workload_module.as_deref().and_then(|workload| runtime(edge_agent.as_ref()?, workload)),
        deployed: deployed(edge_agent.as_ref(), edge_hub.as_ref(), seat),
        edge_hub: edge_hub.map(|twin| twin?.connection_state.map(|state| state.to_string())),
    }
}

async fn registry(client: &Client, seat: &Seat) -> Option<Option<Registry>> {
    match client.device(seat.member.as_str(), &routine_call()).await {
        Ok(device) => Some(Some(of_device(device))),
        Err(ha_iothub::Error::NotFound(_)) => Some(None),
        Err(_) => None,
    }
}

/// The seven fields.
fn of_device(device: Device) -> Registry {
    let text = |value: Option<String>| value.unwrap_or_else(|| "unknown".to_owned());
    Registry {
        status: text(device.status.map(|status| status.to_string())),
        status_reason: device.status_reason,
        status_updated: wall(device.status_updated_time),
        connection_state: text(device.connection_state.map(|state| state.to_string())),
        connection_state_updated: wall(device.connection_state_updated_time),
        last_activity: wall(device.last_activity_time),
        etag: device.etag.map(|etag| etag.as_str().to_owned()).unwrap_or_default(),
    }
}

fn wall(at: Option<Timestamp>) -> Option<WallTime> {
    at.filter(|at| !at.is_never()).map(|at| WallTime(at.unix_ms()))
}

/// Whether `$edgeAgent` answers; an error is what the hub has against us, and says nothing of the member.
pub(super) async fn ping(client: &Client, device: &str, call: Call) -> Result<Result<(), CallFailure>, CallFailure> {
    let ping = MethodRequest::new("ping", Value::Null).response_timeout_s(5);
    match client.call_method(device, Some(EDGE_AGENT), &ping, &call.once()).await {
        Ok(answer) if answer.status == 200 => Ok(Ok(())),
        Ok(answer) => Ok(Err(CallFailure::Rejected(format!("status {}", answer.status)))),
        Err(e) => {
            let failure = call_failure(&e);
            if failure.is_about_member() { Ok(Err(failure)) } else { Err(failure) }
        }
    }
}

fn runtime(edge_agent: &Option<Twin>, workload: &str) -> Option<Option<RuntimeStatus>> {
    Some(edge_agent.as_ref().and_then(|twin| status_of(twin, workload)))
}

/// By the runtime's own two twins: the other modules' would cost a read each, and `drift` reads them when it is asked.
fn deployed(
    edge_agent: Option<&Option<Twin>>,
    edge_hub: Option<&Option<Twin>>,
    seat: &Seat,
) -> Option<Option<Deployed>> {
    let Some(edge_agent) = edge_agent? else { return Some(None) };
    let member = Member::read(edge_agent, edge_hub?.as_ref(), []);
    Some(member.is_told().then(|| {
        let told = seat.ignore.told(seat.member.as_str(), &member.told);
        Deployed {
            told: told.common.short(),
            apart: told.apart.into_iter().map(|(place, digest)| (place, digest.short())).collect(),
            release: member.release(seat.pool.as_str()),
            astray: member.astray(),
        }
    }))
}

fn status_of(twin: &Twin, workload: &str) -> Option<RuntimeStatus> {
    let module = twin.properties.reported.get("modules")?.get(workload)?;
    let status: String = module.get("runtimeStatus")?.as_str()?.chars().take(32).collect();
    let restart_count = module.get("restartCount").and_then(Value::as_u64).unwrap_or(0);
    Some(RuntimeStatus { status, restart_count })
}

/// A twin; `None` inside: there is no such module.
async fn twin(client: &Client, seat: &Seat, module: &str) -> Option<Option<Twin>> {
    match client.twin(seat.member.as_str(), Some(module), &routine_call()).await {
        Ok(twin) => Some(Some(twin)),
        Err(ha_iothub::Error::NotFound(_)) => Some(None),
        Err(_) => None,
    }
}
