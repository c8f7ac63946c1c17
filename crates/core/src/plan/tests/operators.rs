//! What operators ask for.

use super::*;

#[test]
fn requests_that_move_nobody_are_settled() {
    check(
        "request pause; request resume; request maintenance b on; request maintenance x on",
        expect![[r#"
        settle r1
        settle r2
        settle r3
        refuse r4: x is no member of the pool
        renew a 5
    "#]],
    );
}

#[test]
fn a_pause_keeps_renewing_and_decides_nothing() {
    check(
        "paused; a leaving",
        expect![[r#"
        renew a 5
        [paused] paused by anna
    "#]],
    );
    check(
        "paused; a offline; lapsed",
        expect![[r#"
        renew a 5
        [paused] paused by anna
    "#]],
    );
    check(
        "paused; holder nobody; lapsed",
        expect![[r#"
        [paused] paused by anna
    "#]],
    );
    check(
        "paused; request resume; request switchover",
        expect![[r#"
        settle r1
        renew a 5
        [paused] paused by anna
    "#]],
    );
}

#[test]
fn a_half_done_switchover_is_completed_in_a_pause() {
    check(
        "paused; revoking asked to=c",
        expect![[r#"
        revoke a 5: asked for by anna
        [release] a has been asked to stop: asked for by anna
    "#]],
    );
    check(
        "paused; revoking asked to=c; released a",
        expect![[r#"
        appoint c 6: asked for by anna
    "#]],
    );
}

#[test]
fn a_switchover_goes_to_the_one_asked_for_or_the_best() {
    check(
        "request switchover to=c",
        expect![[r#"
        revoke a 5: asked for by anna
        [release] a has been asked to stop: asked for by anna
    "#]],
    );
    check(
        "request switchover",
        expect![[r#"
        revoke a 5: asked for by anna
        [release] a has been asked to stop: asked for by anna
    "#]],
    );
    check(
        "request switchover to=c; c old",
        expect![[r#"
        probe c
        renew a 5
        [fresh_answer] asking c whether it can take over
    "#]],
    );
    check(
        "request switchover to=c; c unheard",
        expect![[r#"
            probe c
            renew a 5
            [fresh_answer] asking c whether it can take over
        "#]],
    );
}

#[test]
fn a_switchover_waits_for_an_agent_that_starts_while_the_holder_runs() {
    check(
        "request switchover to=c; c starting",
        expect![[r#"
        renew a 5
        [fresh_answer] asking c whether it can take over
    "#]],
    );
    check(
        "request switchover to=c; c starting; a failing",
        expect![[r#"
        revoke a 5: the workload fails on the holder: hung
        [release] a has been asked to stop: the workload fails on the holder: hung
    "#]],
    );
    check(
        "request switchover; b starting; c unready",
        expect![[r#"
        renew a 5
        [no_fit_standby] no fit standby: b (its agent has just started); c (its workload is not ready: no image)
    "#]],
    );
    check(
        "request switchover to=c; c starting; c failing",
        expect![[r#"
        refuse r1: c is not fit: its agent has just started, its workload fails: hung
        renew a 5
    "#]],
    );
    check(
        "request switchover to=c; c starting; lapsed",
        expect![[r#"
        refuse r1: c is not fit: its agent has just started
        renew a 5
    "#]],
    );
    check(
        "request failover to=c; c starting",
        expect![[r#"
        refuse r1: c is not fit: its agent has just started
        renew a 5
    "#]],
    );
    check(
        "request failover to=c fenced; c starting; a offline",
        expect![[r#"
        refuse r1: c is not fit: its agent has just started
        renew a 5
        [holder_may_still_run] a may still run for 10.0 s: not connected to IoT Hub
    "#]],
    );
}

#[test]
fn a_switchover_that_cannot_be_is_refused_with_the_reason() {
    check(
        "request switchover to=x",
        expect![[r#"
        refuse r1: x is no member of the pool
        renew a 5
    "#]],
    );
    check(
        "request switchover to=a",
        expect![[r#"
        settle r1
        renew a 5
    "#]],
    );
    check(
        "request switchover to=b; b failing; maintenance b",
        expect![[r#"
        refuse r1: b is not fit: in maintenance, its workload fails: hung
        renew a 5
    "#]],
    );
    check(
        "request switchover; b silent; c unready",
        expect![[r#"
        refuse r1: no other member is fit
        renew a 5
    "#]],
    );
    check(
        "request switchover to=b; a offline",
        expect![[r#"
        refuse r1: the holder does not answer (not connected to IoT Hub): a failover can be asked for instead
        renew a 5
        [holder_may_still_run] a may still run for 10.0 s: not connected to IoT Hub
    "#]],
    );
}

#[test]
fn of_two_requests_the_first_that_can_be_met_counts() {
    check(
        "request switchover to=x; request switchover to=c; request switchover to=b",
        expect![[r#"
        refuse r1: x is no member of the pool
        revoke a 5: asked for by anna
        [release] a has been asked to stop: asked for by anna
    "#]],
    );
}

#[test]
fn a_failover_asked_for_revokes_and_waits() {
    check(
        "request failover to=b; a offline",
        expect![[r#"
        revoke a 5: asked for by anna
        [release] a has been asked to stop: asked for by anna
    "#]],
    );
    check(
        "request failover to=b; a offline; lapsed",
        expect![[r#"
        appoint b 6: asked for by anna
    "#]],
    );
}

#[test]
fn an_operators_word_ends_the_wait_and_nothing_is_granted_on_top_of_it() {
    check(
        "request failover fenced; a offline",
        expect![[r#"
        fence
        appoint b 6: asked for by anna, who vouched that the old holder was not running
    "#]],
    );
    check(
        "request failover to=b fenced; a offline; b old",
        expect![[r#"
        fence
        probe b
        [fresh_answer] asking b whether it can take over
    "#]],
    );
    check(
        "request failover to=b fenced; a offline; fenced; b old",
        expect![[r#"
        probe b
        [fresh_answer] asking b whether it can take over
    "#]],
    );
    check(
        "request failover to=b fenced; a offline; fenced",
        expect![[r#"
        appoint b 6: asked for by anna, who vouched that the old holder was not running
    "#]],
    );
    check(
        "request failover to=b fenced; a offline; b leaving",
        expect![[r#"
        refuse r1: b is not fit: its agent is being stopped
        renew a 5
        [holder_may_still_run] a may still run for 10.0 s: not connected to IoT Hub
    "#]],
    );
}
