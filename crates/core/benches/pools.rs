//! What one controller's share of core costs: `cargo bench -p iotedge-ha-core --bench pools [-- POOLS]`.
//!
//! Every pool has three members; each round answers every call that is open, as a healthy site would.

#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "a measurement reads the clock")]

extern crate iotedge_ha_core as ha_core;

use std::collections::VecDeque;
use std::time::Instant;

use ha_core::anchor::{Anchor, Reason};
use ha_core::charge::Version;
use ha_core::ids::{BootId, CallId, ControlId, Epoch, MemberId, Nonce, Term};
use ha_core::messages::{Answer, HolderState, Request, Workload};
use ha_core::policy::Policy;
use ha_core::pool::{Effect, Fact, Pool, PoolSpec};
use ha_core::seen::Evidence;
use ha_core::time::{Millis, Now, Time, WallTime};

const ROUNDS: u64 = 10;

struct Driven {
    pool: Pool,
    calls: VecDeque<(CallId, MemberId, Request)>,
    nonces: u64,
}

fn now(ms: u64) -> Now {
    Now { mono: Time::from_ms(ms), wall: WallTime(0) }
}

fn spec(number: usize) -> PoolSpec {
    PoolSpec {
        name: format!("pool_{number}").parse().expect("a pool name"),
        control: ControlId::new("ha-control"),
        members: ["a", "b", "c"].map(|member| MemberId::new(format!("edge-{number}-{member}"))).to_vec(),
        policy: Policy::default(),
    }
}

fn record(spec: &PoolSpec) -> Anchor {
    let mut anchor = Anchor::vacant(
        spec.name.clone(),
        spec.control.clone(),
        Term(0),
        spec.policy.timings.ttl,
        Epoch(1),
        WallTime(0),
    );
    // A long history, as after years.
    for term in 1..=20 {
        anchor.appoint(spec.members[0].clone(), Term(term), Reason::HolderSilent, WallTime(0));
    }
    anchor
}

impl Driven {
    fn new(number: usize) -> Self {
        let spec = spec(number);
        let anchor = record(&spec);
        let mut driven = Self { pool: Pool::new(spec, CallId(1)), calls: VecDeque::new(), nonces: 0 };
        driven.observe(0, Fact::InCharge { epoch: Epoch(1), valid_until: Time::from_ms(u64::MAX / 2) });
        driven.observe(1, Fact::AnchorRead(Some((anchor, Version("1".to_owned())))));
        driven
    }

    fn observe(&mut self, ms: u64, fact: Fact) -> u64 {
        let mut facts = VecDeque::from([fact]);
        let mut taken = 0;
        while let Some(fact) = facts.pop_front() {
            self.pool.observe(now(ms), fact);
            taken += 1;
            while let Some(effect) = self.pool.next_effect() {
                match effect {
                    Effect::Call { call, member, request, .. } => self.calls.push_back((call, member, request)),
                    Effect::Gather { member } => {
                        facts.push_back(Fact::Gathered { member, evidence: Evidence::default() });
                    }
                    Effect::Mirror { member, .. } => facts.push_back(Fact::Mirrored { member, done: true }),
                    Effect::WriteAnchor { .. } => facts.push_back(Fact::AnchorWritten(Version("2".to_owned()))),
                    Effect::ReadAnchor | Effect::Consult { .. } | Effect::EpochSeen(_) | Effect::Record(_) => {}
                }
            }
        }
        taken
    }

    /// Every open call is answered once. Tells how many facts that took.
    fn round(&mut self, ms: u64) -> u64 {
        let mut taken = 0;
        for (call, member, request) in std::mem::take(&mut self.calls) {
            self.nonces += 1;
            let holds = member.as_str().ends_with("-a");
            let answer = Answer {
                boot: BootId::new("boot"),
                state: if holds { HolderState::Active } else { HolderState::Standby },
                term: if holds { Term(20) } else { Term(0) },
                lease_left: holds.then_some(Millis(14_000)),
                workload: if holds { Workload::Running } else { Workload::Ready },
                leaving: false,
                refused: None,
                released: matches!(request, Request::Revoke(_)).then_some(Term(20)),
                nonce: Some(Nonce { run: 7, count: self.nonces }),
            };
            taken += self.observe(ms, Fact::Answered { call, answer });
        }
        taken
    }
}

/// Resident memory of this process, in bytes; zero where there is no /proc.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4_096
}

fn main() {
    let asked = std::env::args().skip(1).find_map(|arg| arg.parse().ok());
    let sizes = asked.map_or(vec![5_000, 50_000], |pools| vec![pools]);
    for pools in sizes {
        measure(pools);
    }
}

fn measure(count: usize) {
    let (before, began) = (resident(), Instant::now());
    let mut pools: Vec<Driven> = (0..count).map(Driven::new).collect();
    let founded = began.elapsed();
    let (began, mut facts) = (Instant::now(), 0);
    for round in 1..=ROUNDS {
        for driven in &mut pools {
            facts += driven.round(round * 4_000);
        }
    }
    let took = began.elapsed();
    let per_pool = resident().saturating_sub(before) / count as u64;
    println!("{count} pools of 3: {per_pool} bytes per pool, begun in {:.2} s", founded.as_secs_f64());
    println!(
        "  a round of all: {:.3} s, {:.1} µs per pool; {} facts, {:.2} µs each",
        took.as_secs_f64() / ROUNDS as f64,
        took.as_micros() as f64 / ROUNDS as f64 / count as f64,
        facts,
        took.as_micros() as f64 / facts.max(1) as f64,
    );
}
