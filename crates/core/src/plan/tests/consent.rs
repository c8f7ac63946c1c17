//! Asking before a planned change.

use super::*;

#[test]
fn a_planned_change_is_asked_about_first() {
    check(
        "consults; request switchover to=c",
        expect![[r#"
        consult a -> c, term 5: asked for by anna
        renew a 5
        [consent] asking on site whether the holder may change: asked for by anna
    "#]],
    );
    check(
        "consults; maintenance a",
        expect![[r#"
        consult a -> b, term 5: the holder is in maintenance
        renew a 5
        [consent] asking on site whether the holder may change: the holder is in maintenance
    "#]],
    );
    check(
        "consults; holder b; given b; failback after=0",
        expect![[r#"
        consult b -> a, term 5: a member of higher priority is fit again
        renew b 5
        [consent] asking on site whether the holder may change: a member of higher priority is fit again
    "#]],
    );
    check(
        "consults; request switchover; asked asked",
        expect![[r#"
        renew a 5
        [consent] asking on site whether the holder may change: asked for by anna
    "#]],
    );
}

#[test]
fn a_yes_lets_it_begin() {
    check(
        "consults; maintenance a; asked maintenance; said go",
        expect![[r#"
        revoke a 5: the holder is in maintenance
        [release] a has been asked to stop: the holder is in maintenance
    "#]],
    );
}

#[test]
fn a_no_refuses_an_operators_request_and_holds_up_everything_else_for_a_while() {
    check(
        "consults; request switchover; asked asked; said no",
        expect![[r#"
        refuse r1: the line says no: mid-batch
        renew a 5
    "#]],
    );
    check(
        "consults; maintenance a; asked maintenance; said no ago=15000",
        expect![[r#"
        renew a 5
        [vetoed] the line says no to a change of holder (the holder is in maintenance): mid-batch; asked again in 45.0 s
    "#]],
    );
    check(
        "consults; maintenance a; asked maintenance; said no ago=60001",
        expect![[r#"
        consult a -> b, term 5: the holder is in maintenance
        renew a 5
        [consent] asking on site whether the holder may change: the holder is in maintenance
    "#]],
    );
}

#[test]
fn an_answer_to_another_question_does_not_count() {
    check(
        "consults; maintenance a; asked failback; said go",
        expect![[r#"
        consult a -> b, term 5: the holder is in maintenance
        renew a 5
        [consent] asking on site whether the holder may change: the holder is in maintenance
    "#]],
    );
    check(
        "consults; maintenance a; asked maintenance term=4; said go",
        expect![[r#"
        consult a -> b, term 5: the holder is in maintenance
        renew a 5
        [consent] asking on site whether the holder may change: the holder is in maintenance
    "#]],
    );
}

#[test]
fn nobody_is_asked_about_what_cannot_be_done() {
    check(
        "consults; maintenance a; b silent; c silent",
        expect![[r#"
        renew a 5
        [no_fit_standby] no fit standby: b (its agent has been silent for 20.0 s: no answer in time); c (its agent has been silent for 20.0 s: no answer in time)
    "#]],
    );
    check(
        "consults; maintenance a; b old; c silent",
        expect![[r#"
        probe b
        renew a 5
        [fresh_answer] asking b whether it can take over
    "#]],
    );
    check(
        "consults; maintenance a; brake all_off",
        expect![[r#"
        renew a 5
        [all_off] all decisions are switched off
    "#]],
    );
}

#[test]
fn what_is_not_planned_waits_for_nobody() {
    for unplanned in ["a leaving", "a failing", "a disabled", "members b c", "request failover"] {
        for asked in ["", "; asked maintenance", "; asked maintenance; said no"] {
            let mut view = all_well();
            let phrases_of = format!("consults; maintenance a; {unplanned}{asked}");
            let phrases_of =
                if unplanned.starts_with("request") { phrases_of.replace("maintenance a; ", "") } else { phrases_of };
            for phrase in phrases(&phrases_of) {
                apply(&mut view, &phrase);
            }
            let plan = plan(&view);
            let revoked = plan.steps.iter().any(|step| matches!(step, Step::Revoke { .. }));
            assert!(revoked, "{phrases_of}: {}", shown(&plan));
        }
    }
}

#[test]
fn a_holder_whose_lease_has_lapsed_is_replaced_whatever_was_said() {
    check(
        "consults; maintenance a; asked maintenance; said no; lapsed; a silent",
        expect![[r#"
        appoint b 6: the holder fell silent and its lease ran out
    "#]],
    );
    check(
        "consults; failback after=0; holder b; given b; lapsed; b silent",
        expect![[r#"
        appoint a 6: the holder fell silent and its lease ran out
    "#]],
    );
}

#[test]
fn an_operator_can_still_move_a_pool_whose_flap_guard_holds() {
    check(
        "consults; a failing; flaps; request switchover",
        expect![[r#"
        consult a -> b, term 5: asked for by anna
        renew a 5
        [consent] asking on site whether the holder may change: asked for by anna
        [flap_guard] 5 unplanned changes within 60 min: a person is needed (switchover or failover moves the pool)
        [workload_failing] the workload fails on a: hung
    "#]],
    );
}
