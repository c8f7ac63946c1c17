use super::{Check, Outcome};
use crate::config::{Config, PoolConfig};
use crate::hub::iot::IotHub;
use crate::hub::{Hub as _, chain};

pub(super) const CHECK: Check = Check { id: "record", description: "the pool's record makes sense and is ours" };

pub(super) async fn check(hub: &IotHub, pool: &PoolConfig, config: &Config) -> Outcome {
    let (ours, timings) = (&config.controller.control, &pool.policy.timings);
    match hub.read_anchor(&pool.name).await {
        Ok(None) => {
            Outcome::warning("there is none yet", "the first controller founds it: start one with `iotedge-ha run`")
        }
        Ok(Some((anchor, _))) if anchor.control != *ours => Outcome::error(
            format!("it belongs to controllers under {:?}, not {:?}", anchor.control.as_str(), ours.as_str()),
            "set controller.control to that, or give this pool another name",
        ),
        Ok(Some((anchor, _))) => match &anchor.status {
            Some(status) => Outcome::warning(format!("the controller says: {status}"), "see `iotedge-ha show`"),
            None if anchor.ttl > timings.ttl => {
                Outcome::ok(format!("term {}; the ttl recorded is still {}", anchor.term, anchor.ttl))
            }
            None => Outcome::ok(format!("term {}", anchor.term)),
        },
        Err(error) => Outcome::error(
            chain(&error),
            "mend the tag ha of the device, or delete it: it is then rebuilt in a term above anything seen",
        ),
    }
}
