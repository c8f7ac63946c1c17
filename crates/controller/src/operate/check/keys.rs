use ha_protocol::rotation;
use ha_protocol::twin::decode_desired;
use serde_json::Value;

use super::{Check, Outcome, own_twin};
use crate::hub::iot::IotHub;
use crate::hub::{Seat, chain};

pub(super) const CHECK: Check =
    Check { id: "key", description: "the agent's twin holds a key for this pool, and makes sense" };

/// Whether there is a key, and what was found.
pub(super) async fn check(hub: &IotHub, seat: &Seat) -> (bool, Outcome) {
    let twin = match own_twin(hub, seat).await {
        Ok(twin) => twin,
        Err(error) => return (false, Outcome::error(chain(&error), "try again")),
    };
    let desired = decode_desired(&Value::Object(twin.properties.desired.without_system_fields()));
    if let Some(other) = desired.pool.as_ref().filter(|pool| **pool != seat.pool) {
        let hint = "remove the key ha from the module twin's desired properties to let it serve this pool";
        return (false, Outcome::error(format!("it serves the pool {other}"), hint));
    }
    let keyed = desired.keys.current.is_some();
    let outcome = match desired.nonsense.first() {
        Some(problem) => {
            Outcome::warning(problem.to_string(), "remove the key ha from the module twin's desired properties")
        }
        None if keyed && rotation::Stage::of(&desired.keys) != rotation::Stage::Settled => {
            Outcome::warning("it is being changed", "`iotedge-ha rotate-keys` finishes a change that was broken off")
        }
        None if keyed => Outcome::ok("there is one"),
        None => Outcome::warning("there is none yet", "a running controller installs it"),
    };
    (keyed, outcome)
}
