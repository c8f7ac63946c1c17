use std::fmt::Write;

use expect_test::{Expect, expect};

use super::*;
use crate::ids::NUMBER_MAX;
use crate::script::{Line, lines};

mod rivals;

/// Runs one controller, `me`, at the default timings: ttl 5000, renew 1500, 1000 ppm.
fn check(script: &str, expect: Expect) {
    let mut charge = Charge::new(ControllerId::new("me"), ChargeTimings::default());
    let mut mine = None;
    let mut out = String::new();
    for line in lines(script) {
        if line.verb == "wake" {
            let wake = charge.next_wake().map_or("never".to_owned(), |at| at.as_ms().to_string());
            writeln!(out, "{} wake {wake}", line.at).expect("a string");
            continue;
        }
        charge.observe(Time::from_ms(line.at), fact(&line, mine.as_ref()));
        while let Some(effect) = charge.next_effect() {
            if let ChargeEffect::Write { record, .. } = &effect {
                mine = Some(record.clone());
            }
            writeln!(out, "{} {}", line.at, shown(&effect)).expect("a string");
        }
    }
    expect.assert_eq(&out);
}

fn fact(line: &Line<'_>, mine: Option<&ControlRecord>) -> ChargeFact {
    let version = Version(line.or("v", "1".to_owned()));
    match line.verb {
        "tick" => ChargeFact::Tick,
        "none" => ChargeFact::Read(None),
        "mine" => ChargeFact::Read(mine.map(|record| (record.clone(), version))),
        "read" => {
            let record = ControlRecord {
                owner: ControllerId::new(line.word()),
                epoch: Epoch(line.or("epoch", 3)),
                ttl: Millis(line.or("ttl", 5_000)),
                beat: line.or("beat", 1),
                given_back: line.has("back"),
            };
            ChargeFact::Read(Some((record, version)))
        }
        "read_failed" => ChargeFact::ReadFailed,
        "written" => ChargeFact::Written(version),
        "conflict" => ChargeFact::Conflict,
        "write_failed" => ChargeFact::WriteFailed,
        "unsure" => ChargeFact::Unsure,
        "seen" => ChargeFact::EpochSeen(Epoch(line.or("epoch", 9))),
        "give_back" => ChargeFact::GiveBack,
        other => panic!("no verb {other:?}"),
    }
}

fn shown(effect: &ChargeEffect) -> String {
    match effect {
        ChargeEffect::Read => "read".to_owned(),
        ChargeEffect::Write { record, basis } => {
            let basis = basis.as_ref().map_or("none", |version| version.0.as_str());
            let back = if record.given_back { " back" } else { "" };
            format!("write {} epoch={} beat={}{back} over {basis}", record.owner, record.epoch, record.beat)
        }
        ChargeEffect::InCharge { epoch, valid_until } => format!("in charge {epoch} until={}", valid_until.as_ms()),
        ChargeEffect::NotInCharge { owner: Some(owner) } => format!("not in charge: {owner} is"),
        ChargeEffect::NotInCharge { owner: None } => "not in charge: nobody is".to_owned(),
        ChargeEffect::GivenBack => "given back".to_owned(),
    }
}

