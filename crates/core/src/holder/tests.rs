use std::fmt::Write;

use expect_test::{Expect, expect};

use super::*;
use crate::ids::NUMBER_MAX;
use crate::messages::{Answer, Grant, Hello, Revoke};
use crate::script::{Line, lines};

mod random;

const STOP: Millis = Millis(100);

/// A holder and what a script needs to refer to what went before.
struct Script {
    holder: Holder,
    calls: u64,
    asked: Option<(Term, Time)>,
    out: String,
}

/// Runs a script. Calls are numbered 1, 2, … and so are nonces; `arm` and `closed` speak of the gate as last asked for.
fn check(script: &str, expect: Expect) {
    let settings = HolderSettings { ttl_max: Millis(10_000), ..HolderSettings::one_grantor(STOP) };
    let mut run = Script { holder: holder(settings), calls: 0, asked: None, out: String::new() };
    for line in lines(script) {
        run.line(&line);
    }
    expect.assert_eq(&run.out);
}

fn holder(settings: HolderSettings) -> Holder {
    Holder::new(settings, BootId::new("boot"), 7)
}

impl Script {
    fn line(&mut self, line: &Line<'_>) {
        let now = Time::from_ms(line.at);
        match line.verb {
            "two_of_three" => {
                let grantors = ["a", "b", "c"].map(GrantorId::new).to_vec();
                let settings = HolderSettings { grantors, grants_needed: 2, ..HolderSettings::one_grantor(STOP) };
                self.holder = holder(settings);
            }
            "wake" => {
                let wake = self.holder.next_wake().map_or("never".to_owned(), |at| at.as_ms().to_string());
                writeln!(self.out, "{} wake {wake}", line.at).expect("a string");
            }
            _ => {
                let fact = self.fact(line);
                self.holder.observe(now, fact);
                while let Some(effect) = self.holder.next_effect() {
                    self.note(&effect);
                    writeln!(self.out, "{} {}", line.at, shown(&effect)).expect("a string");
                }
            }
        }
    }

    fn fact(&mut self, line: &Line<'_>) -> HolderFact {
        let (term, until) = self.asked.unwrap_or_default();
        match line.verb {
            "gone" => HolderFact::PredecessorGone,
            "arm" => HolderFact::GateArmed {
                term: Term(line.or("term", term.0)),
                until: Time::from_ms(line.or("until", until.as_ms())),
            },
            "closed" => HolderFact::GateClosed { term: Term(line.or("term", term.0)) },
            "workload" if line.has("running") => HolderFact::Workload(Workload::Running),
            "workload" => HolderFact::Workload(Workload::Failing(line.word().to_owned())),
            "flag" => HolderFact::Flag(Flag { active: line.has("active"), term: Term(line.or("term", 1)) }),
            "jump" => HolderFact::ClockJumped,
            "leave" => HolderFact::Leave { grace: Millis(line.or("grace", 500)) },
            "call_gone" => HolderFact::CallGone(CallId(line.or("call", self.calls))),
            "tick" => HolderFact::Tick,
            _ => {
                self.calls += 1;
                HolderFact::Call { call: CallId(self.calls), request: request(line), hold: Millis(line.or("hold", 0)) }
            }
        }
    }

    fn note(&mut self, effect: &HolderEffect) {
        if let HolderEffect::Open { term, until } | HolderEffect::Extend { term, until } = effect {
            self.asked = Some((*term, *until));
        }
    }
}

fn request(line: &Line<'_>) -> Request {
    let grantor = GrantorId::new(line.or("by", "controller".to_owned()));
    let (epoch, term) = (Epoch(line.or("epoch", 1)), Term(line.or("term", 1)));
    match line.verb {
        "hello" => Request::Hello(Hello { grantor, epoch, wants_nonce: !line.has("onlooker") }),
        "grant" => {
            let nonce = Nonce { run: line.or("run", 7), count: line.or("nonce", 1) };
            Request::Grant(Grant { grantor, epoch, term, nonce, ttl: Millis(line.or("ttl", 2_000)) })
        }
        "revoke" => Request::Revoke(Revoke { grantor, epoch, term }),
        other => panic!("no verb {other:?}"),
    }
}

