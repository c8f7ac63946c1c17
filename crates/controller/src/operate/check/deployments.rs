use super::{Check, Outcome};
use crate::config::PoolConfig;
use crate::hub::iot::IotHub;
use crate::hub::{Hub as _, OwnKey, chain};

pub(super) const CHECK: Check = Check { id: "deployments", description: "no deployment overwrites key and flag" };

pub(super) async fn check(hub: &IotHub, pool: &PoolConfig) -> Outcome {
    let own = OwnKey::of(pool);
    match hub.reassertions(&own).await {
        Ok(found) if found.is_empty() => Outcome::ok("none does"),
        Ok(found) => {
            let why = crate::run::explain_reassertions(&own, &found);
            Outcome::error(why, "content cannot be changed: make a deployment without it, then delete the old one")
        }
        Err(error) => Outcome::warning(chain(&error), "give the policy service connect"),
    }
}
