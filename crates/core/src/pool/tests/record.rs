//! The record and its writes.

use super::*;

const RUNS: &str = "0 in_charge; 5 answer a quick active; 6 answer b quick; 10 read a;";

#[test]
fn the_appointment_is_written_before_the_grant() {
    check(
        "0 in_charge; 5 answer a quick; 10 read nobody ttl=15000; 15100 tick; 15105 read nobody; 15110 answer a quick; 15200 written",
        expect![[r#"
            0 read
            0 hello a
            0 hello b
            15100 read
            15100 hello a
            15110 write a term=1005 epoch=3 ttl=15000 over 2
            15200 grant a term=1005 nonce=2 ttl=15000
        "#]],
    );
}

#[test]
fn a_conflict_is_read_up_before_anything_else() {
    check(
        &format!(
            "{RUNS} 50 answer a grant active leaving; 60 answer a revoke leaving released=5; 70 conflict; 71 tick; 80 read a"
        ),
        expect![[r#"
            0 read
            0 hello a
            0 hello b
            10 grant a term=5 nonce=1 ttl=15000
            50 revoke a term=5
            60 write b term=6 epoch=3 ttl=15000 over 1
            70 read
            80 write b term=6 epoch=3 ttl=15000 over 2
        "#]],
    );
}

#[test]
fn a_write_that_failed_is_tried_again_after_a_read() {
    check(
        &format!(
            "{RUNS} 50 answer a grant active leaving; 60 answer a revoke leaving released=5; 70 write_failed; 71 wake; 1070 tick; 1080 read_failed; 2080 tick; 2090 read a"
        ),
        expect![[r#"
            0 read
            0 hello a
            0 hello b
            10 grant a term=5 nonce=1 ttl=15000
            50 revoke a term=5
            60 write b term=6 epoch=3 ttl=15000 over 1
            71 wake 1010
            1070 read
            2080 read
            2090 write b term=6 epoch=3 ttl=15000 over 2
        "#]],
    );
}

#[test]
fn nothing_is_granted_between_a_write_of_unknown_fate_and_the_read_that_tells() {
    check(
        &format!(
            "{RUNS} 50 answer a grant active leaving; 60 answer a revoke leaving released=5; 70 unsure; 1000 tick; 1001 answer b hello; 1002 why; 1010 reread"
        ),
        expect![[r#"
            0 read
            0 hello a
            0 hello b
            10 grant a term=5 nonce=1 ttl=15000
            50 revoke a term=5
            60 write b term=6 epoch=3 ttl=15000 over 1
            70 read
            1002 nobody holds; the record has not been read yet
            1010 grant b term=6 nonce=5 ttl=15000
        "#]],
    );
}

#[test]
fn one_operation_on_the_record_at_a_time() {
    check(
        &format!(
            "{RUNS} 5010 tick; 5020 answer a grant active leaving; 5030 answer a revoke leaving released=5; 5040 read a"
        ),
        expect![[r#"
            0 read
            0 hello a
            0 hello b
            10 grant a term=5 nonce=1 ttl=15000
            5010 read
            5020 revoke a term=5
            5040 write b term=6 epoch=3 ttl=15000 over 2
        "#]],
    );
}

#[test]
fn a_deleted_record_is_rebuilt_above_any_term_seen() {
    check(
        &format!(
            "{RUNS} 1000 tick; 2000 answer b hello term=8; 2010 answer a grant active; 5010 tick; 5020 none; 5021 why; 5030 written; 5031 tick"
        ),
        expect![[r#"
            0 read
            0 hello a
            0 hello b
            10 grant a term=5 nonce=1 ttl=15000
            2000 revoke a term=8
            5010 read
            5020 write a term=9 epoch=3 ttl=15000 over none
            5021 nobody holds; the record has not been read yet
            5030 grant a term=9 nonce=4 ttl=15000
        "#]],
    );
}

#[test]
fn a_deleted_record_is_remembered_until_it_is_rebuilt() {
    check(
        &format!(
            "{RUNS}
            400000 tick
            401000 tick
            401001 answer a quick active
            405010 tick
            405020 none
            405030 write_failed
            406030 tick
            406040 none
            406041 unsure
            406050 none
            406055 answer a grant active
            406060 written
            "
        ),
        expect![[r#"
            0 read
            0 hello a
            0 hello b
            10 grant a term=5 nonce=1 ttl=15000
            400000 read
            401000 hello a
            401000 hello b
            401001 grant a term=5 nonce=3 ttl=15000
            405020 write a term=6 epoch=3 ttl=15000 over none
            406030 read
            406030 hello b
            406040 write a term=6 epoch=3 ttl=15000 over none
            406041 read
            406050 write a term=6 epoch=3 ttl=15000 over none
            406060 grant a term=6 nonce=4 ttl=15000
        "#]],
    );
}
