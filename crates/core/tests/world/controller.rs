use std::collections::{BTreeMap, BTreeSet};

use ha_core::charge::{Charge, ChargeEffect, ChargeFact, ChargeTimings};
use ha_core::ids::{CallId, ControlId, ControllerId, Epoch, MemberId, Term};
use ha_core::messages::{Answer, Request};
use ha_core::plan::{Verdict, Wish};
use ha_core::policy::Policy;
use ha_core::pool::{Effect, Fact, Pool, PoolSpec};
use ha_core::seen::{CallFailure, Evidence};
use ha_core::time::{Millis, Now, Time, WallTime};

use super::clock::{Clock, Instant, MS};
use super::event::{Caller, Cut, Event, Op};
use super::hub::{Kind, POOL};
use super::world::World;

/// A controller: the real charge and the real pool, and a shell that only carries out.
#[derive(Debug)]
pub struct Controller {
    pub clock: Clock,
    pub run: u32,
    pub brain: Option<Brain>,
    pub paused: bool,
    pub deferred: Vec<Event>,
    pub cut: Cut,
    wake: Option<Instant>,
}

#[derive(Debug)]
pub struct Brain {
    pub charge: Charge,
    pub pool: Pool,
    pub ops: BTreeMap<u64, Kind>,
    next_op: u64,
    leaving: bool,
    /// What the charge has told last, and until when it holds.
    pub in_charge: Option<(Epoch, Time)>,
    released: BTreeMap<MemberId, Term>,
    /// Revokes whose answers count, and until when.
    revoking: BTreeMap<CallId, (MemberId, Time)>,
    pub revoked: BTreeSet<(MemberId, Term)>,
}

impl Controller {
    pub fn new(clock: Clock) -> Self {
        Self { clock, run: 0, brain: None, paused: false, deferred: Vec::new(), cut: Cut::NONE, wake: None }
    }

    pub fn now(&self, now: Instant) -> Now {
        let mono = self.clock.at(now);
        Now { mono, wall: WallTime(i64::try_from(now / MS).unwrap_or(0) + 1_700_000_000_000) }
    }

    pub fn is_leaving(&self) -> bool {
        self.brain.as_ref().is_some_and(|brain| brain.leaving)
    }

    /// Whether it may act on the pool at this moment, by its own clock.
    pub fn in_charge(&self, now: Instant) -> Option<Epoch> {
        let (epoch, until) = self.brain.as_ref()?.in_charge?;
        (self.clock.at(now) < until).then_some(epoch)
    }
}

impl World {
    pub fn start_controller(&mut self, controller: usize) {
        if self.controllers[controller].brain.is_some() {
            return;
        }
        let c = &mut self.controllers[controller];
        c.run += 1;
        let me = ControllerId::new(format!("c{}-{}", controller + 1, c.run));
        let ttls = &self.setup.ttls;
        let mut timings = self.setup.timings.clone();
        timings.ttl = ttls[(c.run as usize + controller) % ttls.len()];
        let policy = Policy { timings, ..self.setup.policy.clone() };
        let members = self.agents.iter().map(|agent| agent.id.clone()).collect();
        let name = POOL.parse().unwrap_or_else(|_| unreachable!("a good name"));
        let spec = PoolSpec { name, control: ControlId::new("ha-control"), members, policy };
        let first_call = CallId(u64::from(c.run) * 1_000_000);
        let charge: ChargeTimings = self.setup.charge;
        c.paused = false;
        c.brain = Some(Brain {
            charge: Charge::new(me, charge),
            pool: Pool::new(spec, first_call),
            ops: BTreeMap::new(),
            next_op: 0,
            leaving: false,
            in_charge: None,
            released: BTreeMap::new(),
            revoking: BTreeMap::new(),
            revoked: BTreeSet::new(),
        });
        self.note(|_| format!("c{} starts", controller + 1));
        self.charge_takes(controller, ChargeFact::Tick);
    }

    pub fn kill_controller(&mut self, controller: usize) {
        let c = &mut self.controllers[controller];
        c.brain = None;
        c.wake = None;
        c.paused = false;
        c.deferred.clear();
    }

