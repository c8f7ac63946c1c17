//! Who comes next.

use super::*;

#[test]
fn the_first_holder_is_the_first_in_order() {
    check(
        "holder nobody; lapsed",
        expect![[r#"
        appoint a 6: the pool had no holder
    "#]],
    );
    check(
        "holder nobody; lapsed; a silent",
        expect![[r#"
        appoint b 6: the pool had no holder
    "#]],
    );
    check(
        "holder nobody; lapsed; members b c a",
        expect![[r#"
        appoint b 6: the pool had no holder
    "#]],
    );
    // Priority comes before being fit for long.
    check(
        "holder nobody; lapsed; a fit for=1; b fit for=900000",
        expect![[r#"
        appoint a 6: the pool had no holder
    "#]],
    );
}

#[test]
fn a_pool_without_holder_waits_for_an_unknown_earlier_one() {
    check(
        "holder nobody",
        expect![[r#"
        [holder_may_still_run] an earlier holder may still run for 10.0 s
    "#]],
    );
    check(
        "holder nobody; request failover fenced",
        expect![[r#"
        fence
        appoint a 6: asked for by anna, who vouched that the old holder was not running
    "#]],
    );
}

#[test]
fn nobody_unfit_is_appointed() {
    for unfit in [
        "maintenance a",
        "a disabled",
        "a unregistered",
        "a silent",
        "a old age=37000",
        "a leaving",
        "a starting",
        "a unready",
        "a failing",
        "a refused flag",
        "a refused ttl",
        "a unheard",
    ] {
        let mut view = all_well();
        for phrase in phrases("holder nobody; lapsed; members a").chain(phrases(unfit)) {
            apply(&mut view, &phrase);
        }
        let plan = plan(&view);
        assert!(!plan.steps.iter().any(|step| matches!(step, Step::Appoint { .. })), "{unfit}: {}", shown(&plan));
    }
}

#[test]
fn what_speaks_against_each_is_said() {
    check(
        "holder nobody; lapsed; maintenance a; a disabled; b unregistered; c leaving; c starting; c unready",
        expect![[r#"
            [no_fit_standby] no fit standby: a (in maintenance, disabled in IoT Hub); b (not registered in IoT Hub); c (its agent is being stopped, its agent has just started, its workload is not ready: no image)
        "#]],
    );
    check(
        "holder nobody; lapsed; members a b; a old age=37000; b refused flag; b failing",
        expect![[r#"
        [no_fit_standby] no fit standby: a (the last answer is 37.0 s old); b (its workload fails: hung, its agent refuses: the flag in the twin says inactive for term 5)
    "#]],
    );
    check(
        "holder nobody; lapsed; members a b; a unheard; b offline",
        expect![[r#"
        [no_fit_standby] no fit standby: a (its agent has not been heard yet); b (its agent has been silent for 20.0 s: not connected to IoT Hub)
    "#]],
    );
    check(
        "holder nobody; lapsed; members",
        expect![[r#"
        [no_fit_standby] no fit standby: the pool has no other member
    "#]],
    );
}

#[test]
fn an_enabled_registration_speaks_against_nobody() {
    check(
        "holder nobody; lapsed; a enabled",
        expect![[r#"
        appoint a 6: the pool had no holder
    "#]],
    );
}

#[test]
fn an_old_answer_is_refreshed_first() {
    check(
        "holder nobody; lapsed; a old",
        expect![[r#"
        probe a
        [fresh_answer] asking a whether it can take over
    "#]],
    );
}