fn shown(effect: &HolderEffect) -> String {
    match effect {
        HolderEffect::Open { term, until } => format!("open term={term} until={}", until.as_ms()),
        HolderEffect::Extend { term, until } => format!("extend term={term} until={}", until.as_ms()),
        HolderEffect::Close { term, by, cause } => format!("close term={term} by={}: {}", by.as_ms(), cause.as_str()),
        HolderEffect::Answer(HolderAnswer { call, answer }) => format!("answer {call}: {}", answer_shown(answer)),
        HolderEffect::Report(report) => format!("report {} term={}", report.state.as_str(), report.term),
        HolderEffect::Left => "left".to_owned(),
    }
}

fn answer_shown(answer: &Answer) -> String {
    let mut said = answer.state.as_str().to_owned();
    let parts = [
        answer.lease_left.map(|left| format!("left={}", left.0)),
        answer.leaving.then(|| "leaving".to_owned()),
        answer.released.map(|term| format!("released={term}")),
        answer.nonce.map(|nonce| format!("nonce={}", nonce.count)),
        answer.refused.as_ref().map(|refused| format!("refused: {refused}")),
    ];
    for part in parts.into_iter().flatten() {
        said = format!("{said} {part}");
    }
    said
}

#[test]
fn starts_closed_and_says_so() {
    check(
        "0 tick; 5 hello; 9 gone; 10 hello; 11 wake",
        expect![[r#"
        0 report starting term=0
        5 answer 1: starting nonce=1
        9 report standby term=0
        10 answer 2: standby nonce=2
        11 wake never
    "#]],
    );
}

#[test]
fn the_lease_counts_from_the_nonce_and_not_from_arrival() {
    check(
        "0 gone; 100 hello; 900 grant term=1 nonce=1 ttl=2000; 905 arm; 906 wake",
        expect![[r#"
        0 report standby term=0
        100 answer 1: standby nonce=1
        900 open term=1 until=2100
        900 answer 2: opening nonce=2
        900 report opening term=1
        905 report active term=1
        906 wake 2000
    "#]],
    );
}

#[test]
fn stopping_begins_so_early_that_the_workload_has_stopped_at_the_end() {
    check(
        "0 gone; 100 hello; 110 grant ttl=2000; 120 arm; 1999 tick; 2000 tick; 2050 closed; 2051 wake; 2100 tick; 2101 wake",
        expect![[r#"
            0 report standby term=0
            100 answer 1: standby nonce=1
            110 open term=1 until=2100
            110 answer 2: opening nonce=2
            110 report opening term=1
            120 report active term=1
            2000 close term=1 by=2100: no grant came in time
            2000 report stopping term=1
            2050 report standby term=1
            2051 wake 2100
            2101 wake never
        "#]],
    );
}

#[test]
fn an_earlier_end_of_the_same_term_changes_nothing() {
    check(
        "0 gone; 0 hello; 100 hello; 110 grant nonce=2 ttl=2000; 120 arm; 130 grant nonce=1 ttl=1000; 131 wake",
        expect![[r#"
            0 report standby term=0
            0 answer 1: standby nonce=1
            100 answer 2: standby nonce=2
            110 open term=1 until=2100
            110 answer 3: opening nonce=3
            110 report opening term=1
            120 report active term=1
            130 answer 4: active left=1970 nonce=4
            131 wake 2000
        "#]],
    );
}

#[test]
fn an_extension_counts_only_once_it_is_armed() {
    check(
        "
        0 gone
        0 hello
        10 grant ttl=1000
        20 arm
        500 grant nonce=2 ttl=1000
        # The keeper does not answer: the old end stands.
        900 tick
        ",
        expect![[r#"
            0 report standby term=0
            0 answer 1: standby nonce=1
            10 open term=1 until=1000
            10 answer 2: opening nonce=2
            10 report opening term=1
            20 report active term=1
            500 extend term=1 until=1010
            500 answer 3: active left=500 nonce=3
            900 close term=1 by=1000: no grant came in time
            900 report stopping term=1
        "#]],
    );
    check(
        "0 gone; 0 hello; 10 grant ttl=1000; 20 arm; 500 grant nonce=2 ttl=1000; 510 arm; 900 tick",
        expect![[r#"
        0 report standby term=0
        0 answer 1: standby nonce=1
        10 open term=1 until=1000
        10 answer 2: opening nonce=2
        10 report opening term=1
        20 report active term=1
        500 extend term=1 until=1010
        500 answer 3: active left=500 nonce=3
    "#]],
    );
}

#[test]
fn a_gate_is_never_armed_beyond_what_was_asked() {
    check(
        "0 gone; 0 hello; 10 grant ttl=1000; 20 arm until=99999; 21 wake; 30 arm term=2 until=99999; 31 wake",
        expect![[r#"
        0 report standby term=0
        0 answer 1: standby nonce=1
        10 open term=1 until=1000
        10 answer 2: opening nonce=2
        10 report opening term=1
        20 report active term=1
        21 wake 900
        31 wake 900
    "#]],
    );
}

#[test]
fn strangers_and_older_charges_get_no_nonce() {
    check(
        "0 gone; 0 hello by=stranger; 1 hello epoch=5; 2 hello epoch=4; 3 grant epoch=4 nonce=1",
        expect![[r#"
        0 report standby term=0
        0 answer 1: standby refused: the grantor is unknown here
        1 answer 2: standby nonce=1
        2 answer 3: standby refused: a controller of epoch 5 has spoken since
        3 answer 4: standby refused: a controller of epoch 5 has spoken since
    "#]],
    );
}

#[test]
fn an_onlooker_takes_no_nonce_and_raises_no_epoch() {
    check(
        "0 gone; 0 hello by=stranger epoch=9 onlooker; 1 hello epoch=9 onlooker; 2 hello epoch=1",
        expect![[r#"
        0 report standby term=0
        0 answer 1: standby
        1 answer 2: standby
        2 answer 3: standby nonce=1
    "#]],
    );
}

#[test]
fn a_term_below_one_seen_is_refused() {
    check(
        "0 gone; 0 hello; 1 grant term=5 nonce=99; 2 grant term=4 nonce=1; 3 revoke term=4",
        expect![[r#"
        0 report standby term=0
        0 answer 1: standby nonce=1
        1 answer 2: standby nonce=2 refused: the nonce is not one of the latest made here
        2 answer 3: standby nonce=3 refused: term 5 has been seen since
        3 answer 4: standby nonce=4 refused: term 5 has been seen since
    "#]],
    );
}

#[test]
fn a_released_term_is_refused_forever() {
    check(
        "0 gone; 0 hello; 1 revoke term=3; 2 grant term=3 nonce=2; 3 grant term=2 nonce=2; 4 grant term=4 nonce=2",
        expect![[r#"
        0 report standby term=0
        0 answer 1: standby nonce=1
        1 answer 2: standby released=3 nonce=2
        2 answer 3: standby nonce=3 refused: terms up to 3 were released here
        3 answer 4: standby nonce=4 refused: terms up to 3 were released here
        4 open term=4 until=2001
        4 answer 5: opening nonce=5
        4 report opening term=4
    "#]],
    );
}

#[test]
fn term_zero_is_nobodys() {
    check(
        "0 gone; 0 hello; 1 grant term=0 nonce=1",
        expect![[r#"
        0 report standby term=0
        0 answer 1: standby nonce=1
        1 answer 2: standby nonce=2 refused: terms up to 0 were released here
    "#]],
    );
}

#[test]
fn only_own_and_latest_nonces_count() {
    check(
        "0 gone; 0 hello; 1 grant nonce=2; 2 grant nonce=1 run=8",
        expect![[r#"
        0 report standby term=0
        0 answer 1: standby nonce=1
        1 answer 2: standby nonce=2 refused: the nonce is not one of the latest made here
        2 answer 3: standby nonce=3 refused: the nonce is not one of the latest made here
    "#]],
    );
    let hellos = "1 hello;".repeat(8);
    check(
        &format!("0 gone; 0 hello; {hellos} 2 grant nonce=1; 3 grant nonce=3"),
        expect![[r#"
        0 report standby term=0
        0 answer 1: standby nonce=1
        1 answer 2: standby nonce=2
        1 answer 3: standby nonce=3
        1 answer 4: standby nonce=4
        1 answer 5: standby nonce=5
        1 answer 6: standby nonce=6
        1 answer 7: standby nonce=7
        1 answer 8: standby nonce=8
        1 answer 9: standby nonce=9
        2 answer 10: standby nonce=10 refused: the nonce is not one of the latest made here
        3 open term=1 until=2001
        3 answer 11: opening nonce=11
        3 report opening term=1
    "#]],
    );
}

#[test]
fn a_grant_too_late_to_run_and_stop_is_refused() {
    check(
        "0 gone; 0 hello; 1900 grant ttl=2000; 1899 grant ttl=2000",
        expect![[r#"
        0 report standby term=0
        0 answer 1: standby nonce=1
        1900 answer 2: standby nonce=2 refused: the lease would end before the workload could run and stop
        1899 open term=1 until=2000
        1899 answer 3: opening nonce=3
        1899 report opening term=1
    "#]],
    );
}

#[test]
fn a_ttl_above_the_longest_is_refused() {
    check(
        "0 gone; 0 hello; 1 grant ttl=10001; 2 grant ttl=10000",
        expect![[r#"
        0 report standby term=0
        0 answer 1: standby nonce=1
        1 answer 2: standby nonce=2 refused: the ttl is above 10.0 s
        2 open term=1 until=10000
        2 answer 3: opening nonce=3
        2 report opening term=1
    "#]],
    );
}

#[test]
fn nothing_is_opened_or_released_before_the_predecessor_is_gone() {
    check(
        "0 hello; 1 grant; 2 revoke term=2 hold=500; 300 gone; 301 hello; 302 grant term=3 nonce=5",
        expect![[r#"
        0 answer 1: starting nonce=1
        0 report starting term=0
        1 answer 2: starting nonce=2 refused: an earlier workload may still be running here
        300 report standby term=0
        300 answer 3: standby released=2 nonce=3
        301 answer 4: standby nonce=4
        302 answer 5: standby nonce=5 refused: the nonce is not one of the latest made here
    "#]],
    );
}

#[test]
fn nonces_are_forgotten_when_the_lease_ends() {
    check(
        "0 gone; 0 hello; 1 grant ttl=1000; 2 arm; 900 tick; 950 closed; 960 hello; 1000 tick; 1001 grant nonce=3",
        expect![[r#"
        0 report standby term=0
        0 answer 1: standby nonce=1
        1 open term=1 until=1000
        1 answer 2: opening nonce=2
        1 report opening term=1
        2 report active term=1
        900 close term=1 by=1000: no grant came in time
        900 report stopping term=1
        950 report standby term=1
        960 answer 3: standby nonce=3
        1001 answer 4: standby nonce=4 refused: the nonce is not one of the latest made here
    "#]],
    );
}

#[test]
fn a_grant_that_comes_after_the_end_finds_its_nonce_forgotten_although_nobody_ticked() {
    check(
        "0 gone; 0 hello; 1 grant ttl=1000; 2 arm; 800 hello; 1001 grant nonce=3 ttl=2000",
        expect![[r#"
        0 report standby term=0
        0 answer 1: standby nonce=1
        1 open term=1 until=1000
        1 answer 2: opening nonce=2
        1 report opening term=1
        2 report active term=1
        800 answer 3: active left=200 nonce=3
        1001 close term=1 by=1000: no grant came in time
        1001 answer 4: stopping left=0 nonce=4 refused: the nonce is not one of the latest made here
        1001 report stopping term=1
    "#]],
    );
}

#[test]
fn nonces_are_forgotten_at_a_revoke() {
    check(
        "0 gone; 0 hello; 1 hello; 2 revoke term=1; 3 grant term=2 nonce=2",
        expect![[r#"
        0 report standby term=0
        0 answer 1: standby nonce=1
        1 answer 2: standby nonce=2
        2 answer 3: standby released=1 nonce=3
        3 answer 4: standby nonce=4 refused: the nonce is not one of the latest made here
    "#]],
    );
}

#[test]
fn a_revoke_is_answered_when_the_workload_has_stopped() {
    check(
        "0 gone; 0 hello; 1 grant; 2 arm; 10 revoke hold=300; 50 tick; 80 closed; 90 grant nonce=4",
        expect![[r#"
            0 report standby term=0
            0 answer 1: standby nonce=1
            1 open term=1 until=2000
            1 answer 2: opening nonce=2
            1 report opening term=1
            2 report active term=1
            10 close term=1 by=110: the controller took the term back
            10 report stopping term=1
            80 report standby term=1
            80 answer 3: standby released=1 nonce=3
            90 answer 4: standby nonce=4 refused: terms up to 1 were released here
        "#]],
    );
}

#[test]
fn a_revoke_that_runs_out_of_patience_is_answered_without_a_release() {
    check(
        "0 gone; 0 hello; 1 grant; 2 arm; 10 revoke hold=50; 11 wake; 60 tick; 70 closed; 80 revoke",
        expect![[r#"
        0 report standby term=0
        0 answer 1: standby nonce=1
        1 open term=1 until=2000
        1 answer 2: opening nonce=2
        1 report opening term=1
        2 report active term=1
        10 close term=1 by=110: the controller took the term back
        10 report stopping term=1
        11 wake 60
        60 answer 3: stopping left=50 nonce=3
        70 report standby term=1
        80 answer 4: standby released=1 nonce=4
    "#]],
    );
}

#[test]
fn no_release_is_announced_without_a_revoke() {
    check(
        "0 gone; 0 hello; 1 grant ttl=300; 2 arm; 200 tick; 210 closed; 220 hello",
        expect![[r#"
        0 report standby term=0
        0 answer 1: standby nonce=1
        1 open term=1 until=300
        1 answer 2: opening nonce=2
        1 report opening term=1
        2 report active term=1
        200 close term=1 by=300: no grant came in time
        200 report stopping term=1
        210 report standby term=1
        220 answer 3: standby nonce=3
    "#]],
    );
}

#[test]
fn held_answers_go_out_with_news_or_when_due() {
    check(
        "0 gone; 0 hello hold=500; 1 wake; 500 tick",
        expect![[r#"
        0 report standby term=0
        1 wake 500
        500 answer 1: standby nonce=1
    "#]],
    );
    check(
        "0 gone; 0 hello; 1 grant; 2 arm; 10 hello hold=500; 20 grant nonce=2 hold=500; 300 workload hung",
        expect![[r#"
        0 report standby term=0
        0 answer 1: standby nonce=1
        1 open term=1 until=2000
        1 answer 2: opening nonce=2
        1 report opening term=1
        2 report active term=1
        20 extend term=1 until=2001
        300 report active term=1
        300 answer 3: active left=1700 nonce=3
        300 answer 4: active left=1700 nonce=4
    "#]],
    );
    check(
        "0 gone; 0 hello hold=500; 20 workload running; 30 hello hold=500; 40 workload running; 41 wake",
        expect![[r#"
        0 report standby term=0
        20 report standby term=0
        20 answer 1: standby nonce=1
        41 wake 530
    "#]],
    );
}

#[test]
fn an_answer_to_somebody_who_has_gone_is_dropped() {
    check(
        "0 gone; 0 hello hold=500; 10 call_gone; 500 tick; 501 wake",
        expect![[r#"
        0 report standby term=0
        501 wake never
    "#]],
    );
}

#[test]
fn the_oldest_of_too_many_held_calls_is_answered_at_once() {
    let hellos = "1 hello hold=500;".repeat(8);
    check(
        &format!("0 gone; 0 hello hold=500; {hellos} 2 call_gone"),
        expect![[r#"
        0 report standby term=0
        1 answer 1: standby nonce=1
    "#]],
    );
}

#[test]
fn a_clock_jump_closes_at_once_and_forgets_everything() {
    check(
        "0 gone; 0 hello; 1 grant; 2 arm; 50 jump; 60 closed; 70 grant nonce=2",
        expect![[r#"
        0 report standby term=0
        0 answer 1: standby nonce=1
        1 open term=1 until=2000
        1 answer 2: opening nonce=2
        1 report opening term=1
        2 report active term=1
        50 close term=1 by=150: wall clock and boot clock moved apart
        50 report stopping term=1
        60 report standby term=1
        70 answer 3: standby nonce=3 refused: the nonce is not one of the latest made here
    "#]],
    );
}

#[test]
fn a_flag_closes_and_never_opens() {
    check(
        "0 gone; 0 flag active term=1; 1 hello; 2 grant; 3 arm; 10 flag term=1; 20 closed; 30 flag active term=1; 40 wake",
        expect![[r#"
        0 report standby term=0
        1 answer 1: standby nonce=1
        2 open term=1 until=2001
        2 answer 2: opening nonce=2
        2 report opening term=1
        3 report active term=1
        10 close term=1 by=110: the flag in the twin says inactive
        10 report stopping term=1
        20 report standby term=1
        40 wake never
    "#]],
    );
}

#[test]
fn a_flag_of_an_older_term_is_ignored() {
    check(
        "0 gone; 0 hello; 1 grant term=2; 2 arm; 10 flag term=1; 20 hello",
        expect![[r#"
        0 report standby term=0
        0 answer 1: standby nonce=1
        1 open term=2 until=2000
        1 answer 2: opening nonce=2
        1 report opening term=2
        2 report active term=2
        20 answer 3: active left=1980 nonce=3
    "#]],
    );
}

#[test]
fn a_huge_term_in_a_flag_harms_only_while_it_stands() {
    check(
        &format!("0 gone; 0 hello; 1 flag term={NUMBER_MAX}; 2 grant; 3 flag term=0; 4 grant nonce=2"),
        expect![[r#"
            0 report standby term=0
            0 answer 1: standby nonce=1
            2 answer 2: standby nonce=2 refused: the flag in the twin says inactive for term 4503599627370495
            4 open term=1 until=2002
            4 answer 3: opening nonce=3
            4 report opening term=1
        "#]],
    );
}

#[test]
fn leaving_tells_at_once_and_waits_to_be_relieved() {
    check(
        "0 gone; 0 hello; 1 grant; 2 arm; 10 hello hold=900; 20 leave grace=500; 30 grant nonce=3; 40 revoke hold=300; 60 closed",
        expect![[r#"
            0 report standby term=0
            0 answer 1: standby nonce=1
            1 open term=1 until=2000
            1 answer 2: opening nonce=2
            1 report opening term=1
            2 report active term=1
            20 report active term=1
            20 answer 3: active left=1980 leaving nonce=3
            30 answer 4: active left=1970 leaving nonce=4 refused: the agent is being stopped
            40 close term=1 by=140: the controller took the term back
            40 report stopping term=1
            60 report standby term=1
            60 answer 5: standby leaving released=1 nonce=5
            60 left
        "#]],
    );
}

#[test]
fn leaving_ends_with_the_grace_if_nobody_relieves() {
    check(
        "0 gone; 0 hello; 1 grant; 2 arm; 20 leave grace=500; 21 wake; 520 tick; 530 wake; 560 closed; 561 wake",
        expect![[r#"
        0 report standby term=0
        0 answer 1: standby nonce=1
        1 open term=1 until=2000
        1 answer 2: opening nonce=2
        1 report opening term=1
        2 report active term=1
        20 report active term=1
        21 wake 520
        520 close term=1 by=620: the agent is being stopped
        520 report stopping term=1
        530 wake never
        560 report standby term=1
        560 left
        561 wake never
    "#]],
    );
    check(
        "0 gone; 0 leave grace=500; 1 leave grace=500",
        expect![[r#"
        0 report standby term=0
        0 report standby term=0
        0 left
    "#]],
    );
}

#[test]
fn a_gate_that_closes_by_itself_waits_for_the_next_grant() {
    check(
        "0 gone; 0 hello; 1 grant; 2 arm; 10 grant nonce=2 hold=900; 20 closed; 30 tick; 40 grant nonce=3; 50 closed; 51 wake",
        expect![[r#"
            0 report standby term=0
            0 answer 1: standby nonce=1
            1 open term=1 until=2000
            1 answer 2: opening nonce=2
            1 report opening term=1
            2 report active term=1
            10 extend term=1 until=2001
            20 report standby term=1
            20 answer 3: standby nonce=3
            40 open term=1 until=2020
            40 answer 4: opening nonce=4
            40 report opening term=1
            50 report standby term=1
            51 wake never
        "#]],
    );
}

#[test]
fn the_end_of_another_terms_gate_is_not_ours() {
    check(
        "0 gone; 0 hello; 1 grant term=2; 2 arm; 10 closed term=1; 20 hello",
        expect![[r#"
        0 report standby term=0
        0 answer 1: standby nonce=1
        1 open term=2 until=2000
        1 answer 2: opening nonce=2
        1 report opening term=2
        2 report active term=2
        20 answer 3: active left=1980 nonce=3
    "#]],
    );
}

#[test]
fn a_new_term_while_running_closes_and_reopens() {
    check(
        "0 gone; 0 hello; 1 grant; 2 arm; 10 grant term=2 nonce=2; 60 closed; 70 arm",
        expect![[r#"
        0 report standby term=0
        0 answer 1: standby nonce=1
        1 open term=1 until=2000
        1 answer 2: opening nonce=2
        1 report opening term=1
        2 report active term=1
        10 close term=1 by=110: a newer term was granted
        10 answer 3: stopping left=100 nonce=3
        10 report stopping term=1
        60 open term=2 until=2001
        60 report opening term=2
        70 report active term=2
    "#]],
    );
}

#[test]
fn with_two_of_three_the_second_longest_grant_counts() {
    check(
        "
        0 two_of_three
        0 gone
        0 hello by=a
        0 hello by=b
        0 hello by=c
        10 grant by=a nonce=1 ttl=1000
        20 grant by=b nonce=2 ttl=700
        30 arm
        40 grant by=c nonce=3 ttl=900
        50 arm
        # Another's nonce and another's term do not help.
        60 grant by=a nonce=5 ttl=5000
        61 wake
        ",
        expect![[r#"
            0 report standby term=0
            0 answer 1: standby nonce=1
            0 answer 2: standby nonce=2
            0 answer 3: standby nonce=3
            10 answer 4: standby nonce=4
            20 open term=1 until=700
            20 answer 5: opening nonce=5
            20 report opening term=1
            30 report active term=1
            40 extend term=1 until=900
            40 answer 6: active left=660 nonce=6
            60 answer 7: active left=840 nonce=7 refused: the nonce is not one of the latest made here
            61 wake 800
        "#]],
    );
}

#[test]
fn a_grant_that_has_run_out_alone_does_not_spoil_a_new_one() {
    check(
        "
        0 two_of_three
        0 gone
        0 hello by=a
        10 grant by=a nonce=1 ttl=500
        600 hello by=a
        600 hello by=b
        610 grant by=b nonce=4 ttl=500
        620 grant by=a nonce=3 ttl=500
        ",
        expect![[r#"
            0 report standby term=0
            0 answer 1: standby nonce=1
            10 answer 2: standby nonce=2
            600 answer 3: standby nonce=3
            600 answer 4: standby nonce=4
            610 answer 5: standby nonce=5
            620 open term=1 until=1100
            620 answer 6: opening nonce=6
            620 report opening term=1
        "#]],
    );
}

#[test]
fn every_change_is_reported_once() {
    check(
        "0 tick; 1 tick; 2 gone; 3 gone; 4 workload running; 5 workload running",
        expect![[r#"
        0 report starting term=0
        2 report standby term=0
        4 report standby term=0
    "#]],
    );
}
