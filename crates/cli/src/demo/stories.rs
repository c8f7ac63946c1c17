//! The stories: one file each. A story does something to the pool, waits for what must follow, and says what did not hold.

mod agent_frozen;
mod agent_killed;
mod crash;
mod graceful_stop;
mod network_cut;
mod returning;
mod switchover;
mod takeover;

use anyhow::Result;
use clap::ValueEnum;

use super::record::{Handover, Ms, activities, broken_terms, overlap};
use super::report::Outcome;
use super::timeline::What;
use super::world::World;

/// What can happen to a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Story {
    /// Agent, keeper and workload of the active device are killed at once: the device is gone
    Crash,
    /// The device that crashed comes back, and takes its place as a standby
    Return,
    /// The work moves to another device because an operator asks for it
    Switchover,
    /// The active device's agent is told to stop, as in a reboot or an update
    GracefulStop,
    /// The active device loses its network, both ways, and goes on living
    NetworkCut,
    /// The active device's agent alone is killed
    AgentKilled,
    /// The active device's agent alone is frozen, and later thawed
    AgentFrozen,
}

impl Story {
    pub(crate) const ALL: [Self; 7] = [
        Self::Crash,
        Self::Return,
        Self::Switchover,
        Self::GracefulStop,
        Self::NetworkCut,
        Self::AgentKilled,
        Self::AgentFrozen,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Crash => "crash",
            Self::Return => "return",
            Self::Switchover => "switchover",
            Self::GracefulStop => "graceful-stop",
            Self::NetworkCut => "network-cut",
            Self::AgentKilled => "agent-killed",
            Self::AgentFrozen => "agent-frozen",
        }
    }

    fn about(self) -> &'static str {
        match self {
            Self::Crash => "the active device dies: agent, keeper and workload are killed at once",
            Self::Return => "the device that died comes back",
            Self::Switchover => "an operator moves the work",
            Self::GracefulStop => "the active device is told to stop, as for a reboot",
            Self::NetworkCut => "the active device loses its network, both ways, and lives on",
            Self::AgentKilled => "the active device's agent alone is killed",
            Self::AgentFrozen => "the active device's agent alone is frozen",
        }
    }
}

/// What a story found, before it is held against the record.
pub(crate) struct Found {
    handover: Option<Handover>,
    /// The time with nobody active, where no handover tells it.
    gap: Option<Ms>,
    problems: Vec<String>,
}

impl Found {
    fn handover(handover: Handover) -> Self {
        Self { gap: Some(handover.gap), handover: Some(handover), problems: Vec::new() }
    }

    fn unless(mut self, holds: bool, problem: impl FnOnce() -> String) -> Self {
        if !holds {
            self.problems.push(problem());
        }
        self
    }
}

/// Plays one story from a pool in good order. An error means that the story could not be played to its end.
pub(crate) async fn play(story: Story, world: &mut World) -> Result<Outcome> {
    world.timeline.headline(story.name(), story.about());
    if story != Story::Return {
        world.put_in_order().await?;
    }
    let from = world.plant.now();
    let found = match story {
        Story::Crash => crash::play(world).await?,
        Story::Return => returning::play(world).await?,
        Story::Switchover => switchover::play(world).await?,
        Story::GracefulStop => graceful_stop::play(world).await?,
        Story::NetworkCut => network_cut::play(world).await?,
        Story::AgentKilled => agent_killed::play(world).await?,
        Story::AgentFrozen => agent_frozen::play(world).await?,
    };
    let outcome = judge(story, found, from, world);
    tell(&outcome, world);
    Ok(outcome)
}

/// Holds what a story found against what must hold in every story.
fn judge(story: Story, found: Found, from: Ms, world: &World) -> Outcome {
    let activities = activities(&world.plant.writes_since(from));
    let overlap_ms = overlap(&activities);
    let mut problems = found.problems;
    if overlap_ms > 0.0 {
        problems.push(format!("two were active at once for {overlap_ms:.1} ms"));
    }
    problems.extend(broken_terms(&activities));
    Outcome {
        story: story.name(),
        failover_ms: found.handover.map(|handover| handover.failover),
        gap_ms: found.gap,
        overlap_ms,
        ok: problems.is_empty(),
        problems,
    }
}

fn tell(outcome: &Outcome, world: &World) {
    for problem in &outcome.problems {
        world.timeline.tell("demo", What::Finding, format_args!("does not hold: {problem}"));
    }
    let gap = outcome.gap_ms.unwrap_or_default();
    let overlap = outcome.overlap_ms;
    match outcome.failover_ms {
        Some(failover) => world.timeline.tell(
            "demo",
            What::Finding,
            format_args!("measured: failover {failover:.0} ms, nobody active {gap:.0} ms, two active {overlap:.0} ms"),
        ),
        None => world.timeline.tell(
            "demo",
            What::Finding,
            format_args!("measured: longest silence {gap:.0} ms, two active {overlap:.0} ms"),
        ),
    }
}
