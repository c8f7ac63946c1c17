//! Random facts: whatever comes, the order of effects holds and nothing spins.

use proptest::prelude::*;

use super::*;

/// What happens all the time.
const COMMON: &[&str] = &[
    "tick",
    "reread",
    "written",
    "answer a quick active",
    "answer a quick",
    "answer b quick",
    "answer b quick active term=6",
    "answer a hello active",
    "answer b hello",
    "answer a grant active",
    "answer b grant active term=6",
    "answer a revoke released=9",
    "answer b revoke released=9",
    "fail a grant",
    "fail a quick",
];

/// What happens now and then.
const RARE: &[&str] = &[
    "in_charge",
    "in_charge epoch=5",
    "out_of_charge",
    "none",
    "read a",
    "read b term=6",
    "read nobody",
    "read a term=9 control=theirs",
    "read_failed",
    "conflict",
    "write_failed",
    "unsure",
    "gathered a",
    "mirrored a",
    "mirrored b failed",
    "read a maintenance=a",
    "said go",
    "said no",
    "followed pager term=4",
    "followed pager term=6",
    "members a b",
    "members b",
    "fail a hello",
    "fail b revoke",
    "answer a hello active leaving",
    "answer a grant active leaving",
    "answer a grant refused=released",
    "answer a revoke active",
];

fn fact() -> impl Strategy<Value = &'static str> {
    prop_oneof![8 => (0..COMMON.len()).prop_map(|i| COMMON[i]), 1 => (0..RARE.len()).prop_map(|i| RARE[i])]
}

/// What an outsider sees of the record: the last one that was read or whose write succeeded.
#[derive(Default)]
struct Model {
    sure: Option<Anchor>,
    busy: bool,
    /// By when everybody who was granted something has stopped, unless it released.
    quiet: Option<(MemberId, Term, Time)>,
    heard: BTreeMap<u64, Time>,
}

impl Model {
    fn fact(&mut self, now: Time, fact: &Fact, written: Option<&Anchor>) {
        match fact {
            Fact::InCharge { .. } | Fact::NotInCharge => {}
            Fact::AnchorRead(read) if self.busy => {
                (self.sure, self.busy) = (read.as_ref().map(|(anchor, _)| anchor.clone()), false);
            }
            Fact::AnchorWritten(_) if self.busy => (self.sure, self.busy) = (written.cloned(), false),
            Fact::AnchorReadFailed if self.busy => self.busy = false,
            Fact::AnchorConflict | Fact::AnchorWriteFailed | Fact::AnchorUnsure if self.busy => {
                (self.sure, self.busy) = (None, false);
            }
            Fact::Answered { answer, .. } => {
                if let Some(nonce) = answer.nonce {
                    self.heard.insert(nonce.count, now);
                }
            }
            _ => {}
        }
    }

    fn effect(&mut self, now: Time, effect: &Effect) {
        match effect {
            Effect::ReadAnchor | Effect::WriteAnchor { .. } => {
                assert!(!self.busy, "two operations on the record at once");
                self.busy = true;
            }
            Effect::Call { member, request: Request::Grant(grant), .. } => {
                let sure = self.sure.as_ref().and_then(Anchor::held);
                assert_eq!(sure, Some((member.clone(), grant.term)), "granted what the record does not say");
                let heard = self.heard[&grant.nonce.count];
                if let Some((other, term, until)) = &self.quiet {
                    assert!(other == member || now >= *until, "{member} granted while {other} may run term {term}");
                }
                self.quiet = Some((member.clone(), grant.term, heard + grant.ttl));
            }
            _ => {}
        }
    }
}

/// A script that is possible: no read or write ends that was not begun, and no answer comes unasked.
fn is_possible(run: &Script, busy: Option<bool>, text: &str) -> bool {
    let words: Vec<&str> = text.split(' ').collect();
    match words[0] {
        "none" | "read" | "read_failed" => busy == Some(false),
        "written" | "conflict" | "write_failed" | "unsure" => busy == Some(true),
        "reread" => busy == Some(false) && run.written.is_some(),
        "said" => run.asked.is_some(),
        "answer" | "fail" => run.calls.contains_key(&(words[1].to_owned(), words[2].to_owned())),
        _ => true,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn no_fact_in_any_order_makes_it_grant_beyond_the_record_or_spin(
        facts in prop::collection::vec((fact(), prop_oneof![4 => 1u64..100, 4 => 100u64..4_000, 1 => 4_000u64..20_000]), 1..250),
    ) {
        let mut run = Script::new();
        run.pool.spec.policy.consults = true;
        let mut model = Model::default();
        let mut busy = None;
        let mut at = 0;
        for (text, after) in [("in_charge", 1), ("read a", 1)].into_iter().chain(facts) {
            at += after;
            if !is_possible(&run, busy, text) {
                continue;
            }
            let text = format!("{at} {text}");
            let line = lines(&text).next().expect("a line");
            let written = run.written.clone();
            let fact = run.fact(&line);
            match &fact {
                // A new charge forgets what was under way.
                Fact::NotInCharge | Fact::InCharge { .. } => {}
                Fact::AnchorRead(_) | Fact::AnchorReadFailed | Fact::AnchorWritten(_) | Fact::AnchorConflict
                | Fact::AnchorWriteFailed | Fact::AnchorUnsure => busy = None,
                Fact::Answered { answer, .. } if answer.released.is_some() => {
                    let by_holder = |quiet: &(MemberId, Term, Time)| quiet.0.as_str() == line.word();
                    model.quiet = model.quiet.take().filter(|quiet| !by_holder(quiet));
                }
                _ => {}
            }
            let before = run.pool.charge.map(|charge| charge.epoch);
            model.fact(Time::from_ms(at), &fact, written.as_ref());
            run.pool.observe(now(at), fact);
            if run.pool.charge.map(|charge| charge.epoch) != before {
                model = Model { quiet: model.quiet.take(), heard: std::mem::take(&mut model.heard), ..Model::default() };
                (busy, run.calls) = (None, BTreeMap::new());
            }
            let mut effects = 0;
            while let Some(effect) = run.pool.next_effect() {
                effects += 1;
                run.note(&effect);
                model.effect(Time::from_ms(at), &effect);
                match effect {
                    Effect::ReadAnchor => busy = Some(false),
                    Effect::WriteAnchor { .. } => busy = Some(true),
                    _ => {}
                }
            }
            prop_assert!(effects < 20, "{effects} effects of one fact");
            prop_assert!(run.pool.next_wake().is_some_and(|wake| wake > Time::from_ms(at)), "it would spin");
        }
    }
}
