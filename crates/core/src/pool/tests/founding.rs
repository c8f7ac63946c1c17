//! A pool without a record.

use super::*;

#[test]
fn once_every_member_has_released_nobody_waits() {
    check(
        "
        0 in_charge
        10 none
        20 answer a revoke released=0
        30 answer b revoke released=0
        40 written
        50 answer a quick
        60 written
        ",
        expect![[r#"
            0 read
            0 hello a
            0 hello b
            10 revoke a term=0
            10 revoke b term=0
            30 write nobody term=0 epoch=3 ttl=15000 over none
            40 write a term=1 epoch=3 ttl=15000 over 1
            60 grant a term=1 nonce=3 ttl=15000
        "#]],
    );
}

#[test]
fn a_silent_member_is_waited_for_as_long_as_any_lease_lasts() {
    check(
        "
        0 in_charge
        10 none
        20 answer a revoke released=0
        6000 fail b revoke
        6001 why
        6010 none
        300300 tick
        300300 none
        300301 tick
        ",
        expect![[r#"
            0 read
            0 hello a
            0 hello b
            10 revoke a term=0
            10 revoke b term=0
            6000 read
            6001 nobody holds; no record yet: waiting for b to say that nothing runs there, at most 4 min
            300300 read
            300300 hello b
            300300 revoke b term=0
            300301 write nobody term=1000 epoch=3 ttl=15000 over none
        "#]],
    );
}

#[test]
fn a_member_that_still_runs_is_asked_again_with_its_term() {
    check(
        "
        0 in_charge
        10 none
        20 answer a revoke released=0
        30 answer b revoke active term=7 refused=stale_term through=7
        31 wake
        1010 tick
        1020 answer b revoke released=7
        ",
        expect![[r#"
            0 read
            0 hello a
            0 hello b
            10 revoke a term=0
            10 revoke b term=0
            31 wake 1010
            1010 revoke b term=7
            1020 write nobody term=7 epoch=3 ttl=15000 over none
        "#]],
    );
}

#[test]
fn a_record_that_appears_meanwhile_is_taken_as_it_is() {
    check(
        "0 in_charge; 10 none; 20 answer a revoke released=0; 30 answer b revoke released=0; 40 conflict; 50 read a",
        expect![[r#"
            0 read
            0 hello a
            0 hello b
            10 revoke a term=0
            10 revoke b term=0
            30 write nobody term=0 epoch=3 ttl=15000 over none
            40 read
            50 write a term=1005 epoch=3 ttl=15000 over 1
        "#]],
    );
}

#[test]
fn a_founding_write_of_unknown_fate_is_read_up() {
    check(
        "0 in_charge; 10 none; 20 answer a revoke released=0; 30 answer b revoke released=0; 40 unsure; 50 reread",
        expect![[r#"
            0 read
            0 hello a
            0 hello b
            10 revoke a term=0
            10 revoke b term=0
            30 write nobody term=0 epoch=3 ttl=15000 over none
            40 read
        "#]],
    );
    check(
        "0 in_charge; 10 none; 20 answer a revoke released=0; 30 answer b revoke released=0; 40 unsure; 50 none",
        expect![[r#"
            0 read
            0 hello a
            0 hello b
            10 revoke a term=0
            10 revoke b term=0
            30 write nobody term=0 epoch=3 ttl=15000 over none
            40 read
            50 write nobody term=0 epoch=3 ttl=15000 over none
        "#]],
    );
}
