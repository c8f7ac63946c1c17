//! Failover.

use super::*;

#[test]
fn a_silent_holder_is_waited_for_while_the_standbys_are_asked() {
    check(
        "a offline; b old",
        expect![[r#"
        renew a 5
        probe b
        [holder_may_still_run] a may still run for 10.0 s: not connected to IoT Hub
    "#]],
    );
}

#[test]
fn after_its_lease_the_next_takes_over() {
    check(
        "a offline; lapsed",
        expect![[r#"
        appoint b 6: the holder fell silent and its lease ran out
    "#]],
    );
    check(
        "a offline; lapsed; b silent",
        expect![[r#"
        appoint c 6: the holder fell silent and its lease ran out
    "#]],
    );
    check(
        "a offline; lapsed; b old",
        expect![[r#"
        probe b
        renew a 5
        [fresh_answer] asking b whether it can take over
    "#]],
    );
}

#[test]
fn a_holder_that_is_back_in_time_keeps_its_term() {
    check(
        "lapsed",
        expect![[r#"
        renew a 5
    "#]],
    );
}

#[test]
fn a_holder_that_nobody_could_ask_is_heard_before_another_takes_over() {
    for unasked in ["a old", "a old age=60000", "a throttled", "a unheard"] {
        check(
            &format!("{unasked}; lapsed"),
            expect![[r#"
                hear a
                [hearing] asking a whether it goes on before another takes over, at most 4.0 s
            "#]],
        );
        check(
            &format!("{unasked}; lapsed; patience left=1"),
            expect![[r#"
                hear a
                [hearing] asking a whether it goes on before another takes over, at most 1 ms
            "#]],
        );
        check(
            &format!("{unasked}; lapsed; patience"),
            expect![[r#"
                appoint b 6: the holder fell silent and its lease ran out
            "#]],
        );
    }
    // Nobody is heard who is known not to answer, or must not hold.
    for (gone, expected) in [
        ("a silent", "appoint b 6: the holder fell silent and its lease ran out\n"),
        ("a old; a disabled", "appoint b 6: the holder is disabled in IoT Hub\n"),
        ("a old; members b c", "appoint b 6: the holder is no member of the pool any more\n"),
        ("a old; a starting", "appoint b 6: the holder fell silent and its lease ran out\n"),
    ] {
        let mut view = all_well();
        phrases(&format!("{gone}; lapsed")).for_each(|phrase| apply(&mut view, &phrase));
        assert_eq!(shown(&plan(&view)), expected, "{gone}");
    }
}

#[test]
fn a_holder_whose_answer_is_overdue_is_asked_while_its_lease_lasts() {
    check(
        "a old age=7000",
        expect![[r#"
        renew a 5
    "#]],
    );
    check(
        "a old age=7001",
        expect![[r#"
        renew a 5
        probe a
    "#]],
    );
}

#[test]
fn without_a_fit_standby_the_term_is_not_bumped() {
    check(
        "a offline; lapsed; b silent; maintenance c",
        expect![[r#"
        renew a 5
        [no_fit_standby] no fit standby: a (its agent has been silent for 20.0 s: not connected to IoT Hub); b (its agent has been silent for 20.0 s: no answer in time); c (in maintenance)
    "#]],
    );
    check(
        "a old; lapsed; members a",
        expect![[r#"
        probe a
        renew a 5
        [fresh_answer] asking a whether it can take over
    "#]],
    );
}

#[test]
fn everyone_silent_is_no_failover() {
    check(
        "a silent; b silent; c offline; lapsed",
        expect![[r#"
        renew a 5
        [everyone_silent] every member is silent; nothing can be gained by a change
    "#]],
    );
    check(
        "a silent; members a; lapsed",
        expect![[r#"
        renew a 5
        [no_fit_standby] no fit standby: a (its agent has been silent for 20.0 s: no answer in time)
    "#]],
    );
    // A module that does not exist is no whole-site event.
    check(
        "a silent; b silent; c no_module; lapsed",
        expect![[r#"
        renew a 5
        [no_fit_standby] no fit standby: a (its agent has been silent for 20.0 s: no answer in time); b (its agent has been silent for 20.0 s: no answer in time); c (its agent has been silent for 20.0 s: no such device or agent module in IoT Hub)
    "#]],
    );
}

#[test]
fn too_many_changes_stop_the_automatic_ones_only() {
    check(
        "a offline; lapsed; flaps is=5",
        expect![[r#"
        renew a 5
        [flap_guard] 5 unplanned changes within 60 min: a person is needed (switchover or failover moves the pool)
    "#]],
    );
    check(
        "a offline; lapsed; flaps is=4",
        expect![[r#"
        appoint b 6: the holder fell silent and its lease ran out
    "#]],
    );
    check(
        "a failing; flaps is=5",
        expect![[r#"
            renew a 5
            [flap_guard] 5 unplanned changes within 60 min: a person is needed (switchover or failover moves the pool)
            [workload_failing] the workload fails on a: hung
        "#]],
    );
    check(
        "flaps is=5; request switchover",
        expect![[r#"
        revoke a 5: asked for by anna
        [release] a has been asked to stop: asked for by anna
    "#]],
    );
}

#[test]
fn a_mass_failure_holds_failovers_only() {
    check(
        "a offline; lapsed; brake held",
        expect![[r#"
        renew a 5
        [mass_failure] the holders of 6 of 10 pools look dead at once: failovers are held
    "#]],
    );
    check(
        "brake held; request switchover",
        expect![[r#"
        revoke a 5: asked for by anna
        [release] a has been asked to stop: asked for by anna
    "#]],
    );
}

#[test]
fn the_off_switch_stops_everything_but_renewals() {
    check(
        "a offline; lapsed; brake all_off",
        expect![[r#"
        renew a 5
        [all_off] all decisions are switched off
    "#]],
    );
    check(
        "brake all_off; request switchover",
        expect![[r#"
        renew a 5
        [all_off] all decisions are switched off
    "#]],
    );
    check(
        "a offline; brake all_off; request failover fenced",
        expect![[r#"
        renew a 5
        [all_off] all decisions are switched off
        [holder_may_still_run] a may still run for 10.0 s: not connected to IoT Hub
    "#]],
    );
    check(
        "holder nobody; lapsed; brake all_off",
        expect![[r#"
        [all_off] all decisions are switched off
    "#]],
    );
    check(
        "brake all_off",
        expect![[r#"
        renew a 5
    "#]],
    );
}

#[test]
fn a_term_that_cannot_be_exceeded_needs_a_person() {
    check(
        &format!("a offline; lapsed; term_seen is={NUMBER_MAX}"),
        expect![[r#"
        renew a 5
        [term_exhausted] term 4503599627370495 cannot be exceeded: the record needs a person
    "#]],
    );
}
