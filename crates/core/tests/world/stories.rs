//! Stories, one screen each: what an outsider would see.

use expect_test::{Expect, expect};
use ha_core::anchor::Verb;
use ha_core::bounds::bounds;
use ha_core::ids::MemberId;
use ha_core::policy::{Policy, Timings};
use ha_core::time::Millis;

use super::clock::{Clock, Instant, MS, S};
use super::event::{Cut, Edit, Fault, Weather};
use super::random::{quick, quick_charge};
use super::trace::Trace;
use super::world::{Setup, World};

/// A world without chance: every way takes 20 ms, a workload starts in 50 ms and is killed at its end.
pub fn fair(agents: usize, controllers: usize) -> Setup {
    Setup {
        seed: 1,
        agents: vec![Clock::TRUE; agents],
        controllers: vec![Clock::TRUE; controllers],
        timings: quick(),
        ttls: vec![quick().ttl],
        charge: quick_charge(),
        policy: Policy::default(),
        weather: Weather::FAIR,
        open_us: 50 * MS,
        word_us: MS,
        timer_late_us: 0,
        quick_stop_permille: 0,
        offline_is_known: true,
        faults: Vec::new(),
    }
}

/// All agents start at once, the controllers one second after each other.
pub fn with(mut setup: Setup, faults: impl IntoIterator<Item = (Instant, Fault)>) -> Setup {
    setup.faults.extend((0..setup.agents.len()).map(|agent| (0, Fault::StartAgent(agent))));
    setup.faults.extend((0..setup.controllers.len()).map(|c| (c as u64 * S, Fault::StartController(c))));
    setup.faults.extend(faults);
    setup
}

fn story(setup: Setup, end: Instant, expect: Expect) -> World {
    let mut world = World::new(setup, Trace::story());
    if let Err(broken) = world.run_until(8 * S) {
        panic!("{broken:?}\n{}", world.trace.render());
    }
    world.gap_max = 0;
    if let Err(broken) = world.run_until(end) {
        panic!("{broken:?}\n{}", world.trace.render());
    }
    let seen: Vec<String> = world.trace.render().lines().map(|line| line.trim_start().to_owned() + "\n").collect();
    expect.assert_eq(&seen.concat());
    world
}

fn slower(ttl: u64) -> Setup {
    let mut setup = fair(2, 2);
    setup.timings = Timings { ttl: Millis(ttl), ..quick() };
    setup.ttls = vec![Millis(ttl)];
    setup
}

