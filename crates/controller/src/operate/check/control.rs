use super::{Check, Outcome};
use crate::config::Config;
use crate::hub::iot::IotHub;
use crate::hub::{Hub as _, chain};

pub(super) const CHECK: Check =
    Check { id: "control", description: "the control record can be read, and somebody is in charge" };

pub(super) async fn check(hub: &IotHub, config: &Config) -> Outcome {
    let control = &config.controller.control;
    match hub.read_control(control).await {
        Ok(Some((record, _))) if record.given_back => {
            let found = format!("{} has given the charge back", record.owner);
            Outcome::warning(found, "nobody renews leases: start a controller with `iotedge-ha run`")
        }
        Ok(Some((record, _))) => Outcome::ok(format!("{} in charge {}", record.owner, record.epoch)),
        Ok(None) => Outcome::warning(
            format!("{control} does not exist yet"),
            "the first controller makes it: start one with `iotedge-ha run`",
        ),
        Err(error) => {
            Outcome::error(chain(&error), "see the reason; a damaged record is removed by deleting its tag ha")
        }
    }
}
