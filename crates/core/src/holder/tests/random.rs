//! Random facts against a plain model of what the holder may do with its gate.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// One random fact and how long after the last one it comes.
#[derive(Clone, Debug)]
struct Event {
    after: u64,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    Hello { hold: u64, epoch: u64 },
    Grant { back: u64, term: u64, ttl: u64, hold: u64, epoch: u64 },
    Revoke { term: u64, hold: u64 },
    Arm { short: u64 },
    Closed,
    Flag { active: bool, term: u64 },
    Workload(bool),
    Jump,
    Gone,
    Leave { grace: u64 },
    Tick,
}

fn event() -> impl Strategy<Value = Event> {
    let hold = prop_oneof![Just(0u64), 1u64..400];
    let what = prop_oneof![
        6 => (hold.clone(), 1u64..4).prop_map(|(hold, epoch)| What::Hello { hold, epoch }),
        9 => (0u64..4, 0u64..6, 0u64..3_000, hold.clone(), 1u64..4)
            .prop_map(|(back, term, ttl, hold, epoch)| What::Grant { back, term, ttl, hold, epoch }),
        2 => (0u64..6, hold).prop_map(|(term, hold)| What::Revoke { term, hold }),
        6 => (0u64..200).prop_map(|short| What::Arm { short }),
        4 => Just(What::Closed),
        1 => (any::<bool>(), 0u64..8).prop_map(|(active, term)| What::Flag { active, term }),
        1 => any::<bool>().prop_map(What::Workload),
        1 => Just(What::Jump),
        2 => Just(What::Gone),
        1 => (0u64..500).prop_map(|grace| What::Leave { grace }),
        8 => Just(What::Tick),
    ];
    (prop_oneof![Just(0u64), 1u64..50, 50u64..900], what).prop_map(|(after, what)| Event { after, what })
}

/// What an outsider knows: what it granted, and what the gate was told.
#[derive(Default)]
struct Model {
    made: BTreeMap<u64, Time>,
    /// The longest end that any grant could give each term.
    granted: BTreeMap<Term, Time>,
    /// The term the gate is open for, and the end it was asked to keep.
    gate: Option<(Term, Time)>,
    closing: bool,
    released: Option<Term>,
}

impl Model {
    fn effect(&mut self, now: Time, effect: &HolderEffect) {
        match effect {
            HolderEffect::Open { term, until } => {
                assert_eq!(self.gate, None, "opened while open");
                assert!(self.released.is_none_or(|released| *term > released), "a released term runs again");
                self.within_grant(*term, *until);
                self.gate = Some((*term, *until));
            }
            HolderEffect::Extend { term, until } => {
                assert!(!self.closing && self.gate.is_some_and(|(t, u)| t == *term && *until > u), "bad extension");
                self.within_grant(*term, *until);
                self.gate = Some((*term, *until));
            }
            HolderEffect::Close { term, by, .. } => {
                assert!(!self.closing, "closed twice");
                assert!(self.gate.is_some_and(|(t, until)| t == *term && *by <= until), "closes too late");
                self.closing = true;
            }
            HolderEffect::Answer(HolderAnswer { answer, .. }) => {
                if let Some(nonce) = answer.nonce {
                    self.made.insert(nonce.count, now);
                }
                if let Some(term) = answer.released {
                    assert_eq!(self.gate, None, "released while the gate is open");
                    self.released = self.released.max(Some(term));
                }
            }
            HolderEffect::Left => assert_eq!(self.gate, None, "left with an open gate"),
            HolderEffect::Report(_) => {}
        }
    }

    fn within_grant(&self, term: Term, until: Time) {
        let end = self.granted.get(&term);
        assert!(end.is_some_and(|end| until <= *end), "open until {until:?} in term {term}, granted until {end:?}");
    }

    fn fact(&mut self, what: &What, call: CallId) -> Option<HolderFact> {
        let grantor = GrantorId::controller();
        let request = |request, hold: &u64| Some(HolderFact::Call { call, request, hold: Millis(*hold) });
        match what {
            What::Hello { hold, epoch } => {
                request(Request::Hello(Hello { grantor, epoch: Epoch(*epoch), wants_nonce: true }), hold)
            }
            What::Grant { back, term, ttl, hold, epoch } => {
                let count = (self.made.len() as u64).saturating_sub(*back);
                let (term, ttl) = (Term(*term), Millis(*ttl));
                if let Some(made) = self.made.get(&count) {
                    let end = self.granted.entry(term).or_default();
                    *end = (*end).max(*made + ttl);
                }
                let nonce = Nonce { run: 7, count };
                request(Request::Grant(Grant { grantor, epoch: Epoch(*epoch), term, nonce, ttl }), hold)
            }
            What::Revoke { term, hold } => {
                request(Request::Revoke(Revoke { grantor, epoch: Epoch(3), term: Term(*term) }), hold)
            }
            What::Arm { short } => {
                self.gate.map(|(term, until)| HolderFact::GateArmed { term, until: until - Millis(*short) })
            }
            What::Closed => {
                self.closing = false;
                self.gate.take().map(|(term, _)| HolderFact::GateClosed { term })
            }
            What::Flag { active, term } => Some(HolderFact::Flag(Flag { active: *active, term: Term(*term) })),
            What::Workload(true) => Some(HolderFact::Workload(Workload::Running)),
            What::Workload(false) => Some(HolderFact::Workload(Workload::Failing("hung".to_owned()))),
            What::Jump => Some(HolderFact::ClockJumped),
            What::Gone => Some(HolderFact::PredecessorGone),
            What::Leave { grace } => Some(HolderFact::Leave { grace: Millis(*grace) }),
            What::Tick => Some(HolderFact::Tick),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn no_fact_in_any_order_opens_the_gate_beyond_a_grant(events in prop::collection::vec(event(), 1..120)) {
        let mut holder = holder(HolderSettings::one_grantor(STOP));
        let mut model = Model::default();
        let mut now = Time::default();
        for (number, event) in (0u64..).zip(&events) {
            now = now + Millis(event.after);
            let Some(fact) = model.fact(&event.what, CallId(number)) else { continue };
            holder.observe(now, fact);
            while let Some(effect) = holder.next_effect() {
                model.effect(now, &effect);
            }
            prop_assert!(holder.next_wake().is_none_or(|wake| wake > now), "a wake that has passed: it would spin");
            let stopping = model.gate.is_none_or(|(_, until)| model.closing || now + STOP < until);
            prop_assert!(stopping, "nothing stops the workload in time");
        }
    }
}
