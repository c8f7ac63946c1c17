use anyhow::{Context, Result};

use super::{Found, takeover};
use crate::demo::plant::writer;
use crate::demo::record::longest_silence;
use crate::demo::timeline::What;
use crate::demo::world::World;

pub(super) async fn play(world: &mut World) -> Result<Found> {
    let returning = match world.down() {
        Some(device) => device,
        None => lose_the_active_one(world).await?,
    };
    let (holder, term) = writer(&world.plant).context("nobody writes to the plant")?;
    let from = world.plant.now();
    world.start_agent(&returning).await?;
    world.timeline.tell(&returning, What::Repair, "comes back");
    world.wait_for_standby(&returning).await?;
    world.timeline.tell(&returning, What::Standby, "is a standby");
    world.watch_for_a_while().await;

    let until = world.plant.now();
    let now = writer(&world.plant);
    let gap = longest_silence(&world.plant.writes_since(from), from, until);
    let undisturbed = now == Some((holder.clone(), term));
    let found = Found { handover: None, gap: Some(gap), problems: Vec::new() };
    Ok(found.unless(undisturbed, || format!("the work left {holder}, which held it under term {term}")))
}

/// For whoever plays this story alone.
async fn lose_the_active_one(world: &mut World) -> Result<String> {
    world.put_in_order().await?;
    let before = takeover::before(world)?;
    world.timeline.tell(&before.device, What::Fault, "crashes, so that it can return");
    world.crash(&before.device)?;
    takeover::after(world, &before).await?;
    Ok(before.device)
}
