//! Deployments that would overwrite what we write into an agent's twin.

use std::sync::Arc;

use ha_core::time::Millis;

use crate::clock::Clock;
use crate::config::PoolConfig;
use crate::hub::{Hub, OwnKey, Reassertion};

/// How often a running pool's deployments are looked at. One that appears breaks nothing at once: the flag can only
/// close gates, and a key that is gone is installed anew.
const LOOK: Millis = Millis(300_000);

/// Goes on looking while the pool runs, and says loudly what it finds.
pub(super) async fn watch<H: Hub>(hub: Arc<H>, clock: Clock, config: PoolConfig) {
    let own = OwnKey::of(&config);
    let mut told = Vec::new();
    loop {
        clock.sleep_until(Some(clock.mono() + LOOK)).await;
        let Ok(found) = hub.reassertions(&own).await else { continue };
        if !found.is_empty() && found != told {
            tracing::error!(pool = %config.name, why = explain(&own, &found), "a deployment fights the pool");
        }
        told = found;
    }
}

/// Why such a pool is not run, and what to do.
pub(crate) fn explain(own: &[OwnKey], found: &[Reassertion]) -> String {
    let listed: Vec<String> = found.iter().map(|r| format!("{} (sets {:?})", r.deployment, r.key)).collect();
    let ours: Vec<String> = own.iter().map(ToString::to_string).collect();
    format!(
        "the deployment {} writes desired properties that are the controller's ({}); IoT Hub would put them back over key and flag \
         again and again. Take them out of the deployment's content; an agent's settings belong into its environment or file",
        listed.join(", "),
        ours.join(", ")
    )
}