#[test]
fn the_device_of_the_holder_dies() {
    let faults = [(10 * S, Fault::PowerOff(0)), (16 * S, Fault::StartAgent(0))];
    let world = story(
        with(fair(3, 1), faults),
        25 * S,
        expect![[r#"
            0.000 s  — StartAgent(0)
            0.000 s  a's agent starts
            0.000 s  — StartAgent(1)
            0.000 s  b's agent starts
            0.000 s  — StartAgent(2)
            0.000 s  c's agent starts
            0.000 s  — StartController(0)
            0.000 s  c1 starts
            2.123 s  c1 is in charge, epoch 1
            2.263 s  c1 writes: nobody holds term 0
            2.303 s  c1 writes: a holds term 1: the pool had no holder
            2.390 s  a's workload runs in term 1
            10.000 s  — PowerOff(0)
            12.977 s  c1 writes: b holds term 2: the holder fell silent and its lease ran out
            13.049 s  b's workload runs in term 2
            16.000 s  — StartAgent(0)
            16.000 s  a's agent starts
        "#]],
    );
    let (call, start) = (Millis(80), Millis(50));
    let bound = bounds(&world.setup.timings, &world.setup.charge, call, start).gap_crash;
    assert!(world.gap_max <= bound.0 * MS, "{} us, at most {bound}", world.gap_max);
}

#[test]
fn the_holder_is_cut_off_both_ways_and_stops_before_the_takeover() {
    let faults = [
        (10 * S, Fault::CutAgent { agent: 0, cut: Cut::BOTH }),
        (18 * S, Fault::CutAgent { agent: 0, cut: Cut::NONE }),
    ];
    let world = story(
        with(fair(3, 1), faults),
        25 * S,
        expect![[r#"
            0.000 s  — StartAgent(0)
            0.000 s  a's agent starts
            0.000 s  — StartAgent(1)
            0.000 s  b's agent starts
            0.000 s  — StartAgent(2)
            0.000 s  c's agent starts
            0.000 s  — StartController(0)
            0.000 s  c1 starts
            2.123 s  c1 is in charge, epoch 1
            2.263 s  c1 writes: nobody holds term 0
            2.303 s  c1 writes: a holds term 1: the pool had no holder
            2.390 s  a's workload runs in term 1
            10.000 s  — CutAgent { agent: 0, cut: Cut { inward: true, outward: true } }
            12.413 s  a closes term 1: no grant came in time
            12.913 s  a's workload has stopped
            12.977 s  c1 writes: b holds term 2: the holder fell silent and its lease ran out
            13.071 s  b's workload runs in term 2
            18.000 s  — CutAgent { agent: 0, cut: Cut { inward: false, outward: false } }
        "#]],
    );
    let bound = bounds(&world.setup.timings, &world.setup.charge, Millis(80), Millis(50)).gap_cut;
    assert!(world.gap_max <= bound.0 * MS, "{} us, at most {bound}", world.gap_max);
}

#[test]
fn an_operator_asks_for_a_switchover() {
    let to = Some(MemberId::new("b"));
    let faults = [(10 * S, Fault::Ask(Verb::Switchover { to }))];
    let world = story(
        with(fair(3, 1), faults),
        20 * S,
        expect![[r#"
            0.000 s  — StartAgent(0)
            0.000 s  a's agent starts
            0.000 s  — StartAgent(1)
            0.000 s  b's agent starts
            0.000 s  — StartAgent(2)
            0.000 s  c's agent starts
            0.000 s  — StartController(0)
            0.000 s  c1 starts
            2.123 s  c1 is in charge, epoch 1
            2.263 s  c1 writes: nobody holds term 0
            2.303 s  c1 writes: a holds term 1: the pool had no holder
            2.390 s  a's workload runs in term 1
            10.000 s  — Ask(Switchover { to: Some(MemberId("b")) })
            10.763 s  a closes term 1: the controller took the term back
            11.263 s  a's workload has stopped
            11.324 s  c1 writes: b holds term 2: asked for by ann
            11.396 s  b's workload runs in term 2
        "#]],
    );
    let bound = bounds(&world.setup.timings, &world.setup.charge, Millis(80), Millis(50)).gap_planned;
    assert!(world.gap_max <= bound.0 * MS, "{} us, at most {bound}", world.gap_max);
}

#[test]
fn the_agent_of_the_holder_is_stopped_gracefully() {
    let faults = [(10 * S, Fault::Leave { agent: 0, grace: Millis(3_000) })];
    let world = story(
        with(fair(3, 1), faults),
        16 * S,
        expect![[r#"
            0.000 s  — StartAgent(0)
            0.000 s  a's agent starts
            0.000 s  — StartAgent(1)
            0.000 s  b's agent starts
            0.000 s  — StartAgent(2)
            0.000 s  c's agent starts
            0.000 s  — StartController(0)
            0.000 s  c1 starts
            2.123 s  c1 is in charge, epoch 1
            2.263 s  c1 writes: nobody holds term 0
            2.303 s  c1 writes: a holds term 1: the pool had no holder
            2.390 s  a's workload runs in term 1
            10.000 s  — Leave { agent: 0, grace: 3000ms }
            10.161 s  a closes term 1: the controller took the term back
            10.661 s  a's workload has stopped
            10.661 s  a's agent has left
            10.721 s  c1 writes: b holds term 2: the holder's agent is being stopped
            10.815 s  b's workload runs in term 2
        "#]],
    );
    let bound = bounds(&world.setup.timings, &world.setup.charge, Millis(80), Millis(50)).gap_planned;
    assert!(world.gap_max <= bound.0 * MS, "{} us, at most {bound}", world.gap_max);
}

#[test]
fn the_agent_of_the_holder_is_frozen() {
    let faults = [(10 * S, Fault::FreezeAgent(0)), (18 * S, Fault::ThawAgent(0))];
    story(
        with(fair(2, 1), faults),
        25 * S,
        expect![[r#"
            0.000 s  — StartAgent(0)
            0.000 s  a's agent starts
            0.000 s  — StartAgent(1)
            0.000 s  b's agent starts
            0.000 s  — StartController(0)
            0.000 s  c1 starts
            2.123 s  c1 is in charge, epoch 1
            2.263 s  c1 writes: nobody holds term 0
            2.303 s  c1 writes: a holds term 1: the pool had no holder
            2.405 s  a's workload runs in term 1
            10.000 s  — FreezeAgent(0)
            12.913 s  a's workload has stopped
            12.977 s  c1 writes: b holds term 2: the holder fell silent and its lease ran out
            13.048 s  b's workload runs in term 2
            18.000 s  — ThawAgent(0)
            18.000 s  a closes term 1: no grant came in time
        "#]],
    );
}

#[test]
fn the_whole_device_of_the_holder_is_suspended() {
    let faults = [(10 * S, Fault::FreezeHost(0)), (18 * S, Fault::WakeHost(0))];
    let world = story(
        with(fair(2, 1), faults),
        25 * S,
        expect![[r#"
            0.000 s  — StartAgent(0)
            0.000 s  a's agent starts
            0.000 s  — StartAgent(1)
            0.000 s  b's agent starts
            0.000 s  — StartController(0)
            0.000 s  c1 starts
            2.123 s  c1 is in charge, epoch 1
            2.263 s  c1 writes: nobody holds term 0
            2.303 s  c1 writes: a holds term 1: the pool had no holder
            2.405 s  a's workload runs in term 1
            10.000 s  — FreezeHost(0)
            12.977 s  c1 writes: b holds term 2: the holder fell silent and its lease ran out
            13.080 s  b's workload runs in term 2
            18.000 s  — WakeHost(0)
            18.000 s  a's workload has stopped
            18.000 s  a closes term 1: no grant came in time
        "#]],
    );
    assert_eq!(world.checks.woken_past_end, 1, "the workload itself may act for an instant as it wakes up");
}

#[test]
fn a_controller_dies_and_the_next_takes_over_while_the_workload_goes_on() {
    let world = story(
        with(slower(6_000), [(10 * S, Fault::KillController(0))]),
        20 * S,
        expect![[r#"
            0.000 s  — StartAgent(0)
            0.000 s  a's agent starts
            0.000 s  — StartAgent(1)
            0.000 s  b's agent starts
            0.000 s  — StartController(0)
            0.000 s  c1 starts
            1.000 s  — StartController(1)
            1.000 s  c2 starts
            2.123 s  c1 is in charge, epoch 1
            2.263 s  c1 writes: nobody holds term 0
            2.303 s  c1 writes: a holds term 1: the pool had no holder
            2.392 s  a's workload runs in term 1
            10.000 s  — KillController(0)
            12.083 s  c2 is in charge, epoch 2
        "#]],
    );
    assert_eq!(world.gap_max, 0);
}

#[test]
fn a_controller_gives_its_charge_back() {
    let world = story(
        with(fair(2, 2), [(10 * S, Fault::GiveBack(0))]),
        16 * S,
        expect![[r#"
            0.000 s  — StartAgent(0)
            0.000 s  a's agent starts
            0.000 s  — StartAgent(1)
            0.000 s  b's agent starts
            0.000 s  — StartController(0)
            0.000 s  c1 starts
            1.000 s  — StartController(1)
            1.000 s  c2 starts
            2.123 s  c1 is in charge, epoch 1
            2.263 s  c1 writes: nobody holds term 0
            2.303 s  c1 writes: a holds term 1: the pool had no holder
            2.392 s  a's workload runs in term 1
            10.000 s  — GiveBack(0)
            10.000 s  c1 is not in charge
            10.040 s  c1 has given the charge back and ends
            10.680 s  c2 is in charge, epoch 2
        "#]],
    );
    assert_eq!(world.gap_max, 0);
}

#[test]
fn the_record_is_deleted_under_a_running_controller() {
    let faults = [(10 * S, Fault::Edit(Edit::DeleteAnchor))];
    story(
        with(fair(2, 1), faults),
        16 * S,
        expect![[r#"
            0.000 s  — StartAgent(0)
            0.000 s  a's agent starts
            0.000 s  — StartAgent(1)
            0.000 s  b's agent starts
            0.000 s  — StartController(0)
            0.000 s  c1 starts
            2.123 s  c1 is in charge, epoch 1
            2.263 s  c1 writes: nobody holds term 0
            2.303 s  c1 writes: a holds term 1: the pool had no holder
            2.405 s  a's workload runs in term 1
            10.000 s  — Edit(DeleteAnchor)
            10.000 s  somebody deletes the anchor
            10.663 s  c1 writes: a holds term 2: the record was gone and was built anew
            11.353 s  a closes term 1: a newer term was granted
            11.853 s  a's workload has stopped
            11.873 s  a's workload runs in term 2
        "#]],
    );
}

#[test]
fn both_controllers_are_cut_off_from_the_hub_for_a_while() {
    let cut = |controller, at: u64, cut| (at * S, Fault::CutController { controller, cut });
    let faults = [cut(0, 10, Cut::BOTH), cut(1, 10, Cut::BOTH), cut(0, 20, Cut::NONE), cut(1, 20, Cut::NONE)];
    story(
        with(fair(2, 2), faults),
        35 * S,
        expect![[r#"
            0.000 s  — StartAgent(0)
            0.000 s  a's agent starts
            0.000 s  — StartAgent(1)
            0.000 s  b's agent starts
            0.000 s  — StartController(0)
            0.000 s  c1 starts
            1.000 s  — StartController(1)
            1.000 s  c2 starts
            2.123 s  c1 is in charge, epoch 1
            2.263 s  c1 writes: nobody holds term 0
            2.303 s  c1 writes: a holds term 1: the pool had no holder
            2.392 s  a's workload runs in term 1
            10.000 s  — CutController { controller: 0, cut: Cut { inward: true, outward: true } }
            10.000 s  — CutController { controller: 1, cut: Cut { inward: true, outward: true } }
            11.880 s  c1 is not in charge
            12.413 s  a closes term 1: no grant came in time
            12.913 s  a's workload has stopped
            20.000 s  — CutController { controller: 0, cut: Cut { inward: false, outward: false } }
            20.000 s  — CutController { controller: 1, cut: Cut { inward: false, outward: false } }
            20.280 s  c2 is in charge, epoch 2
            20.460 s  c2 writes: a holds term 1182: the term was used up
            20.531 s  a's workload runs in term 1182
        "#]],
    );
}

#[test]
fn an_operator_vouches_for_a_dead_holder() {
    let world = story(
        with(fair(2, 1), [(10 * S, Fault::AskFenced { to: None })]),
        16 * S,
        expect![[r#"
            0.000 s  — StartAgent(0)
            0.000 s  a's agent starts
            0.000 s  — StartAgent(1)
            0.000 s  b's agent starts
            0.000 s  — StartController(0)
            0.000 s  c1 starts
            2.123 s  c1 is in charge, epoch 1
            2.263 s  c1 writes: nobody holds term 0
            2.303 s  c1 writes: a holds term 1: the pool had no holder
            2.405 s  a's workload runs in term 1
            10.000 s  — AskFenced { to: None }
            10.743 s  c1 writes: b holds term 2: asked for by ann, who vouched that the old holder was not running
            10.822 s  b's workload runs in term 2
        "#]],
    );
    assert!(world.gap_max < 2 * S, "no lease is waited for");
}

#[test]
fn a_paused_pool_stays_where_it_is() {
    let faults = [(10 * S, Fault::Ask(Verb::Pause)), (12 * S, Fault::PowerOff(0)), (20 * S, Fault::Ask(Verb::Resume))];
    story(
        with(fair(2, 1), faults),
        25 * S,
        expect![[r#"
            0.000 s  — StartAgent(0)
            0.000 s  a's agent starts
            0.000 s  — StartAgent(1)
            0.000 s  b's agent starts
            0.000 s  — StartController(0)
            0.000 s  c1 starts
            2.123 s  c1 is in charge, epoch 1
            2.263 s  c1 writes: nobody holds term 0
            2.303 s  c1 writes: a holds term 1: the pool had no holder
            2.405 s  a's workload runs in term 1
            10.000 s  — Ask(Pause)
            12.000 s  — PowerOff(0)
            20.000 s  — Ask(Resume)
            20.183 s  c1 writes: b holds term 2: the holder fell silent and its lease ran out
            20.277 s  b's workload runs in term 2
        "#]],
    );
}
