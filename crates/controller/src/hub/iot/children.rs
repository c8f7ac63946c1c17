//! Gateways and their children.

use std::time::Duration;

use ha_core::ids::MemberId;
use ha_core::seen::CallFailure;
use ha_iothub::{Call, Client};
use ha_wire::method::MethodRequest;
use ha_wire::{Device, IfMatch};
use serde::Deserialize;
use serde_json::json;

use super::errors::{call_failure, error};
use super::routine_call;
use crate::hub::{Error, Placed};

/// How often a device is read again because somebody else wrote first.
const TRIES: u32 = 5;

/// How long a gateway may take to ask the hub for a few identities.
const TOLD_WITHIN_S: u32 = 30;

/// More than a gateway can have, so that what is too many is seen.
const FOUND_MAX: usize = 1_000;

#[derive(Deserialize)]
struct Row {
    #[serde(rename = "deviceId")]
    device: String,
}

pub(super) async fn adopt(
    client: &Client,
    child: &str,
    scope: &str,
    may: impl Fn(&Placed) -> bool,
) -> Result<Option<Placed>, Error> {
    let mut tries = 0;
    loop {
        let device = match client.device(child, &routine_call()).await {
            Ok(device) => device,
            Err(ha_iothub::Error::NotFound(_)) => return Ok(None),
            Err(e) => return Err(error(&e)),
        };
        let placed = placed(&device);
        if !may(&placed) {
            return Ok(Some(placed));
        }
        let condition = device.etag.clone().map_or(IfMatch::Any, IfMatch::Is);
        match client.update_device(&with_parent(device, scope), &condition, &routine_call()).await {
            Ok(_) => return Ok(Some(placed)),
            Err(ha_iothub::Error::NotFound(_)) => return Ok(None),
            Err(ha_iothub::Error::PreconditionFailed(_)) if tries < TRIES => tries += 1,
            Err(e) => return Err(error(&e)),
        }
    }
}

fn placed(device: &Device) -> Placed {
    let edge = device.is_edge();
    let scope = device.device_scope.clone().filter(|scope| !scope.is_empty());
    let mut parents = device.parent_scopes.clone().unwrap_or_default();
    // A leaf's scope is its parent's.
    if let Some(parent) = scope.clone().filter(|scope| !edge && !parents.contains(scope)) {
        parents.push(parent);
    }
    Placed { scope: scope.filter(|_| edge), parents }
}

/// A gateway keeps its own scope and takes a parent beside it; a leaf's scope is its parent's.
fn with_parent(mut device: Device, scope: &str) -> Device {
    if !device.is_edge() {
        device.device_scope = Some(scope.to_owned());
    }
    device.parent_scopes = Some(vec![scope.to_owned()]);
    device
}

/// Asks as `az iot hub device-identity children list` does.
pub(super) async fn of(client: &Client, scope: &str) -> Result<Vec<String>, Error> {
    let scope = scope.replace('\'', "\\'");
    let mut query = client.query(format!("SELECT deviceId FROM devices WHERE array_contains(parentScopes, '{scope}')"));
    let mut found = Vec::new();
    while let Some(page) = query.next_page(&routine_call()).await.map_err(|e| error(&e))? {
        let rows: Vec<Row> = page.decode().map_err(|e| error(&e))?;
        found.extend(rows.into_iter().map(|row| row.device));
        if found.len() > FOUND_MAX {
            break;
        }
    }
    Ok(found)
}

pub(super) async fn tell(client: &Client, gateway: &MemberId, children: &[String]) -> Result<(), CallFailure> {
    let payload = json!({ "deviceIds": children });
    let request = MethodRequest::new("RefreshDeviceScopeIdentityCache", payload).response_timeout_s(TOLD_WITHIN_S);
    let call = Call::within(Duration::from_secs(u64::from(TOLD_WITHIN_S) + 15));
    let answer = client.call_method(gateway.as_str(), Some("$edgeHub"), &request, &call).await;
    match answer {
        Ok(answer) if answer.status == 200 => Ok(()),
        Ok(answer) => Err(CallFailure::Rejected(format!("edgeHub answered {}", answer.status))),
        Err(e) => Err(call_failure(&e)),
    }
}
