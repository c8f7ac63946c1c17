//! Where the promise ends: outside its assumptions the world must see it broken.

use super::clock::S;
use super::event::{Cut, Fault};
use super::stories::{fair, with};
use super::trace::Trace;
use super::world::{Setup, Violation, World};

fn cut_off(fast_ppb: (i64, i64)) -> Result<(), Violation> {
    let faults = [(10 * S, Fault::CutAgent { agent: 0, cut: Cut::BOTH })];
    let mut setup: Setup = with(fair(2, 1), faults);
    setup.agents[0].fast_ppb = fast_ppb.0;
    setup.controllers[0].fast_ppb = fast_ppb.1;
    setup.open_us = 0;
    World::new(setup, Trace::silent()).run_until(20 * S)
}

#[test]
fn clocks_within_the_bound_keep_two_apart_and_clocks_outside_do_not() {
    assert_eq!(cut_off((-499_000, 499_000)), Ok(()));
    let broken = cut_off((-80_000_000, 80_000_000)).expect_err("the bound is 1000 ppm, the clocks differ by 160000");
    assert_eq!(broken.what, "two workloads run at once: a in term 1 and b in term 2");
}
