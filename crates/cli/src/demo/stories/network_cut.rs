use anyhow::Result;

use super::{Found, takeover};
use crate::demo::timeline::What;
use crate::demo::world::World;

pub(super) async fn play(world: &mut World) -> Result<Found> {
    let before = takeover::before(world)?;
    world.timeline.tell(
        &before.device,
        What::Fault,
        "is cut off from the hub, both ways; its workload still reaches the plant",
    );
    world.cut(&before.device).await?;
    let handover = takeover::after(world, &before).await?;
    world.timeline.tell(
        &before.device,
        What::Finding,
        format_args!(
            "wrote its last advice {:.0} ms after the cut, {:.0} ms before {} wrote its first",
            handover.stopped, handover.gap, handover.to
        ),
    );
    world.heal(&before.device).await?;
    world.timeline.tell(&before.device, What::Repair, "has its network back");
    world.wait_for_standby(&before.device).await?;
    world.timeline.tell(&before.device, What::Standby, "is a standby");
    Ok(Found::handover(handover))
}
