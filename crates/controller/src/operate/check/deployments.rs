use super::{Check, Outcome};
use crate::config::PoolConfig;
use crate::hub::iot::IotHub;
use crate::hub::{Hub as _, chain};

pub(super) const CHECK: Check =
    Check { id: "deployments", description: "no deployment overwrites the agent's key and flag" };

pub(super) async fn check(hub: &IotHub, pool: &PoolConfig) -> Outcome {
    match hub.reassertions(&pool.agent_module).await {
        Ok(found) if found.is_empty() => Outcome::ok("none does"),
        Ok(found) => {
            let why = crate::run::explain_reassertions(&pool.agent_module, &found);
            Outcome::error(why, "content cannot be changed: make a deployment without it, then delete the old one")
        }
        Err(error) => Outcome::warning(chain(&error), "give the policy service connect"),
    }
}
