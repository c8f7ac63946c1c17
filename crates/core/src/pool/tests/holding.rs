//! A pool that runs.

use super::*;

/// `a` runs term 5 and has been granted it.
const RUNS: &str = "0 in_charge; 5 answer a quick active; 6 answer b quick; 10 read a;";

#[test]
fn each_answer_brings_the_next_grant() {
    check(
        &format!("{RUNS} 4010 answer a grant active; 8010 answer a grant active"),
        expect![[r#"
        0 read
        0 hello a
        0 hello b
        10 grant a term=5 nonce=1 ttl=15000
        4010 grant a term=5 nonce=3 ttl=15000
        8010 read
        8010 grant a term=5 nonce=4 ttl=15000
    "#]],
    );
}

#[test]
fn an_answer_that_comes_at_once_is_no_storm() {
    check(
        &format!("{RUNS} 20 answer a grant active; 21 wake; 1009 tick; 1010 tick"),
        expect![[r#"
            0 read
            0 hello a
            0 hello b
            10 grant a term=5 nonce=1 ttl=15000
            21 wake 1010
            1010 grant a term=5 nonce=3 ttl=15000
        "#]],
    );
}

#[test]
fn a_hint_has_a_member_asked_once_and_changes_nothing() {
    check(
        &format!("{RUNS} 2000 hint b; 2001 hint b; 2002 hint c; 2050 answer b quick; 3000 hint b; 3001 why"),
        expect![[r#"
            0 read
            0 hello a
            0 hello b
            10 grant a term=5 nonce=1 ttl=15000
            2000 hello b
            3000 hello b
            3001 a holds term 5
        "#]],
    );
}

#[test]
fn a_call_that_nobody_ends_is_ended_in_time() {
    check(
        &format!("{RUNS} 7009 tick; 7010 tick; 7011 wake; 8010 tick; 8020 answer a quick active"),
        expect![[r#"
            0 read
            0 hello a
            0 hello b
            10 grant a term=5 nonce=1 ttl=15000
            7009 read
            7009 hello a
            7010 hello b
            7011 wake 10009
            8020 grant a term=5 nonce=3 ttl=15000
        "#]],
    );
}

#[test]
fn an_answer_to_a_call_that_was_ended_is_dropped() {
    check(
        &format!("{RUNS} 7010 tick; 7011 answer a grant active; 7012 why"),
        expect![[r#"
            0 read
            0 hello a
            0 hello b
            10 grant a term=5 nonce=1 ttl=15000
            7010 read
            7010 hello a
            7010 hello b
            7012 a holds term 5; a may still run for 8.0 s: no answer in time
        "#]],
    );
}

#[test]
fn a_silent_holder_is_replaced_after_its_lease() {
    check(
        &format!(
            "{RUNS}
            3010 fail a grant
            14000 tick
            14005 read a
            14010 answer b quick
            15020 tick
            15021 tick
            15030 written
            "
        ),
        expect![[r#"
            0 read
            0 hello a
            0 hello b
            10 grant a term=5 nonce=1 ttl=15000
            3010 hello a
            14000 read
            14000 hello b
            15020 hello a
            15021 write b term=6 epoch=3 ttl=15000 over 2
            15030 grant b term=6 nonce=3 ttl=15000
        "#]],
    );
}

#[test]
fn whoever_is_silent_is_called_once_per_retry() {
    check(
        &format!(
            "{RUNS}
            3000 fail a grant
            3100 fail a quick
            3101 wake
            4099 tick
            4100 tick
            4200 fail a quick
            5200 tick
            5201 tick
            # One that is asked to stop is not asked anything else.
            5300 members b
            5400 fail a revoke
            6400 tick
            6500 fail a revoke
            7500 tick
            "
        ),
        expect![[r#"
            0 read
            0 hello a
            0 hello b
            10 grant a term=5 nonce=1 ttl=15000
            3000 hello a
            3101 wake 4100
            4100 hello a
            5200 read
            5200 hello a
            5300 revoke a term=5
            6400 revoke a term=5
            6400 hello b
            7500 revoke a term=5
        "#]],
    );
}

/// Up to the lapse IoT Hub throttles every call to `a`, and then lets `b` answer first.
const THROTTLED: &str = "3010 fail a grant throttled; 3020 fail a quick throttled; 14000 tick; 14005 read a; \
    14010 fail a quick throttled; 14020 answer b quick; 15021 tick;";

#[test]
fn a_healthy_holder_that_could_not_be_asked_goes_on_in_its_term() {
    check(
        &format!("{RUNS} {THROTTLED} 15022 wake; 15050 answer a quick; 15060 answer a grant active"),
        expect![[r#"
            0 read
            0 hello a
            0 hello b
            10 grant a term=5 nonce=1 ttl=15000
            3010 hello a
            14000 read
            14000 hello a
            14000 hello b
            15021 hello a
            15022 wake 18021
            15050 grant a term=5 nonce=4 ttl=15000
        "#]],
    );
}

#[test]
fn a_dead_holder_that_could_not_be_asked_is_replaced_after_one_call() {
    check(
        &format!("{RUNS} {THROTTLED} 15050 fail a quick; 15060 written"),
        expect![[r#"
            0 read
            0 hello a
            0 hello b
            10 grant a term=5 nonce=1 ttl=15000
            3010 hello a
            14000 read
            14000 hello a
            14000 hello b
            15021 hello a
            15050 write b term=6 epoch=3 ttl=15000 over 2
            15060 grant b term=6 nonce=3 ttl=15000
        "#]],
    );
    // And if IoT Hub goes on throttling, when the patience ends.
    check(
        &format!(
            "{RUNS} {THROTTLED} 15050 fail a quick throttled; 16050 tick; 17000 fail a quick throttled; \
            18000 tick; 18010 answer b quick; 19005 tick; 19006 read a; 19020 tick; 19021 tick"
        ),
        expect![[r#"
            0 read
            0 hello a
            0 hello b
            10 grant a term=5 nonce=1 ttl=15000
            3010 hello a
            14000 read
            14000 hello a
            14000 hello b
            15021 hello a
            16050 hello a
            18000 hello a
            19005 read
            19021 write b term=6 epoch=3 ttl=15000 over 3
        "#]],
    );
}

#[test]
fn a_holder_that_leaves_is_revoked_and_its_release_starts_the_next() {
    check(
        &format!(
            "{RUNS} 50 answer a grant active leaving; 60 answer a revoke leaving released=5; 70 written; 80 answer b grant active term=6"
        ),
        expect![[r#"
            0 read
            0 hello a
            0 hello b
            10 grant a term=5 nonce=1 ttl=15000
            50 revoke a term=5
            60 write b term=6 epoch=3 ttl=15000 over 1
            70 grant b term=6 nonce=2 ttl=15000
        "#]],
    );
}

#[test]
fn a_revoke_without_a_release_is_repeated_but_not_at_once() {
    check(
        &format!("{RUNS} 50 answer a grant active leaving; 60 answer a revoke active leaving; 61 wake; 1050 tick"),
        expect![[r#"
            0 read
            0 hello a
            0 hello b
            10 grant a term=5 nonce=1 ttl=15000
            50 revoke a term=5
            61 wake 1010
            1050 revoke a term=5
        "#]],
    );
}

#[test]
fn nothing_is_granted_while_another_is_being_written_in() {
    check(
        &format!(
            "{RUNS}
            3010 fail a grant
            14000 tick
            14005 read a
            14010 answer b quick
            15021 tick
            # The old holder is back while the record is being written: too late.
            15025 answer a quick active
            15030 written
            15031 tick
            "
        ),
        expect![[r#"
            0 read
            0 hello a
            0 hello b
            10 grant a term=5 nonce=1 ttl=15000
            3010 hello a
            14000 read
            14000 hello b
            15021 write b term=6 epoch=3 ttl=15000 over 2
            15030 grant b term=6 nonce=3 ttl=15000
        "#]],
    );
}

#[test]
fn flag_and_tags_follow_every_change() {
    check(
        &format!(
            "0 show; {RUNS}
            11 mirrored a
            12 mirrored b failed
            3011 tick
            3012 tick
            3013 mirrored b
            3020 answer a grant active leaving
            3030 answer a revoke leaving released=5
            3040 written
            "
        ),
        expect![[r#"
            0 read
            0 record: nobody holds; the record has not been read yet
            0 hello a
            0 hello b
            0 gather a
            0 gather b
            10 grant a term=5 nonce=1 ttl=15000
            10 record: a holds term 5
            10 mirror a active term=5
            10 mirror b standby term=5
            3012 mirror b standby term=5
            3020 revoke a term=5
            3020 record: a holds term 5; a has been asked to stop: the holder's agent is being stopped
            3030 write b term=6 epoch=3 ttl=15000 over 1
            3030 record: a holds term 5
            3040 grant b term=6 nonce=2 ttl=15000
            3040 mirror a standby term=6
            3040 mirror b active term=6
        "#]],
    );
}

#[test]
fn a_holder_that_is_stopped_by_its_flag_gets_the_flag_again() {
    check(
        &format!("0 show; {RUNS} 11 mirrored a; 12 mirrored b; 20 answer a grant refused=flag; 21 mirrored a"),
        expect![[r#"
            0 read
            0 record: nobody holds; the record has not been read yet
            0 hello a
            0 hello b
            0 gather a
            0 gather b
            10 grant a term=5 nonce=1 ttl=15000
            10 record: a holds term 5
            10 mirror a active term=5
            10 mirror b standby term=5
            20 record: a holds term 5; a refuses: the flag in the twin says inactive for term 5
            20 mirror a active term=5
        "#]],
    );
}

#[test]
fn what_lasts_is_written_for_those_who_see_only_the_hub() {
    check(
        &format!(
            "{RUNS} 3010 fail a grant; 3020 fail b hello; 15050 tick; 20050 tick; 20060 written; 25060 tick; 25061 read a"
        ),
        expect![[r#"
            0 read
            0 hello a
            0 hello b
            10 grant a term=5 nonce=1 ttl=15000
            3010 hello a
            15050 read
            15050 hello b
            20050 hello a
            25060 hello b
            25061 write a term=5 epoch=3 ttl=15000 over 3 (every member is silent; nothing can be gained by a change)
        "#]],
    );
}

#[test]
fn a_removed_holder_is_relieved_and_forgotten() {
    check(
        &format!(
            "0 show; {RUNS} 20 members b; 30 answer a revoke released=5; 40 written; 50 mirrored a; 51 mirrored b; 52 answer b grant active term=6"
        ),
        expect![[r#"
            0 read
            0 record: nobody holds; the record has not been read yet
            0 hello a
            0 hello b
            0 gather a
            0 gather b
            10 grant a term=5 nonce=1 ttl=15000
            10 record: a holds term 5
            10 mirror a active term=5
            10 mirror b standby term=5
            20 revoke a term=5
            20 record: a holds term 5; a has been asked to stop: the holder is no member of the pool any more
            30 write b term=6 epoch=3 ttl=15000 over 1
            30 record: a holds term 5
            40 mirror a removed term=6
            40 grant b term=6 nonce=2 ttl=15000
            51 mirror b active term=6
        "#]],
    );
}

#[test]
fn a_removed_standbys_tags_are_cleared() {
    check(
        &format!("0 show; {RUNS} 11 mirrored a; 12 mirrored b; 20 members a; 21 mirrored b; 30 tick"),
        expect![[r#"
        0 read
        0 record: nobody holds; the record has not been read yet
        0 hello a
        0 hello b
        0 gather a
        0 gather b
        10 grant a term=5 nonce=1 ttl=15000
        10 record: a holds term 5
        10 mirror a active term=5
        10 mirror b standby term=5
        20 mirror b removed term=5
    "#]],
    );
}
