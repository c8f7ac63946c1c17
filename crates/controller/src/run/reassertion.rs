//! Deployments that would overwrite what we write into an agent's twin.

use crate::hub::Reassertion;

/// Why such a pool is not run, and what to do.
pub(crate) fn explain(agent_module: &str, found: &[Reassertion]) -> String {
    let listed: Vec<String> = found.iter().map(|r| format!("{} (sets {:?})", r.deployment, r.key)).collect();
    format!(
        "the deployment {} writes the desired properties of {agent_module}; IoT Hub would put them back over the key and the \
         flag again and again. Take them out of the deployment's content; settings belong into the agent's environment or file",
        listed.join(", ")
    )
}