    pub fn give_back(&mut self, controller: usize) {
        if let Some(brain) = &mut self.controllers[controller].brain {
            brain.leaving = true;
            self.charge_takes(controller, ChargeFact::GiveBack);
        }
    }

    pub fn controller_wakes(&mut self, controller: usize, set: Instant) {
        if self.controllers[controller].wake == Some(set) {
            self.controllers[controller].wake = None;
            let now = self.controllers[controller].now(self.now);
            if let Some(brain) = &mut self.controllers[controller].brain {
                brain.charge.observe(now.mono, ChargeFact::Tick);
                brain.pool.observe(now, Fact::Tick);
            }
            self.drain_controller(controller);
        }
    }

    pub fn answer_arrives(&mut self, to: Caller, agent: usize, answer: Answer) {
        if self.controllers[to.controller].run != to.run {
            return;
        }
        self.detail(|w| format!("c{} hears from {}: {answer:?}", to.controller + 1, w.agents[agent].id));
        let now = self.controllers[to.controller].clock.at(self.now);
        if let Some(brain) = &mut self.controllers[to.controller].brain
            && let (Some((member, due)), Some(term)) = (brain.revoking.get(&to.call), answer.released)
            && now < *due
        {
            let newest = brain.released.entry(member.clone()).or_default();
            *newest = (*newest).max(term);
        }
        self.pool_takes(to.controller, Fact::Answered { call: to.call, answer });
    }

    pub fn controller_hears(&mut self, controller: usize, run: u32, fact: Fact) {
        if self.controllers[controller].run == run {
            self.pool_takes(controller, fact);
        }
    }

    pub fn pool_takes(&mut self, controller: usize, fact: Fact) {
        let now = self.controllers[controller].now(self.now);
        if let Some(brain) = &mut self.controllers[controller].brain {
            brain.pool.observe(now, fact);
        }
        self.drain_controller(controller);
    }

    pub fn charge_takes(&mut self, controller: usize, fact: ChargeFact) {
        let now = self.controllers[controller].now(self.now);
        if let Some(brain) = &mut self.controllers[controller].brain {
            brain.charge.observe(now.mono, fact);
        }
        self.drain_controller(controller);
    }

    fn drain_controller(&mut self, controller: usize) {
        loop {
            let Some(brain) = &mut self.controllers[controller].brain else { return };
            if let Some(effect) = brain.charge.next_effect() {
                self.charge_does(controller, effect);
            } else if let Some(effect) = brain.pool.next_effect() {
                self.pool_does(controller, effect);
            } else {
                break;
            }
        }
        let c = &self.controllers[controller];
        let Some(brain) = &c.brain else { return };
        let wake = [brain.charge.next_wake(), brain.pool.next_wake()].into_iter().flatten().min();
        let late = self.dice.between(0, self.setup.timer_late_us);
        let wake = wake.map(|at| c.clock.when(at).max(self.now + 1) + late);
        self.controllers[controller].wake = wake;
        if let Some(set) = wake {
            self.at(set, Event::ControllerWake { controller, set });
        }
    }

    fn charge_does(&mut self, controller: usize, effect: ChargeEffect) {
        let now = self.controllers[controller].now(self.now);
        let Some(brain) = &mut self.controllers[controller].brain else { return };
        match effect {
            ChargeEffect::Read => self.ask_hub(controller, Op::ReadControl),
            ChargeEffect::Write { record, basis } => self.ask_hub(controller, Op::WriteControl { record, basis }),
            ChargeEffect::InCharge { epoch, valid_until } => {
                let news = brain.in_charge.map(|(epoch, _)| epoch) != Some(epoch);
                if brain.in_charge.is_none_or(|(_, until)| now.mono >= until) {
                    // Whatever was heard before is forgotten.
                    brain.revoking.clear();
                    brain.released.clear();
                }
                brain.in_charge = Some((epoch, valid_until));
                brain.pool.observe(now, Fact::InCharge { epoch, valid_until });
                if news {
                    self.note(|_| format!("c{} is in charge, epoch {epoch}", controller + 1));
                }
            }
            ChargeEffect::NotInCharge { .. } => {
                let news = brain.in_charge.take().is_some();
                brain.revoking.clear();
                brain.released.clear();
                brain.pool.observe(now, Fact::NotInCharge);
                if news {
                    self.note(|_| format!("c{} is not in charge", controller + 1));
                }
            }
            ChargeEffect::GivenBack => {
                if brain.leaving {
                    self.note(|_| format!("c{} has given the charge back and ends", controller + 1));
                    self.kill_controller(controller);
                }
            }
        }
    }

