//! Three grantors, of whom two must agree: the lease of a majority, as voters on site will hold it.
//!
//! The grantors know nothing of each other and follow their own fancies; only their word keeps two apart.

use std::collections::BTreeMap;

use expect_test::expect;
use ha_core::grantor::Grantor;
use ha_core::holder::{Holder, HolderEffect, HolderFact, HolderSettings};
use ha_core::ids::{BootId, CallId, Epoch, GrantorId, MemberId, Term};
use ha_core::invariants::{Running, Terms, at_most_one_active};
use ha_core::messages::{Answer, Grant, Hello, Refusal, Request, Revoke};
use ha_core::time::{Millis, RateBound, Time};

use super::dice::Dice;

const TTL: Millis = Millis(2_000);
const STOP: Millis = Millis(200);
const RATE: RateBound = RateBound(1_000);
const TICK: u64 = 100;

enum Event {
    Tick(usize),
    Request { agent: usize, grantor: usize, request: Request },
    Answer { grantor: usize, agent: usize, answer: Box<Answer>, heard_revoke: bool },
    Wake(usize),
    Stopped { agent: usize, open: u64 },
    KeeperEnds { agent: usize, open: u64 },
}

struct Voter {
    grantor: Grantor,
    fancy: usize,
    seen: Term,
    cut: bool,
}

struct Site {
    holder: Holder,
    running: Option<(Term, Time)>,
    open: u64,
    calls: BTreeMap<CallId, (usize, bool)>,
    next_call: CallId,
}

struct Quorum {
    now: u64,
    dice: Dice,
    voters: Vec<Voter>,
    sites: Vec<Site>,
    queue: BTreeMap<(u64, u64), Event>,
    queued: u64,
    terms: Terms,
    fickle: bool,
    lost_permille: u64,
    story: Vec<String>,
    starts: u64,
}

fn name(agent: usize) -> MemberId {
    MemberId::new(["a", "b", "c"][agent])
}

fn voter(n: usize) -> GrantorId {
    GrantorId::new(["x", "y", "z"][n])
}

impl Quorum {
    fn new(seed: u64, fickle: bool, lost_permille: u64) -> Self {
        let mut dice = Dice::new(seed);
        let settings = HolderSettings {
            stop: STOP,
            grantors: (0..3).map(voter).collect(),
            grants_needed: 2,
            ttl_max: Millis(60_000),
        };
        let site = |n: usize, run: u64| {
            let mut holder = Holder::new(settings.clone(), BootId::new(format!("{n}")), u128::from(run));
            holder.observe(Time::from_ms(0), HolderFact::PredecessorGone);
            Site { holder, running: None, open: 0, calls: BTreeMap::new(), next_call: CallId(0) }
        };
        let sites = (0..3).map(|n| site(n, dice.roll())).collect();
        let voter = || Voter { grantor: Grantor::free(RATE), fancy: 0, seen: Term(0), cut: false };
        let voters = (0..3).map(|_| voter()).collect();
        let mut quorum = Self {
            now: 0,
            dice,
            voters,
            sites,
            queue: BTreeMap::new(),
            queued: 0,
            terms: Terms::default(),
            fickle,
            lost_permille,
            story: Vec::new(),
            starts: 0,
        };
        (0..3).for_each(|n| quorum.after(n as u64, Event::Tick(n)));
        quorum
    }

    fn time(&self) -> Time {
        Time::from_ms(self.now)
    }

    fn after(&mut self, delay: u64, event: Event) {
        self.queued += 1;
        self.queue.insert((self.now + delay, self.queued), event);
    }

    fn say(&mut self, line: String) {
        self.story.push(format!("{:>5} {line}\n", self.now));
    }

    fn send(&mut self, grantor: usize, event: impl Fn() -> Event) {
        let times = if self.lost_permille > 0 && self.dice.chance(50) { 2 } else { 1 };
        for _ in 0..times {
            let lost = self.dice.chance(self.lost_permille) || self.voters[grantor].cut;
            let late = self.lost_permille > 0 && self.dice.chance(50);
            let delay = if late { self.dice.between(0, 3_000) } else { 10 };
            if !lost {
                self.after(delay, event());
            }
        }
    }

