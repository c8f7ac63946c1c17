//! Planned changes.

use super::*;

#[test]
fn a_holder_that_must_go_is_revoked_once_somebody_can_take_over() {
    check(
        "a leaving",
        expect![[r#"
        revoke a 5: the holder's agent is being stopped
        [release] a has been asked to stop: the holder's agent is being stopped
    "#]],
    );
    check(
        "maintenance a",
        expect![[r#"
        revoke a 5: the holder is in maintenance
        [release] a has been asked to stop: the holder is in maintenance
    "#]],
    );
    check(
        "a disabled",
        expect![[r#"
        revoke a 5: the holder is disabled in IoT Hub
        [release] a has been asked to stop: the holder is disabled in IoT Hub
    "#]],
    );
    check(
        "members b c",
        expect![[r#"
        revoke a 5: the holder is no member of the pool any more
        [release] a has been asked to stop: the holder is no member of the pool any more
    "#]],
    );
    check(
        "a failing",
        expect![[r#"
        revoke a 5: the workload fails on the holder: hung
        [release] a has been asked to stop: the workload fails on the holder: hung
    "#]],
    );
    check(
        "a unready",
        expect![[r#"
        revoke a 5: the workload fails on the holder: no image
        [release] a has been asked to stop: the workload fails on the holder: no image
    "#]],
    );
}

#[test]
fn a_holder_that_must_go_stays_while_nobody_can_take_over() {
    check(
        "a leaving; b silent; c unready",
        expect![[r#"
        renew a 5
        [no_fit_standby] no fit standby: b (its agent has been silent for 20.0 s: no answer in time); c (its workload is not ready: no image)
    "#]],
    );
    check(
        "maintenance a; b old; c silent",
        expect![[r#"
        probe b
        renew a 5
        [fresh_answer] asking b whether it can take over
    "#]],
    );
    check(
        "a failing; members a",
        expect![[r#"
            renew a 5
            [no_fit_standby] no fit standby: the pool has no other member
            [workload_failing] the workload fails on a: hung
        "#]],
    );
}

#[test]
fn a_failing_workload_stays_where_the_policy_says_so() {
    check(
        "a failing; stay",
        expect![[r#"
        renew a 5
        [workload_failing] the workload fails on a: hung
    "#]],
    );
}

#[test]
fn after_the_release_the_best_is_appointed() {
    check(
        "maintenance a; revoking maintenance; released a",
        expect![[r#"
        appoint b 6: the holder is in maintenance
    "#]],
    );
    check(
        "request switchover to=c; revoking asked to=c; released a",
        expect![[r#"
        appoint c 6: asked for by anna
    "#]],
    );
}

#[test]
fn after_a_release_with_nobody_left_the_old_holder_gets_a_new_term() {
    check(
        "revoking failback; released a; b silent; c silent",
        expect![[r#"
        appoint a 6: the term was used up
        [no_fit_standby] no fit standby: b (its agent has been silent for 20.0 s: no answer in time); c (its agent has been silent for 20.0 s: no answer in time)
    "#]],
    );
    check(
        "revoking failback; released a; b silent; c silent; a old",
        expect![[r#"
        probe a
        [no_fit_standby] no fit standby: b (its agent has been silent for 20.0 s: no answer in time); c (its agent has been silent for 20.0 s: no answer in time)
    "#]],
    );
    check(
        "revoking failback; lapsed; b silent; c silent; a old",
        expect![[r#"
        probe a
        [no_fit_standby] no fit standby: b (its agent has been silent for 20.0 s: no answer in time); c (its agent has been silent for 20.0 s: no answer in time)
    "#]],
    );
    check(
        "maintenance a; revoking maintenance; released a; b silent; c silent",
        expect![[r#"
        [no_fit_standby] no fit standby: b (its agent has been silent for 20.0 s: no answer in time); c (its agent has been silent for 20.0 s: no answer in time)
    "#]],
    );
}

#[test]
fn what_was_released_before_the_term_began_says_nothing_about_it() {
    check(
        "holder b term=6; released a term=5; b old; failback after=1",
        expect![[r#"
        appoint a 7: a member of higher priority is fit again
    "#]],
    );
    check(
        "holder b term=6; released a term=5",
        expect![[r#"
        renew b 6
    "#]],
    );
}

#[test]
fn a_revoke_goes_on_until_the_lease_has_run_out() {
    check(
        "maintenance a; revoking maintenance; a silent",
        expect![[r#"
        revoke a 5: the holder is in maintenance
        [release] a has been asked to stop: the holder is in maintenance
    "#]],
    );
    check(
        "maintenance a; revoking maintenance; a silent; lapsed",
        expect![[r#"
        appoint b 6: the holder is in maintenance
    "#]],
    );
}

#[test]
fn failback_waits_until_the_better_one_has_been_fit_for_long() {
    let b_holds = "holder b; given b";
    check(
        &format!("{b_holds}; a fit for=60000"),
        expect![[r#"
        renew b 5
    "#]],
    );
    check(
        &format!("{b_holds}; a fit for=60000; failback after=60000"),
        expect![[r#"
        revoke b 5: a member of higher priority is fit again
        [release] b has been asked to stop: a member of higher priority is fit again
    "#]],
    );
    check(
        &format!("{b_holds}; a fit for=59999; failback after=60000"),
        expect![[r#"
        renew b 5
    "#]],
    );
    check(
        &format!("{b_holds}; a fit for=60000; a old; failback after=60000"),
        expect![[r#"
        probe a
        renew b 5
        [fresh_answer] asking a whether it can take over
    "#]],
    );
    check(
        &format!("{b_holds}; c fit for=60000; a silent; failback after=60000"),
        expect![[r#"
        renew b 5
    "#]],
    );
}
