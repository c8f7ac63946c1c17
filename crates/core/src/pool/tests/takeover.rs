//! A controller that comes after another.

use super::*;

#[test]
fn the_record_is_claimed_before_the_holder_is_renewed() {
    check(
        "0 in_charge epoch=4; 10 read a; 20 answer a quick active; 30 written; 31 tick",
        expect![[r#"
        0 read
        0 hello a
        0 hello b
        10 write a term=5 epoch=4 ttl=15000 over 1
        30 grant a term=5 nonce=1 ttl=15000
    "#]],
    );
}

#[test]
fn an_inherited_holder_is_renewed_at_once_only_if_it_runs_that_term() {
    check(
        "0 in_charge; 5 answer a quick active; 10 read a; 20 wake",
        expect![[r#"
        0 read
        0 hello a
        0 hello b
        10 grant a term=5 nonce=1 ttl=15000
        20 wake 3000
    "#]],
    );
    check(
        "0 in_charge; 5 answer a quick; 10 read a; 20 wake",
        expect![[r#"
            0 read
            0 hello a
            0 hello b
            10 revoke a term=5
            10 revoke b term=5
            20 wake 3000
        "#]],
    );
    check(
        "0 in_charge; 5 answer a quick active term=4; 10 read a; 20 wake",
        expect![[r#"
            0 read
            0 hello a
            0 hello b
            10 revoke a term=5
            10 revoke b term=5
            20 wake 3000
        "#]],
    );
}

#[test]
fn an_inherited_holder_that_does_not_run_is_granted_after_the_predecessors_lease() {
    check(
        "0 in_charge; 5 answer a quick; 10 read a; 1010 tick; 14000 tick; 14010 read a; 14020 answer a hello; 15015 tick; 15016 tick",
        expect![[r#"
            0 read
            0 hello a
            0 hello b
            10 revoke a term=5
            10 revoke b term=5
            14000 read
            15015 revoke a term=5
            15015 revoke b term=5
            15016 write a term=1005 epoch=3 ttl=15000 over 2
        "#]],
    );
}

#[test]
fn a_record_that_nobody_confirms_is_left_as_soon_as_all_have_released() {
    check(
        "0 in_charge; 5 answer a quick; 10 read a; 11 why; 20 answer b revoke refused=stale_term through=7; 30 answer a revoke released=5; 1010 tick; \
         1020 answer b revoke released=7; 1030 written; 1040 tick",
        expect![[r#"
            0 read
            0 hello a
            0 hello b
            10 revoke a term=5
            10 revoke b term=5
            11 a holds term 5; a does not say that it runs term 5, and another may have been given a later one: waiting for everybody to say that nothing runs there, at most 15.0 s
            1010 revoke b term=7
            1010 revoke a term=7
            1020 write a term=1007 epoch=3 ttl=15000 over 1
            1030 grant a term=1007 nonce=3 ttl=15000
        "#]],
    );
}

#[test]
fn a_silent_inherited_holder_is_replaced_only_after_its_lease_counted_from_the_takeover() {
    check(
        "
        1000 in_charge
        1010 read a
        1020 answer b quick
        4000 fail a quick
        15900 tick
        15910 read a
        15911 why
        15920 answer b quick
        16015 tick
        16016 tick
        16100 written
        ",
        expect![[r#"
            1000 read
            1000 hello a
            1000 hello b
            15900 read
            15900 hello a
            15900 hello b
            15911 a holds term 5; a may still run for 106 ms: no answer in time
            16016 write b term=1005 epoch=3 ttl=15000 over 2
            16100 grant b term=1005 nonce=2 ttl=15000
        "#]],
    );
}

#[test]
fn a_longer_ttl_on_record_is_waited_for() {
    check(
        "0 in_charge; 10 read a ttl=60000; 3000 fail a quick; 16000 why",
        expect![[r#"
            0 read
            0 hello a
            0 hello b
            16000 a holds term 5; a may still run for 57.0 s: no answer in time
        "#]],
    );
}

#[test]
fn a_ttl_that_nobody_can_have_granted_is_waited_for_as_the_longest() {
    let script = |ttl: u64| format!("0 in_charge; 10 read a ttl={ttl}; 20 written; 3000 fail a quick; 16000 why");
    for below in [0, 999] {
        check(
            &script(below),
            expect![[r#"
                0 read
                0 hello a
                0 hello b
                10 write a term=5 epoch=3 ttl=300000 over 1
                16000 a holds term 5; a may still run for 4 min: no answer in time
            "#]],
        );
    }
    for above in [300_001, crate::ids::NUMBER_MAX] {
        check(
            &script(above),
            expect![[r#"
                0 read
                0 hello a
                0 hello b
                16000 a holds term 5; a may still run for 4 min: no answer in time
            "#]],
        );
    }
}

#[test]
fn a_longer_ttl_of_ours_is_recorded_before_it_is_used() {
    check(
        "0 in_charge; 5 answer a quick active; 10 read a ttl=9000; 20 written; 21 tick",
        expect![[r#"
        0 read
        0 hello a
        0 hello b
        10 write a term=5 epoch=3 ttl=15000 over 1
        20 grant a term=5 nonce=1 ttl=15000
    "#]],
    );
}

#[test]
fn whoever_loses_the_charge_grants_nothing_more() {
    check(
        "0 in_charge; 5 answer a quick active; 10 read a; 20 out_of_charge; 30 answer a grant active; 40 tick",
        expect![[r#"
            0 read
            0 hello a
            0 hello b
            10 grant a term=5 nonce=1 ttl=15000
        "#]],
    );
    check(
        "0 in_charge until=3000; 5 answer a quick active; 10 read a; 11 wake; 3000 answer a grant active",
        expect![[r#"
        0 read
        0 hello a
        0 hello b
        10 grant a term=5 nonce=1 ttl=15000
        11 wake 3000
    "#]],
    );
}

#[test]
fn a_nonce_of_an_earlier_charge_is_not_echoed() {
    check(
        "0 in_charge; 5 answer a quick active; 20 out_of_charge; 30 in_charge epoch=5; 40 read a epoch=5",
        expect![[r#"
        0 read
        0 hello a
        0 hello b
        30 read
        30 hello b
        40 hello a
    "#]],
    );
}

#[test]
fn a_higher_epoch_is_passed_on() {
    check(
        "0 in_charge; 5 answer a quick refused=stale_epoch through=9",
        expect![[r#"
        0 read
        0 hello a
        0 hello b
        5 epoch seen 9
    "#]],
    );
    check(
        "0 in_charge; 5 answer a quick refused=stale_epoch through=3",
        expect![[r#"
        0 read
        0 hello a
        0 hello b
    "#]],
    );
    check(
        "0 in_charge; 5 read a epoch=9; 6 why",
        expect![[r#"
        0 read
        0 hello a
        0 hello b
        5 epoch seen 9
        6 a holds term 5; a controller of epoch 9 has written the record; we must get a newer charge
    "#]],
    );
}

#[test]
fn a_pool_of_other_controllers_is_only_watched() {
    check(
        "0 show; 0 in_charge; 5 answer a quick active; 10 read a control=theirs status=x; 1005 tick; 6000 tick; 6010 none; 6011 why",
        expect![[r#"
            0 read
            0 record: nobody holds; the record has not been read yet
            0 hello a
            0 hello b
            0 gather a
            0 gather b
            10 record: a holds term 5; the record belongs to controllers under theirs, not to us
            6000 read
            6011 a holds term 5; the record belongs to controllers under theirs, not to us
        "#]],
    );
}

#[test]
fn a_pool_handed_over_is_waited_for_from_that_moment() {
    check(
        "
        0 in_charge
        10 read a control=theirs
        60000 tick
        60010 read a
        60020 why
        ",
        expect![[r#"
            0 read
            0 hello a
            0 hello b
            60000 read
            60020 a holds term 5; a may still run for 15.0 s: no answer in time
        "#]],
    );
}