    fn run_until(&mut self, end: u64) {
        while let Some(entry) = self.queue.first_entry() {
            if entry.key().0 > end {
                break;
            }
            let ((at, _), event) = entry.remove_entry();
            self.now = at;
            self.happen(event);
            let sites = self.sites.iter().enumerate();
            let running: Running = sites.filter_map(|(n, site)| Some((name(n), site.running?.0))).collect();
            assert_eq!(at_most_one_active(&running), Ok(()), "at {} ms\n{}", self.now, self.story.concat());
        }
        self.now = end;
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Tick(n) => self.tick(n),
            Event::Request { agent, grantor, request } => {
                let call = self.sites[agent].next_call.next();
                self.sites[agent].next_call = call;
                self.sites[agent].calls.insert(call, (grantor, matches!(request, Request::Revoke(_))));
                let hold = if matches!(request, Request::Revoke(_)) { STOP } else { Millis::ZERO };
                self.site_takes(agent, HolderFact::Call { call, request, hold });
            }
            Event::Answer { grantor, agent, answer, heard_revoke } => self.hear(grantor, agent, &answer, heard_revoke),
            Event::Wake(agent) => self.site_takes(agent, HolderFact::Tick),
            Event::Stopped { agent, open } => self.stopped(agent, open),
            Event::KeeperEnds { agent, open } => {
                let site = &self.sites[agent];
                let Some((_, until)) = site.running.filter(|_| site.open == open) else { return };
                if self.time() >= until {
                    self.stopped(agent, open);
                } else {
                    self.after(until.as_ms() - self.now, Event::KeeperEnds { agent, open });
                }
            }
        }
    }

    /// A voter asks its favourite for a nonce, and changes its mind when it pleases.
    fn tick(&mut self, n: usize) {
        self.after(TICK, Event::Tick(n));
        if self.fickle && self.dice.chance(30) {
            self.voters[n].fancy = self.dice.below(3);
        }
        let agent = self.voters[n].fancy;
        let given = self.voters[n].grantor.given().map(|(member, term)| (member.clone(), term));
        let strange = given.filter(|(member, _)| *member != name(agent));
        let request = match strange {
            Some((_, term)) if self.dice.chance(200) => {
                let member = (0..3).find(|m| Some(name(*m)) == self.given_to(n)).unwrap_or(agent);
                (member, Request::Revoke(Revoke { grantor: voter(n), epoch: Epoch(1), term }))
            }
            _ => (agent, Request::Hello(Hello { grantor: voter(n), epoch: Epoch(1), wants_nonce: true })),
        };
        let (agent, request) = request;
        self.send(n, || Event::Request { agent, grantor: n, request: request.clone() });
    }

    fn given_to(&self, n: usize) -> Option<MemberId> {
        self.voters[n].grantor.given().map(|(member, _)| member.clone())
    }

    fn hear(&mut self, n: usize, agent: usize, answer: &Answer, heard_revoke: bool) {
        let now = self.time();
        let v = &mut self.voters[n];
        v.seen = v.seen.max(answer.term);
        if let Some(Refusal::StaleTerm { seen } | Refusal::Released { through: seen }) = answer.refused {
            v.seen = v.seen.max(seen);
        }
        if let (true, Some(term)) = (heard_revoke, answer.released) {
            v.grantor.released(&name(agent), term);
        }
        let Some(nonce) = answer.nonce.filter(|_| v.fancy == agent && !heard_revoke) else { return };
        // Terms that no two members can share: each has every third one.
        let own = |term: Term| term.0 > 0 && term.0 % 3 == agent as u64;
        let term =
            if own(v.seen) { v.seen } else { (1..4).map(|d| Term(v.seen.0 + d)).find(|t| own(*t)).unwrap_or(v.seen) };
        if answer.refused.is_some() || !v.grantor.may_grant(now, &name(agent), term) {
            return;
        }
        v.grantor.promise(now, &name(agent), term, now, TTL);
        let grant = Grant { grantor: voter(n), epoch: Epoch(1), term, nonce, ttl: TTL };
        self.send(n, || Event::Request { agent, grantor: n, request: Request::Grant(grant.clone()) });
    }

    fn site_takes(&mut self, agent: usize, fact: HolderFact) {
        let now = self.time();
        self.sites[agent].holder.observe(now, fact);
        while let Some(effect) = self.sites[agent].holder.next_effect() {
            match effect {
                HolderEffect::Open { term, until } => self.opens(agent, term, until),
                HolderEffect::Extend { term, until } => {
                    if let Some(running) = &mut self.sites[agent].running {
                        running.1 = until;
                        self.site_takes(agent, HolderFact::GateArmed { term, until });
                    }
                }
                HolderEffect::Close { term, by, cause } => {
                    self.say(format!("{} closes term {term}: {}", name(agent), cause.as_str()));
                    let delay = self.dice.between(0, by.as_ms().saturating_sub(self.now));
                    let open = self.sites[agent].open;
                    self.after(delay, Event::Stopped { agent, open });
                }
                HolderEffect::Answer(answer) => {
                    if let Some((grantor, heard_revoke)) = self.sites[agent].calls.remove(&answer.call) {
                        let answer = Box::new(answer.answer);
                        self.send(grantor, || Event::Answer { grantor, agent, answer: answer.clone(), heard_revoke });
                    }
                }
                HolderEffect::Report(_) | HolderEffect::Left => {}
            }
        }
        if let Some(wake) = self.sites[agent].holder.next_wake() {
            let delay = wake.as_ms().saturating_sub(self.now).max(1);
            self.after(delay, Event::Wake(agent));
        }
    }

    fn opens(&mut self, agent: usize, term: Term, until: Time) {
        self.say(format!("{} runs term {term}", name(agent)));
        self.terms.started(&name(agent), term).unwrap_or_else(|broken| panic!("{broken}"));
        self.starts += 1;
        let site = &mut self.sites[agent];
        site.open += 1;
        site.running = Some((term, until));
        let open = site.open;
        self.after(until.as_ms() - self.now, Event::KeeperEnds { agent, open });
        self.site_takes(agent, HolderFact::GateArmed { term, until });
    }

    fn stopped(&mut self, agent: usize, open: u64) {
        let site = &mut self.sites[agent];
        if let Some((term, _)) = site.running.take_if(|_| site.open == open) {
            self.say(format!("{} has stopped", name(agent)));
            self.site_takes(agent, HolderFact::GateClosed { term });
        }
    }
}

