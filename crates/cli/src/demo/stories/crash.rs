use anyhow::Result;

use super::{Found, takeover};
use crate::demo::timeline::What;
use crate::demo::world::World;

pub(super) async fn play(world: &mut World) -> Result<Found> {
    let before = takeover::before(world)?;
    world.timeline.tell(&before.device, What::Fault, "crashes: SIGKILL to agent, keeper and workload");
    world.crash(&before.device)?;
    let handover = takeover::after(world, &before).await?;
    let elsewhere = handover.to != before.device;
    Ok(Found::handover(handover).unless(elsewhere, || "the dead device writes".to_owned()))
}
