use anyhow::Result;

use super::{Found, takeover};
use crate::demo::timeline::What;
use crate::demo::world::World;

pub(super) async fn play(world: &mut World) -> Result<Found> {
    let before = takeover::before(world)?;
    world.timeline.tell(&before.device, What::Fault, "loses its agent: SIGKILL to the agent alone");
    world.kill_agent(&before.device)?;
    let handover = takeover::after(world, &before).await?;
    let (stopped, ttl) = (handover.stopped, world.ttl_ms());
    Ok(Found::handover(handover).unless(stopped < ttl, || {
        format!("the workload outlived its agent by {stopped:.0} ms, longer than a lease of {ttl:.0} ms")
    }))
}
