//! Asking before a planned change.

use super::*;

/// `a` runs term 5, those on site are to be asked, and `a` is about to go into maintenance.
const RUNS: &str = "0 consults; 0 in_charge; 5 answer a quick active; 6 answer b quick; 10 read a maintenance=a;";

#[test]
fn a_yes_lets_the_change_begin_at_once() {
    check(
        &format!("{RUNS} 900 said go; 905 answer a revoke released=5"),
        expect![[r#"
        0 read
        0 hello a
        0 hello b
        10 consult a -> b term=5: the holder is in maintenance
        10 grant a term=5 nonce=1 ttl=15000
        900 revoke a term=5
        905 write b term=6 epoch=3 ttl=15000 over 1
    "#]],
    );
}

#[test]
fn a_no_keeps_the_holder_and_is_asked_again_after_a_minute() {
    check(
        &format!("{RUNS} 900 said no; 901 why; 4010 answer a grant active; 4020 answer b hello"),
        expect![[r#"
        0 read
        0 hello a
        0 hello b
        10 consult a -> b term=5: the holder is in maintenance
        10 grant a term=5 nonce=1 ttl=15000
        901 a holds term 5; the line says no to a change of holder (the holder is in maintenance): mid-batch; asked again in 60.0 s
        4010 grant a term=5 nonce=3 ttl=15000
    "#]],
    );
}

#[test]
fn while_nobody_has_answered_the_lease_goes_on() {
    check(
        &format!("{RUNS} 4010 answer a grant active; 4020 why"),
        expect![[r#"
        0 read
        0 hello a
        0 hello b
        10 consult a -> b term=5: the holder is in maintenance
        10 grant a term=5 nonce=1 ttl=15000
        4010 grant a term=5 nonce=3 ttl=15000
        4020 a holds term 5; asking on site whether the holder may change: the holder is in maintenance
    "#]],
    );
}

#[test]
fn an_answer_of_an_earlier_charge_counts_for_nothing() {
    check(
        &format!("{RUNS} 20 out_of_charge; 30 said go"),
        expect![[r#"
        0 read
        0 hello a
        0 hello b
        10 consult a -> b term=5: the holder is in maintenance
        10 grant a term=5 nonce=1 ttl=15000
    "#]],
    );
}
