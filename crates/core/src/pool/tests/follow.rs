//! What followers have done after a change of holder.

use super::*;

/// `a` runs term 5 and has been granted it.
const RUNS: &str = "0 in_charge; 5 answer a quick active; 6 answer b quick; 10 read a;";

#[test]
fn what_was_done_is_written_once() {
    check(
        &format!("{RUNS} 100 followed pager; 150 written; 160 followed pager; 4010 answer a grant active"),
        expect![[r#"
        0 read
        0 hello a
        0 hello b
        10 grant a term=5 nonce=1 ttl=15000
        100 write a term=5 epoch=3 ttl=15000 over 1, pager through 5
        4010 grant a term=5 nonce=3 ttl=15000
    "#]],
    );
}

#[test]
fn what_the_record_says_already_is_not_written_again() {
    check(
        "0 in_charge; 10 read a followed=pager; 100 followed pager",
        expect![[r#"
        0 read
        0 hello a
        0 hello b
    "#]],
    );
}

#[test]
fn what_was_done_while_the_record_is_being_written_goes_into_the_next_write() {
    check(
        &format!("{RUNS} 100 followed pager; 110 followed parents; 150 written; 160 written"),
        expect![[r#"
            0 read
            0 hello a
            0 hello b
            10 grant a term=5 nonce=1 ttl=15000
            100 write a term=5 epoch=3 ttl=15000 over 1, pager through 5
            150 write a term=5 epoch=3 ttl=15000 over 2, pager through 5, parents through 5
        "#]],
    );
}

#[test]
fn a_lost_race_writes_it_again_and_a_new_charge_does_not() {
    check(
        &format!("{RUNS} 100 followed pager; 150 conflict; 160 read a; 200 out_of_charge; 210 in_charge epoch=4"),
        expect![[r#"
        0 read
        0 hello a
        0 hello b
        10 grant a term=5 nonce=1 ttl=15000
        100 write a term=5 epoch=3 ttl=15000 over 1, pager through 5
        150 read
        160 write a term=5 epoch=3 ttl=15000 over 2, pager through 5
    "#]],
    );
}

#[test]
fn nobody_follows_a_term_that_is_not_recorded() {
    check(
        &format!("{RUNS} 100 followed pager term=6"),
        expect![[r#"
        0 read
        0 hello a
        0 hello b
        10 grant a term=5 nonce=1 ttl=15000
    "#]],
    );
}

#[test]
fn those_not_heard_of_for_the_longest_are_forgotten() {
    let line = "0 read a";
    let mut record = anchor(&lines(line).next().expect("a line"));
    for n in 0..20 {
        record.follow(FollowerId::new(format!("hook-{n}")), Term(n));
    }
    let kept: Vec<u64> = record.followed.values().map(|term| term.0).collect();
    assert_eq!((kept.len(), kept.iter().min()), (crate::anchor::FOLLOWERS_MAX, Some(&4)));
    record.follow(FollowerId::new("hook-19"), Term(3));
    assert_eq!(record.followed[&FollowerId::new("hook-19")], Term(19), "what was done stays done");
}