    fn pool_does(&mut self, controller: usize, effect: Effect) {
        let now = self.controllers[controller].now(self.now);
        match effect {
            Effect::ReadAnchor => self.ask_hub(controller, Op::ReadAnchor),
            Effect::WriteAnchor { anchor, basis } => {
                self.ask_hub(controller, Op::WriteAnchor { anchor: Box::new(anchor), basis });
            }
            Effect::Call { call, member, request, hold, timeout } => {
                self.controller_calls(controller, call, member, request, hold, timeout);
            }
            Effect::Gather { member } => {
                let fact = Fact::Gathered { member, evidence: Evidence::default() };
                self.later_to_controller(controller, 300 * MS, fact);
            }
            Effect::Mirror { member, mirror } => self.mirror(controller, member, mirror),
            Effect::Consult { wish, term, .. } => self.consult(controller, wish, term),
            Effect::EpochSeen(epoch) => {
                if let Some(brain) = &mut self.controllers[controller].brain {
                    brain.charge.observe(now.mono, ChargeFact::EpochSeen(epoch));
                }
            }
            Effect::Record(decision) => {
                self.detail(|_| format!("c{}: {}", controller + 1, decision.sentence));
            }
        }
    }

    /// Those on site answer late or early, and now and then no.
    fn consult(&mut self, controller: usize, wish: Wish, term: Term) {
        let no = Verdict::Veto { by: "site".to_owned(), why: "mid-batch".to_owned() };
        let verdict = if self.dice.chance(300) { no } else { Verdict::Go };
        self.detail(|_| format!("c{} asks whether the holder may change ({wish})", controller + 1));
        let delay = self.dice.between(0, 20_000 * MS);
        self.later_to_controller(controller, delay, Fact::Consulted { wish, term, verdict });
    }

    fn controller_calls(
        &mut self,
        controller: usize,
        call: CallId,
        member: MemberId,
        request: Request,
        hold: Millis,
        timeout: Millis,
    ) {
        let Some(agent) = self.agents.iter().position(|agent| agent.id == member) else { return };
        let from = Caller { controller, run: self.controllers[controller].run, call };
        let due = self.controllers[controller].clock.at(self.now) + timeout;
        self.check_call(controller, call, due, &member, &request);
        self.detail(|_| format!("c{} sends {member} {request:?}", controller + 1));
        self.send_request(agent, from, &request, hold);
        // The transport tells of the timeout sometimes before the pool's own, sometimes not at all.
        if self.dice.chance(500) {
            let at = self.controllers[controller].clock.when(due).saturating_sub(1);
            let fact = Box::new(Fact::Failed { call, failure: CallFailure::TimedOut });
            self.at(at, Event::ControllerHears { controller, run: from.run, fact });
            self.at(at, Event::CallerGone { agent, from });
        }
    }

    fn check_call(&mut self, controller: usize, call: CallId, due: Time, member: &MemberId, request: &Request) {
        let Some(brain) = &mut self.controllers[controller].brain else { return };
        match request {
            Request::Grant(grant) => {
                self.checks.granted(member, grant.term);
                if brain.released.get(member).is_some_and(|through| grant.term <= *through) {
                    self.checks.broken(format!("{member} is granted term {} after it released it", grant.term));
                }
            }
            Request::Revoke(revoke) => {
                brain.revoking.insert(call, (member.clone(), due));
                brain.revoked.insert((member.clone(), revoke.term));
            }
            Request::Hello(_) => {}
        }
    }

    pub fn later_to_controller(&mut self, controller: usize, delay: Instant, fact: Fact) {
        let run = self.controllers[controller].run;
        self.after(delay, Event::ControllerHears { controller, run, fact: Box::new(fact) });
    }

    pub fn next_op(&mut self, controller: usize) -> u64 {
        self.controllers[controller].brain.as_mut().map_or(0, |brain| {
            brain.next_op += 1;
            brain.next_op
        })
    }
}
