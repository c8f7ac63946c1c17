//! What most stories have in common: something happens to the active device, and another one takes over.

use anyhow::{Context, Result};

use crate::demo::plant::writer;
use crate::demo::record::{Handover, Ms, activities, handover};
use crate::demo::world::World;

/// The active device under its term, and the instant at which something is about to happen to it.
pub(super) struct Before {
    pub(super) device: String,
    term: u64,
    fault: Ms,
}

/// Notes who is active now. The fault follows at once.
pub(super) fn before(world: &World) -> Result<Before> {
    let (device, term) = writer(&world.plant).context("nobody writes to the plant")?;
    Ok(Before { device, term, fault: world.plant.now() })
}

/// Waits until somebody else writes.
pub(super) async fn after(world: &World, before: &Before) -> Result<Handover> {
    // What came just before the fault belongs to the old holder's activity.
    let from = before.fault - 1000.0;
    let seen =
        world.plant.wait_for(|plant| handover(&activities(&plant.writes_since(from)), before.term, before.fault));
    world.within("nobody took over", seen).await
}
