use super::{Check, Outcome};
use crate::config::Config;
use crate::hub::chain;
use crate::hub::iot::IotHub;

pub(super) const CHECK: Check =
    Check { id: "credentials", description: "the hub's connection string is where it should be" };

/// The hub as configured, or what is wrong.
pub(super) fn check(config: &Config) -> Result<(IotHub, Outcome), Outcome> {
    let hint = "take the string of a shared access policy with registry read and write and service connect: \
                az iot hub connection-string show --policy-name iothubowner";
    match IotHub::new(&config.hub) {
        Ok(hub) => {
            let found = Outcome::ok(format!("in {}, for {}", config.hub.connection_string, hub.client().host()));
            Ok((hub, found))
        }
        Err(error) => Err(Outcome::error(chain(&error), hint)),
    }
}
