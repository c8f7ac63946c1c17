//! Members that run, or would run, something else.

use super::*;

#[test]
fn drift_is_said_before_it_matters() {
    check(
        "a deployed one; b deployed one; c deployed two",
        expect![[r#"
        renew a 5
        [drifted] c has drifted: it is told to run something else than a
    "#]],
    );
    check(
        "a deployed one; b deployed one astray=workload.image",
        expect![[r#"
        renew a 5
        [drifted] b has drifted: it does not run what it is told: workload.image
    "#]],
    );
    check(
        "drift ignore; a deployed one; b deployed two",
        expect![[r#"
        renew a 5
    "#]],
    );
    // What is not known is no drift.
    check(
        "a deployed one",
        expect![[r#"
        renew a 5
    "#]],
    );
    check(
        "b deployed two; c deployed three",
        expect![[r#"
        renew a 5
    "#]],
    );
}

#[test]
fn what_a_member_has_for_itself_is_no_drift() {
    check(
        "a deployed one apart=x; b deployed one; c deployed one apart=x",
        expect![[r#"
        renew a 5
    "#]],
    );
    check(
        "a deployed one apart=x; b deployed one; c deployed one apart=y",
        expect![[r#"
        renew a 5
        [drifted] c has drifted: it is told to run something else than a
    "#]],
    );
}

#[test]
fn a_drifted_standby_may_follow_unless_the_policy_blocks_it() {
    check(
        "a deployed one; b deployed two; c silent; a silent; lapsed; patience",
        expect![[r#"
        appoint b 6: the holder fell silent and its lease ran out
        [drifted] b has drifted: it is told to run something else than a
    "#]],
    );
    check(
        "drift block; a deployed one; b deployed two; a silent; lapsed; patience",
        expect![[r#"
        appoint c 6: the holder fell silent and its lease ran out
        [drifted] b has drifted: it is told to run something else than a
    "#]],
    );
    check(
        "drift block; a deployed one; b deployed two; c deployed two; a silent; lapsed; patience",
        expect![[r#"
        renew a 5
        [no_fit_standby] no fit standby: a (its agent has been silent for 20.0 s: no answer in time); b (drifted, it is told to run something else than a (`drift` shows it; `failover --to` takes it all the same)); c (drifted, it is told to run something else than a (`drift` shows it; `failover --to` takes it all the same))
        [drifted] b has drifted: it is told to run something else than a
        [drifted] c has drifted: it is told to run something else than a
    "#]],
    );
}

#[test]
fn an_operator_can_move_the_work_to_a_drifted_member() {
    check(
        "drift block; a deployed one; b deployed two; request switchover to=b",
        expect![[r#"
        refuse r1: b is not fit: drifted, it is told to run something else than a (`drift` shows it; `failover --to` takes it all the same)
        renew a 5
        [drifted] b has drifted: it is told to run something else than a
    "#]],
    );
    check(
        "drift block; a deployed one; b deployed two; request failover to=b",
        expect![[r#"
        revoke a 5: asked for by anna
        [release] a has been asked to stop: asked for by anna
        [drifted] b has drifted: it is told to run something else than a
    "#]],
    );
    check(
        "drift block; a deployed one; b deployed two; c silent; request failover",
        expect![[r#"
        refuse r1: no other member is fit
        renew a 5
        [drifted] b has drifted: it is told to run something else than a
    "#]],
    );
    check(
        "drift block; a deployed one; b deployed two; request failover to=b; released a",
        expect![[r#"
        appoint b 6: asked for by anna
        [drifted] b has drifted: it is told to run something else than a
    "#]],
    );
}

#[test]
fn a_release_under_way_blocks_nothing() {
    check(
        "drift block; a deployed one release=r1; b deployed two release=r2; request switchover to=b",
        expect![[r#"
        revoke a 5: asked for by anna
        [release] a has been asked to stop: asked for by anna
        [releasing] b is ahead or behind: it has the release r2, and a has r1
    "#]],
    );
    check(
        "drift block; a deployed one; b deployed two release=r2; request switchover to=b",
        expect![[r#"
        revoke a 5: asked for by anna
        [release] a has been asked to stop: asked for by anna
        [releasing] b is ahead or behind: it has the release r2, and a has none
    "#]],
    );
    check(
        "drift block; a deployed one release=r1; b deployed two; request switchover to=b",
        expect![[r#"
        refuse r1: b is not fit: drifted, it is told to run something else than a (`drift` shows it; `failover --to` takes it all the same)
        renew a 5
        [drifted] b has drifted: it is told to run something else than a
    "#]],
    );
    check(
        "drift block; a deployed one release=r1; b deployed two release=r2 astray=workload; request switchover to=b",
        expect![[r#"
        refuse r1: b is not fit: drifted, it does not run what it is told: workload (`drift` shows it; `failover --to` takes it all the same)
        renew a 5
        [drifted] b has drifted: it does not run what it is told: workload
    "#]],
    );
}

#[test]
fn a_drifted_holder_goes_on() {
    check(
        "drift block; a deployed one astray=workload.image",
        expect![[r#"
        renew a 5
        [drifted] a has drifted: it does not run what it is told: workload.image
    "#]],
    );
    check(
        "drift block; a deployed one astray=workload.image; lapsed",
        expect![[r#"
        renew a 5
        [drifted] a has drifted: it does not run what it is told: workload.image
    "#]],
    );
}
