//! Two controllers at one record, each with a clock of its own rate, in true time.

use proptest::prelude::*;

use super::*;

/// The record in the hub.
#[derive(Default)]
struct Hub {
    record: Option<(ControlRecord, Version)>,
    writes: u64,
}

/// What becomes of one operation: when the hub sees it, when its answer is back, and whether the answer is lost.
#[derive(Clone, Copy, Debug)]
struct Fate {
    to: u64,
    back: u64,
    lost: bool,
}

struct Rival {
    charge: Charge,
    /// The rate of its clock, in parts per million off true time.
    ppm: i64,
    fates: Vec<Fate>,
    turn: usize,
    under_way: Vec<UnderWay>,
    in_charge: Option<(Epoch, Time)>,
}

struct UnderWay {
    effect: ChargeEffect,
    at_hub: u64,
    back: u64,
    lost: bool,
    answer: Option<ChargeFact>,
    told: bool,
}

/// How long a controller waits for an answer.
const TIMEOUT: u64 = 900;

impl Rival {
    fn new(name: &str, ppm: i64, fates: Vec<Fate>) -> Self {
        let charge = Charge::new(ControllerId::new(name), timings());
        Self { charge, ppm, fates, turn: 0, under_way: Vec::new(), in_charge: None }
    }

    fn clock(&self, now: u64) -> Time {
        Time::from_ms((now as i64 + now as i64 * self.ppm / 1_000_000) as u64)
    }

    fn is_in_charge(&self, now: u64) -> bool {
        self.in_charge.is_some_and(|(_, until)| self.clock(now) < until)
    }

    fn run(&mut self, now: u64, hub: &mut Hub) {
        for operation in self.under_way.iter_mut().filter(|o| o.at_hub == now) {
            operation.answer = Some(hub.serve(&operation.effect));
        }
        let mut heard = Vec::new();
        for operation in self.under_way.iter_mut().filter(|o| !o.told && (o.back == now)) {
            operation.told = true;
            let unknown = match operation.effect {
                ChargeEffect::Read => ChargeFact::ReadFailed,
                _ => ChargeFact::Unsure,
            };
            heard.push(operation.answer.take().filter(|_| !operation.lost).unwrap_or(unknown));
        }
        self.under_way.retain(|o| !o.told || o.at_hub > now);
        for fact in heard {
            self.observe(now, fact);
        }
        if self.charge.next_wake().is_none_or(|wake| wake <= self.clock(now)) {
            self.observe(now, ChargeFact::Tick);
        }
    }

    fn observe(&mut self, now: u64, fact: ChargeFact) {
        let clock = self.clock(now);
        self.charge.observe(clock, fact);
        assert!(self.charge.next_wake().is_none_or(|wake| wake > clock), "it would spin");
        while let Some(effect) = self.charge.next_effect() {
            match effect {
                ChargeEffect::InCharge { epoch, valid_until } => self.in_charge = Some((epoch, valid_until)),
                ChargeEffect::NotInCharge { .. } | ChargeEffect::GivenBack => self.in_charge = None,
                ChargeEffect::Read | ChargeEffect::Write { .. } => self.send(now, effect),
            }
        }
    }

    fn send(&mut self, now: u64, effect: ChargeEffect) {
        let fate = self.fates[self.turn % self.fates.len()];
        self.turn += 1;
        let at_hub = now + 1 + fate.to;
        let back = (at_hub + fate.back).min(now + 1 + TIMEOUT);
        self.under_way.push(UnderWay { effect, at_hub, back, lost: fate.lost, answer: None, told: false });
    }
}

impl Hub {
    fn serve(&mut self, effect: &ChargeEffect) -> ChargeFact {
        let ChargeEffect::Write { record, basis } = effect else { return ChargeFact::Read(self.record.clone()) };
        if self.record.as_ref().map(|(_, version)| version) != basis.as_ref() {
            return ChargeFact::Conflict;
        }
        self.writes += 1;
        let version = Version(self.writes.to_string());
        self.record = Some((record.clone(), version.clone()));
        ChargeFact::Written(version)
    }
}

fn timings() -> ChargeTimings {
    ChargeTimings { ttl: Millis(1_000), renew: Millis(300), rate: RateBound(10_000) }
}

/// Runs both for a while; tells how long each was in charge.
fn never_two(mut rivals: [Rival; 2], millis: u64) -> Result<[u64; 2], String> {
    let mut hub = Hub::default();
    let mut ruled = [0, 0];
    let mut last = None;
    for now in 0..millis {
        for rival in &mut rivals {
            rival.run(now, &mut hub);
        }
        let [a, b] = [0, 1].map(|i| rivals[i].is_in_charge(now));
        if a && b {
            return Err(format!("both in charge at {now}: {:?} and {:?}", rivals[0].in_charge, rivals[1].in_charge));
        }
        for (who, _) in [a, b].iter().enumerate().filter(|(_, rules)| **rules) {
            ruled[who] += 1;
            let epoch = rivals[who].in_charge.map(|(epoch, _)| epoch);
            if last.is_some_and(|(before, old)| before != who && old >= epoch) {
                return Err(format!("epoch {epoch:?} follows {last:?} at {now}"));
            }
            last = Some((who, epoch));
        }
    }
    Ok(ruled)
}

fn fate() -> impl Strategy<Value = Fate> {
    let delay = || prop_oneof![4 => 0u64..40, 1 => 0u64..1_500];
    (delay(), delay(), prop::bool::weighted(0.2)).prop_map(|(to, back, lost)| Fate { to, back, lost })
}

#[test]
fn a_silent_owner_is_out_before_its_rival_is_in_whichever_clock_is_faster() {
    for ppm in [-5_000, 0, 5_000] {
        let quick = Fate { to: 2, back: 2, lost: false };
        // Its writes never arrive in time after the first few.
        let dying = [vec![quick; 12], vec![Fate { to: 9_999_999, ..quick }; 500]].concat();
        let late = [vec![Fate { to: 500, ..quick }], vec![quick; 200]].concat();
        let rivals = [Rival::new("a", ppm, dying), Rival::new("b", -ppm, late)];
        let ruled = never_two(rivals, 8_000).expect("never two");
        assert!(ruled.iter().all(|ruled| *ruled > 1_000), "both have their time: {ruled:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(192) })]

    #[test]
    fn never_two_in_charge_for_any_delay_and_loss(
        a in prop::collection::vec(fate(), 40),
        b in prop::collection::vec(fate(), 40),
        ppm in -5_000i64..=5_000,
    ) {
        let rivals = [Rival::new("a", ppm, a), Rival::new("b", -ppm, b)];
        let ruled = never_two(rivals, 12_000);
        prop_assert!(ruled.is_ok(), "{ruled:?}");
    }
}
