use ha_iothub::Error;

use super::{Check, Outcome, agent_twin, patience};
use crate::hub::Seat;
use crate::hub::chain;
use crate::hub::iot::IotHub;

pub(super) const CHECK: Check =
    Check { id: "member", description: "the device is registered and enabled, with an agent module" };

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
    match agent_twin(hub, seat).await {
        Ok(_) if device.is_edge() => Outcome::ok(format!("IoT Edge, with {}", seat.agent_module)),
        Ok(_) => Outcome::ok(format!("not an IoT Edge device, with {}", seat.agent_module)),
        Err(Error::NotFound(_)) => Outcome::error(
            format!("it has no module {}", seat.agent_module),
            "deploy the agent to it, or register the module and run `iotedge-ha agent` on the host",
        ),
        Err(error) => Outcome::error(chain(&error), "try again"),
    }
}