#[test]
fn an_absent_record_is_claimed_only_after_a_ttl() {
    check(
        "0 tick; 10 none; 11 wake; 1510 tick; 1520 none; 5000 tick; 5010 none; 5011 wake; 5016 tick; 5020 none; 5030 written",
        expect![[r#"
            0 read
            0 not in charge: nobody is
            11 wake 1510
            1510 read
            5000 read
            5011 wake 5016
            5016 read
            5020 write me epoch=1 beat=0 over none
            5030 in charge 1 until=10014
        "#]],
    );
}

#[test]
fn a_rivals_record_is_claimed_only_after_it_stood_still_for_its_own_ttl() {
    check(
        "0 tick; 10 read b ttl=8000 v=4; 1510 tick; 1520 read b ttl=8000 v=5; 9000 tick; 9520 read b ttl=8000 v=5; 9521 wake;
         9529 tick; 9530 read b ttl=8000 v=5; 9540 written v=6",
        expect![[r#"
            0 read
            0 not in charge: nobody is
            10 not in charge: b is
            1510 read
            9000 read
            9521 wake 9529
            9529 read
            9530 write me epoch=4 beat=0 over 5
            9540 in charge 4 until=14524
        "#]],
    );
}

#[test]
fn a_ttl_that_no_controller_writes_is_waited_for_as_the_longest() {
    for ttl in [0, 199, 300_001, NUMBER_MAX] {
        let read = format!("read b ttl={ttl}");
        check(
            &format!("0 tick; 10 {read}; 300310 tick; 300310 {read}; 300311 tick; 300311 {read}"),
            expect![[r#"
                0 read
                0 not in charge: nobody is
                10 not in charge: b is
                300310 read
                300311 read
                300311 write me epoch=4 beat=0 over 1
            "#]],
        );
    }
}

#[test]
fn a_record_given_back_is_claimed_at_once() {
    check(
        "0 tick; 10 read b epoch=3 back; 20 written",
        expect![[r#"
        0 read
        0 not in charge: nobody is
        10 write me epoch=4 beat=0 over 1
        20 in charge 4 until=5004
    "#]],
    );
}

#[test]
fn it_renews_and_counts_from_the_sending() {
    check(
        "0 tick; 10 read b back; 300 written v=2; 301 wake; 1510 tick; 1900 written v=3; 1901 wake",
        expect![[r#"
        0 read
        0 not in charge: nobody is
        10 write me epoch=4 beat=0 over 1
        300 in charge 4 until=5004
        301 wake 1510
        1510 write me epoch=4 beat=1 over 2
        1900 in charge 4 until=6504
        1901 wake 3010
    "#]],
    );
}

#[test]
fn silence_ends_the_charge_by_itself() {
    check(
        "0 tick; 10 read b back; 20 written; 1510 tick; 1511 wake; 5003 tick; 5004 tick; 5010 read_failed",
        expect![[r#"
            0 read
            0 not in charge: nobody is
            10 write me epoch=4 beat=0 over 1
            20 in charge 4 until=5004
            1510 write me epoch=4 beat=1 over 1
            1511 wake 5004
            5004 not in charge: me is
        "#]],
    );
}

#[test]
fn a_lost_answer_is_proven_by_a_read_from_the_instant_of_sending() {
    check(
        "0 tick; 10 read b back; 400 unsure; 700 mine v=2; 701 wake",
        expect![[r#"
        0 read
        0 not in charge: nobody is
        10 write me epoch=4 beat=0 over 1
        400 read
        700 write me epoch=4 beat=1 over 2
        700 in charge 4 until=5004
        701 wake 5004
    "#]],
    );
}

#[test]
fn a_lost_write_proves_nothing() {
    check(
        "0 tick; 10 read b back; 400 unsure; 700 read b back; 800 written v=2",
        expect![[r#"
        0 read
        0 not in charge: nobody is
        10 write me epoch=4 beat=0 over 1
        400 read
        700 write me epoch=4 beat=1 over 1
        800 in charge 4 until=5694
    "#]],
    );
}

#[test]
fn no_two_writes_are_equal_so_a_late_one_is_not_taken_for_a_newer() {
    check(
        "0 tick; 10 read b back; 400 unsure; 700 read b back; 800 unsure; 900 read me epoch=4 beat=0 v=2; 1000 written v=3",
        expect![[r#"
            0 read
            0 not in charge: nobody is
            10 write me epoch=4 beat=0 over 1
            400 read
            700 write me epoch=4 beat=1 over 1
            800 read
            900 write me epoch=4 beat=2 over 2
            900 not in charge: me is
            1000 in charge 4 until=5894
        "#]],
    );
}

#[test]
fn doubt_lasts_until_a_read_succeeds() {
    check(
        "0 tick; 10 read b back; 400 unsure; 500 read_failed; 501 wake; 2000 tick; 2010 mine v=2",
        expect![[r#"
        0 read
        0 not in charge: nobody is
        10 write me epoch=4 beat=0 over 1
        400 read
        501 wake 2000
        2000 read
        2010 write me epoch=4 beat=1 over 2
        2010 in charge 4 until=5004
    "#]],
    );
}

#[test]
fn a_conflict_is_read_up_at_once() {
    check(
        "0 tick; 10 read b back; 400 conflict; 500 read c epoch=4 v=2; 501 wake",
        expect![[r#"
        0 read
        0 not in charge: nobody is
        10 write me epoch=4 beat=0 over 1
        400 read
        500 not in charge: c is
        501 wake 2000
    "#]],
    );
}

#[test]
fn somebody_elses_record_ends_the_charge() {
    check(
        "0 tick; 10 read b back; 20 written; 1510 tick; 1520 conflict; 1530 read c epoch=9 v=3",
        expect![[r#"
        0 read
        0 not in charge: nobody is
        10 write me epoch=4 beat=0 over 1
        20 in charge 4 until=5004
        1510 write me epoch=4 beat=1 over 1
        1520 read
        1530 not in charge: c is
    "#]],
    );
}

#[test]
fn failing_writes_are_spaced() {
    check(
        "0 tick; 10 read b back; 20 write_failed; 21 wake; 395 tick; 400 read b back; 410 write_failed; 411 wake",
        expect![[r#"
            0 read
            0 not in charge: nobody is
            10 write me epoch=4 beat=0 over 1
            21 wake 395
            395 read
            400 write me epoch=4 beat=1 over 1
            411 wake 785
        "#]],
    );
}

#[test]
fn a_deleted_record_is_nobodys() {
    check(
        "0 tick; 10 read b back; 20 written; 1510 tick; 1520 conflict; 1530 none; 1531 wake; 6535 tick; 6540 none; 6541 written v=5",
        expect![[r#"
            0 read
            0 not in charge: nobody is
            10 write me epoch=4 beat=0 over 1
            20 in charge 4 until=5004
            1510 write me epoch=4 beat=1 over 1
            1520 read
            1530 not in charge: nobody is
            1531 wake 3030
            6535 read
            6540 write me epoch=5 beat=2 over none
            6541 in charge 5 until=11534
        "#]],
    );
}

#[test]
fn a_deleted_record_is_waited_for_as_long_as_it_said() {
    check(
        "0 tick; 10 read b ttl=60000; 1510 tick; 1520 none; 6530 tick; 6540 none; 6541 wake; 61590 tick; 61595 none",
        expect![[r#"
            0 read
            0 not in charge: nobody is
            10 not in charge: b is
            1510 read
            1520 not in charge: nobody is
            6530 read
            6541 wake 8040
            61590 read
            61595 write me epoch=4 beat=0 over none
        "#]],
    );
}

#[test]
fn an_overtaken_epoch_is_raised() {
    check(
        "0 tick; 10 read b back; 20 written; 100 seen epoch=9; 110 written v=2; 200 seen epoch=7",
        expect![[r#"
        0 read
        0 not in charge: nobody is
        10 write me epoch=4 beat=0 over 1
        20 in charge 4 until=5004
        100 write me epoch=10 beat=1 over 1
        110 in charge 10 until=5094
    "#]],
    );
    check(
        "0 tick; 10 read b back; 20 written; 1510 tick; 1511 seen epoch=9; 1520 written v=2; 1530 written v=3",
        expect![[r#"
            0 read
            0 not in charge: nobody is
            10 write me epoch=4 beat=0 over 1
            20 in charge 4 until=5004
            1510 write me epoch=4 beat=1 over 1
            1520 write me epoch=10 beat=2 over 2
            1520 in charge 4 until=6504
            1530 in charge 10 until=6514
        "#]],
    );
}

#[test]
fn an_epoch_that_leaves_none_above_it_is_ignored() {
    check(
        &format!("0 tick; 10 read b back; 20 written; 100 seen epoch={NUMBER_MAX}; 101 wake"),
        expect![[r#"
        0 read
        0 not in charge: nobody is
        10 write me epoch=4 beat=0 over 1
        20 in charge 4 until=5004
        101 wake 1510
    "#]],
    );
}

#[test]
fn giving_back_ends_the_charge_before_the_record_says_so() {
    check(
        "0 tick; 10 read b back; 20 written; 100 give_back; 110 written v=2; 111 wake; 1600 tick; 1610 mine v=2",
        expect![[r#"
            0 read
            0 not in charge: nobody is
            10 write me epoch=4 beat=0 over 1
            20 in charge 4 until=5004
            100 write me epoch=4 beat=1 back over 1
            100 not in charge: me is
            110 given back
            111 wake 1600
            1600 read
        "#]],
    );
}

#[test]
fn giving_back_waits_for_no_renewal() {
    check(
        "0 tick; 10 read b back; 20 written; 1510 tick; 1520 give_back; 1530 written v=2; 1540 written v=3",
        expect![[r#"
            0 read
            0 not in charge: nobody is
            10 write me epoch=4 beat=0 over 1
            20 in charge 4 until=5004
            1510 write me epoch=4 beat=1 over 1
            1530 write me epoch=4 beat=2 back over 2
            1530 not in charge: me is
            1540 given back
        "#]],
    );
}

#[test]
fn who_is_not_in_charge_gives_back_at_once() {
    check(
        "0 tick; 10 read b; 20 give_back; 30 read b",
        expect![[r#"
            0 read
            0 not in charge: nobody is
            10 not in charge: b is
            20 read
            20 given back
        "#]],
    );
}

#[test]
fn a_known_version_of_another_record_is_another_version() {
    // The hub has lost a write and given its version to another's.
    check(
        "0 tick; 10 read b beat=4 v=4; 1510 tick; 1520 read_failed; 6000 tick; 6010 read c epoch=5 v=4; 6011 wake; 11015 tick; 11016 read c epoch=5 v=4",
        expect![[r#"
            0 read
            0 not in charge: nobody is
            10 not in charge: b is
            1510 read
            6000 read
            6010 not in charge: c is
            6011 wake 7510
            11015 read
            11016 write me epoch=6 beat=0 over 4
        "#]],
    );
}

#[test]
fn whoever_has_overslept_its_charge_looks_before_it_writes() {
    check(
        "0 tick; 10 read b back v=2; 20 written v=3; 9000 tick; 9010 read c epoch=5 v=3; 9020 tick",
        expect![[r#"
            0 read
            0 not in charge: nobody is
            10 write me epoch=4 beat=0 over 2
            20 in charge 4 until=5004
            9000 read
            9000 not in charge: me is
            9010 not in charge: c is
        "#]],
    );
}
