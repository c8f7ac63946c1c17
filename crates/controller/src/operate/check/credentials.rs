use super::{Check, Outcome};
use crate::config::{Config, HubAccess};
use crate::hub::chain;
use crate::hub::iot::IotHub;

pub(super) const CHECK: Check = Check { id: "credentials", description: "what the hub is shown is where it should be" };

/// The hub as configured, or what is wrong.
pub(super) fn check(config: &Config) -> Result<(IotHub, Outcome), Outcome> {
    let policy = "take the string of a shared access policy with registry read and write and service connect: \
                az iot hub connection-string show --policy-name iotedge-ha";
    match IotHub::new(&config.hub) {
        Ok(hub) => {
            let found = match &config.hub.access {
                HubAccess::ConnectionString { place, .. } => format!("in {place}, for {}", hub.client().host()),
                HubAccess::Identity { host, .. } => format!("tokens of Entra ID, for {host}"),
            };
            Ok((hub, Outcome::ok(found)))
        }
        Err(error) => {
            let by_identity = matches!(config.hub.access, HubAccess::Identity { .. });
            let hint = if by_identity { "look at [hub.identity] in the configuration" } else { policy };
            Err(Outcome::error(chain(&error), hint))
        }
    }
}
