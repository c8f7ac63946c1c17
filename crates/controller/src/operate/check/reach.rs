use super::{Check, Outcome, patience};
use crate::hub::Error;
use crate::hub::iot::{IotHub, error};

pub(super) const CHECK: Check = Check { id: "reach", description: "the hub answers" };

pub(super) async fn check(hub: &IotHub) -> Outcome {
    // Whether it exists does not matter: any answer is one.
    let asked = hub.client().twin("ha-control", None, &patience()).await;
    match asked.as_ref().map_err(error) {
        Ok(_) | Err(Error::NotFound(_)) => Outcome::ok(hub.client().host()),
        Err(Error::Unauthorised(why)) => {
            Outcome::error(why, "look at the key, the policy's rights (service connect) and this machine's clock")
        }
        Err(Error::Unreachable(why)) => {
            Outcome::error(why, "look at the host name, DNS, a firewall on port 443, a proxy, and ca_file")
        }
        Err(other) => Outcome::error(other.to_string(), "wait, and try again; look at the hub's quota"),
    }
}
