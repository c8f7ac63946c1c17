use anyhow::Result;

use super::{Found, takeover};
use crate::demo::timeline::What;
use crate::demo::world::World;

pub(super) async fn play(world: &mut World) -> Result<Found> {
    let before = takeover::before(world)?;
    let target = world.preferred_besides(&before.device);
    world.timeline.tell("operator", What::Request, format_args!("iotedge-ha switchover {} --to {target}", World::POOL));
    world.request_switchover(&target)?;
    let handover = takeover::after(world, &before).await?;
    let to = handover.to.clone();
    Ok(Found::handover(handover).unless(to == target, || format!("{to} took over, but {target} was asked for")))
}
