use ha_iothub::Error;

use super::{Check, Outcome, own_module, own_twin, patience};
use crate::hub::Seat;
use crate::hub::chain;
use crate::hub::iot::IotHub;

pub(super) const CHECK: Check = Check {
    id: "member",
    description: "the device is registered and enabled, with the module that the controller writes to",
};

pub(super) async fn check(hub: &IotHub, seat: &Seat) -> Outcome {
    let device = match hub.client().device(seat.member.as_str(), &patience()).await {
        Ok(device) => device,
        Err(Error::NotFound(_)) => {
            let hint = format!("az iot hub device-identity create --edge-enabled --device-id {}", seat.member);
            return Outcome::error("there is no such device", hint);
        }
        Err(error) => return Outcome::error(chain(&error), "try again"),
    };
    if !device.is_enabled() {
        return Outcome::error("the device is disabled", "enable it, or take it out of the pool");
    }
    let kind = if device.is_edge() { "IoT Edge" } else { "not an IoT Edge device" };
    let Some(module) = own_module(seat) else { return Outcome::ok(kind) };
    match own_twin(hub, seat).await {
        Ok(_) => Outcome::ok(format!("{kind}, with {module}")),
        Err(Error::NotFound(_)) => Outcome::error(
            format!("it has no module {module}"),
            "deploy it, or register the module; `iotedge-ha agent` runs on a host too",
        ),
        Err(error) => Outcome::error(chain(&error), "try again"),
    }
}
