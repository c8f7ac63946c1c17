//! What most stories have in common: something happens to the active device, and another one takes over.

use anyhow::{Context, Result};

use crate::demo::plant::{Plant, writer};
use crate::demo::record::{Handover, Ms, activities, handover};
use crate::demo::world::World;

/// The active device under its term, and the instant at which something is about to happen to it.
pub(super) struct Before {
    pub(super) device: String,
    term: u64,
    fault: Ms,
    /// Not later than the last write of the activity that is about to end.
    since: Ms,
}

/// Notes who is active now. The fault follows at once.
pub(super) fn before(world: &World) -> Result<Before> {
    let (device, term) = writer(&world.plant).context("nobody writes to the plant")?;
    let fault = world.plant.now();
    // A busy machine may not have written for a while.
    let since = world.plant.last_write().map_or(fault, |last| last.at).min(fault - 1000.0);
    Ok(Before { device, term, fault, since })
}

/// Waits until somebody else writes.
pub(super) async fn after(world: &World, before: &Before) -> Result<Handover> {
    let found = |plant: &Plant| handover(&activities(&plant.writes_since(before.since)), before.term, before.fault);
    let seen = world.plant.wait_for(found);
    world.within("nobody took over", seen).await
}
