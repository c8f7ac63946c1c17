use ha_iothub::Error;
use ha_wire::IfMatch;
use ha_wire::method::MethodRequest;
use ha_wire::twin::TwinPatch;

use super::{Check, Outcome, patience};
use crate::config::{Config, HubAccess};
use crate::hub::chain;
use crate::hub::iot::IotHub;

pub(super) const CHECK: Check =
    Check { id: "rights", description: "the credentials suffice for what the controller does" };

/// A device that nobody has: whoever has the right is told that it is not there.
const NOBODY: &str = "ha-check-nobody-has-this-name";

/// What the controller does at the hub, and what allows it.
struct Need {
    /// The right of a shared access policy.
    policy: &'static str,
    /// The data action of a role, without `Microsoft.Devices/IotHubs/`.
    action: &'static str,
    tried: Option<Error>,
}

pub(super) async fn check(hub: &IotHub, config: &Config) -> Outcome {
    let needs = try_each(hub).await;
    let missing: Vec<&Need> = needs.iter().filter(|need| matches!(need.tried, Some(Error::Unauthorised(_)))).collect();
    let odd =
        |error: &&Error| !matches!(error, Error::NotFound(_) | Error::DeviceNotOnline(_) | Error::Unauthorised(_));
    let odd = needs.iter().filter_map(|need| need.tried.as_ref()).find(odd);
    let by_identity = matches!(config.hub.access, HubAccess::Identity { .. });
    let names = |needs: &[&Need]| names(needs, by_identity);
    match odd {
        _ if !missing.is_empty() => {
            let who = if by_identity { "the identity" } else { "the policy" };
            let host = hub.client().host();
            Outcome::error(format!("{who} lacks: {}", names(&missing)), grant(by_identity, host))
        }
        Some(error) => Outcome::warning(format!("not all could be tried: {}", chain(error)), "try again"),
        None => Outcome::ok(names(&needs.iter().collect::<Vec<_>>())),
    }
}

/// None of these changes anything: the device is not there.
async fn try_each(hub: &IotHub) -> [Need; 6] {
    let (client, call) = (hub.client(), patience());
    let need = |policy, action, tried| Need { policy, action, tried };
    let (read, write, service) = ("registry read", "registry write", "service connect");
    let probe = MethodRequest::new("ha-check", serde_json::Value::Null);
    [
        need(read, "devices/read", client.device(NOBODY, &call).await.err()),
        need(write, "devices/delete", client.delete_device(NOBODY, &IfMatch::Any, &call).await.err()),
        need(service, "twins/read", client.twin(NOBODY, None, &call).await.err()),
        need(service, "twins/write", client.patch_twin(NOBODY, None, &TwinPatch::default(), None, &call).await.err()),
        need(service, "directMethods/invoke/action", client.call_method(NOBODY, None, &probe, &call).await.err()),
        need(service, "configurations/read", client.configurations(&call).await.err()),
    ]
}

/// Each once, in the words of whoever grants them.
fn names(needs: &[&Need], by_identity: bool) -> String {
    let mut names: Vec<&str> = needs.iter().map(|need| if by_identity { need.action } else { need.policy }).collect();
    names.dedup();
    names.join(", ")
}

/// The command that grants what is needed.
fn grant(by_identity: bool, host: &str) -> String {
    let hub = host.split('.').next().unwrap_or(host);
    if by_identity {
        format!(
            "az role assignment create --role \"IoT Hub Data Contributor\" --assignee CLIENT_OR_OBJECT_ID \
             --scope \"$(az iot hub show --name {hub} --query id --output tsv)\"; it takes some minutes to be in force. \
             docs/guides/identity.md has a narrower role"
        )
    } else {
        format!(
            "az iot hub policy create --hub-name {hub} --name iotedge-ha --permissions RegistryWrite ServiceConnect, and take \
             its connection string"
        )
    }
}
