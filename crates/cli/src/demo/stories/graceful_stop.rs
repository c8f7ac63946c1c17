use anyhow::Result;

use super::{Found, takeover};
use crate::demo::timeline::What;
use crate::demo::world::World;

pub(super) async fn play(world: &mut World) -> Result<Found> {
    let before = takeover::before(world)?;
    world.timeline.tell(&before.device, What::Fault, "is told to stop: SIGTERM to its agent");
    world.stop_agent(&before.device)?;
    let handover = takeover::after(world, &before).await?;
    let (gap, ttl) = (handover.gap, world.ttl_ms());
    Ok(Found::handover(handover).unless(gap < ttl, || {
        format!(
            "nobody was active for {gap:.0} ms: a stop that is announced must not cost a whole lease of {ttl:.0} ms"
        )
    }))
}
