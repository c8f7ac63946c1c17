use anyhow::Result;

use super::{Found, takeover};
use crate::demo::timeline::What;
use crate::demo::world::World;

pub(super) async fn play(world: &mut World) -> Result<Found> {
    let before = takeover::before(world)?;
    world.timeline.tell(&before.device, What::Fault, "has its agent frozen: SIGSTOP to the agent alone");
    world.freeze_agent(&before.device)?;
    let handover = takeover::after(world, &before).await?;
    world.watch_for_a_while().await;
    world.thaw_agent(&before.device)?;
    world.timeline.tell(&before.device, What::Repair, "has its agent thawed: SIGCONT");
    world.wait_for_standby(&before.device).await?;
    world.timeline.tell(&before.device, What::Standby, "is a standby");
    Ok(Found::handover(handover))
}
