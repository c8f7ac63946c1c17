//! What the random worlds have found, as short scripts.

use ha_core::ids::MemberId;
use ha_core::time::Millis;

use super::clock::{Instant, MS, S};
use super::event::{Cut, Edit, Fault, Weather};
use super::stories::{fair, with};
use super::trace::Trace;
use super::world::{Setup, World};

fn holds(setup: Setup, end: Instant) {
    let mut world = World::new(setup, Trace::last(60));
    if let Err(broken) = world.run_until(end) {
        panic!("{broken:?}\n{}", world.trace.render());
    }
    assert!(world.active().is_some(), "nobody is active in the end\n{}", world.trace.render());
}

fn cut(controller: usize, at: Instant, cut: Cut) -> (Instant, Fault) {
    (at, Fault::CutController { controller, cut })
}

/// Seed 138: a new charge believed the edited record and granted term 1, which `a` had run, to `c`.
#[test]
fn a_holder_written_by_hand_is_not_granted_the_term_of_another() {
    let edit = Fault::Edit(Edit::Holder(Some(MemberId::new("c"))));
    let faults = [cut(0, 10 * S, Cut::BOTH), (12 * S, edit), cut(0, 15 * S, Cut::NONE)];
    holds(with(fair(3, 1), faults), 30 * S);
}

/// The same, with a release: `c` proves nothing about `a`, who runs on.
#[test]
fn a_holder_written_by_hand_releases_nothing_for_the_one_who_runs() {
    let edit = Fault::Edit(Edit::Holder(Some(MemberId::new("c"))));
    for at in [10, 11, 12] {
        let faults = [(at * S, edit.clone()), (at * S, Fault::KillController(0))];
        let mut setup = with(fair(3, 2), faults);
        setup.ttls = vec![Millis(9_000)];
        holds(setup, 50 * S);
    }
}

/// Seed 1819: the second of two vouchers for the same dead holder was used against the next holder, who ran.
#[test]
fn a_voucher_is_about_the_holder_of_its_moment() {
    let faults = [(10 * S, Fault::AskFenced { to: None }), (10 * S + 1, Fault::AskFenced { to: None })];
    holds(with(fair(3, 1), faults), 25 * S);
}

/// Seed 41: a controller found its own name in the control record and went to work beside the one in charge.
#[test]
fn a_control_record_written_by_hand_puts_nobody_in_charge() {
    let faults = [(10 * S, Fault::Edit(Edit::ControlOwner(1)))];
    holds(with(fair(2, 2), faults), 25 * S);
}

/// A ttl of nothing in the control record put the next controller in charge beside the one that was.
#[test]
fn a_control_ttl_of_nothing_puts_nobody_in_charge() {
    for at in [10_000, 10_200, 10_400] {
        let faults = [(at * MS, Fault::Edit(Edit::ControlTtl(Millis(0)))), cut(0, at * MS, Cut::BOTH)];
        holds(with(fair(2, 2), faults), 350 * S);
    }
}

/// A ttl of nothing in the pool's record let the next controller appoint `b` while `a`, out of reach, ran on.
#[test]
fn a_ttl_of_nothing_is_no_word_that_the_holder_has_stopped() {
    let faults = [
        (10 * S, Fault::Edit(Edit::AnchorTtl(Millis(0)))),
        (10 * S, Fault::KillController(0)),
        (10 * S, Fault::CutAgent { agent: 0, cut: Cut::BOTH }),
    ];
    let mut setup = with(fair(2, 2), faults);
    setup.ttls = vec![Millis(9_000)];
    holds(setup, 350 * S);
}

/// Seed 2969: a controller that had seen no record, then nothing at all for a while, then again no record
/// took that for absence all along; in between another had come into charge.
#[test]
fn absence_must_be_seen_without_a_break() {
    let mut setup = fair(2, 2);
    setup.faults.push((0, Fault::StartController(1)));
    let faults = [
        cut(1, S / 2, Cut::BOTH),
        // The first reads of the first controller fail, so that the second one is ahead of it by a read.
        cut(0, 0, Cut::NONE),
        (3 * S, Fault::Edit(Edit::DeleteControl)),
        cut(1, 3 * S + 1, Cut::NONE),
    ];
    holds(with(setup, faults), 25 * S);
}

/// Seed 467: a write that was given up named `b` as holder after the lease of `a` had been renewed; a charge that
/// began anew under the same epoch took the record for the whole truth and granted `b` as well.
#[test]
fn a_write_given_up_cannot_name_a_holder_behind_the_back_of_a_grant() {
    let slow = Weather { slow_permille: 300, slow_ms_max: 5_000, lost_permille: 100, ..Weather::FAIR };
    for seed in 0..40 {
        let faults = [
            (10 * S, Fault::CutAgent { agent: 0, cut: Cut::BOTH }),
            (12 * S, Fault::Weather(slow)),
            (13 * S + 100 * MS, Fault::CutAgent { agent: 0, cut: Cut::NONE }),
            (40 * S, Fault::Weather(Weather::FAIR)),
        ];
        let mut setup = with(fair(2, 1), faults);
        setup.seed = seed;
        holds(setup, 60 * S);
    }
}

/// The answer to a revoke fell due in the very moment in which the workload was killed, said "not yet", and the
/// agent left: the lease had to be waited for after a graceful stop.
#[test]
fn an_agent_that_leaves_says_that_it_has_stopped() {
    for late in [0, 1, 5, 20] {
        let mut setup = with(fair(2, 1), [(10 * S, Fault::Leave { agent: 0, grace: Millis(3_000) })]);
        setup.word_us = late * MS;
        let mut world = World::new(setup, Trace::last(40));
        world.run_until(9 * S).expect("nothing breaks");
        world.gap_max = 0;
        world.run_until(20 * S).expect("nothing breaks");
        assert!(world.gap_max < 800 * MS, "{} us\n{}", world.gap_max, world.trace.render());
    }
}