#[test]
fn two_of_three_fickle_grantors_never_let_two_run() {
    let mut starts = 0;
    for seed in 0..60 {
        let mut quorum = Quorum::new(seed, true, [0, 100, 300][seed as usize % 3]);
        quorum.run_until(60_000);
        starts += quorum.starts;
    }
    assert!(starts > 200, "only {starts} starts: too quiet to show anything");
}

#[test]
fn one_grantor_may_be_cut_off_and_two_may_not() {
    let mut quorum = Quorum::new(1, false, 0);
    quorum.run_until(5_000);
    quorum.say("z is cut off".to_owned());
    quorum.voters[2].cut = true;
    quorum.run_until(10_000);
    quorum.say("y is cut off as well".to_owned());
    quorum.voters[1].cut = true;
    quorum.run_until(15_000);
    quorum.say("y and z are back, and now in favour of b".to_owned());
    for n in [1, 2] {
        quorum.voters[n].cut = false;
        quorum.voters[n].fancy = 1;
    }
    quorum.run_until(20_000);
    expect![[r#"
           31 a runs term 3
         5000 z is cut off
        10000 y is cut off as well
        11771 a closes term 3: no grant came in time
        11831 a has stopped
        15000 y and z are back, and now in favour of b
        15032 b runs term 4
    "#]]
    .assert_eq(&quorum.story.concat());
}
