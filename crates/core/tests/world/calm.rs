//! Worlds in which nothing breaks: what a planned change costs.

use ha_core::anchor::Verb;
use ha_core::bounds::bounds;
use ha_core::time::Millis;

use super::clock::{MS, S};
use super::dice::Dice;
use super::event::{Fault, Weather};
use super::stories::{fair, with};
use super::trace::Trace;
use super::world::World;

/// One way through the hub: controller, hub, agent.
const WAY_MS: u64 = 40;
const START_MS: u64 = 200;

#[test]
fn a_planned_change_never_waits_for_a_lease() {
    for seed in 0..40 {
        let mut dice = Dice::new(seed);
        let agent = 0;
        let fault = match dice.below(3) {
            0 => Fault::Ask(Verb::Switchover { to: None }),
            1 => Fault::Leave { agent, grace: Millis(3_000) },
            _ => Fault::Fails { agent, fails: true },
        };
        let mut setup =
            with(fair(2 + dice.below(2), 1 + dice.below(2)), [(dice.between(10 * S, 20 * S), fault.clone())]);
        setup.seed = seed;
        setup.weather = Weather { delay_ms: (1, WAY_MS / 2), ..Weather::FAIR };
        setup.open_us = START_MS * MS;
        setup.quick_stop_permille = 500;
        let mut world = World::new(setup, Trace::last(40));
        world.run_until(10 * S - 1).expect("nothing breaks");
        world.gap_max = 0;
        let transitions = world.checks.transitions;
        world.run_until(40 * S).unwrap_or_else(|broken| panic!("seed {seed}: {broken:?}\n{}", world.trace.render()));
        let bound = bounds(&world.setup.timings, &world.setup.charge, Millis(WAY_MS * 2), Millis(START_MS)).gap_planned;
        let gap = Millis(world.gap_max / MS);
        assert!(gap <= bound, "seed {seed}, {fault:?}: {gap}, at most {bound}\n{}", world.trace.render());
        assert_eq!(world.checks.transitions, transitions + 1, "seed {seed}, {fault:?}: one change, and no other");
    }
}

#[test]
fn nothing_moves_a_healthy_pool() {
    for seed in 0..20 {
        let mut setup = with(fair(3, 2), []);
        setup.seed = seed;
        setup.weather = Weather { delay_ms: (1, 120), ..Weather::FAIR };
        let mut world = World::new(setup, Trace::silent());
        world.run_until(10 * S).expect("nothing breaks");
        let (starts, transitions) = (world.checks.starts, world.checks.transitions);
        world.gap_max = 0;
        world.run_until(300 * S).expect("nothing breaks");
        assert_eq!((world.checks.starts, world.checks.transitions, world.gap_max), (starts, transitions, 0));
    }
}
