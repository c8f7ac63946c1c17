use std::collections::BTreeMap;

use ha_core::holder::{Holder, HolderAnswer, HolderEffect, HolderFact, HolderSettings};
use ha_core::ids::{BootId, CallId, MemberId, Nonce, Term};
use ha_core::messages::{Request, Workload};
use ha_core::time::{Millis, Time};

use super::clock::{Clock, Instant, MS};
use super::event::{Caller, Cut, Event, ToKeeper};
use super::keeper::Keeper;
use super::world::World;

/// A device: the real holder, its keeper and its workload.
#[derive(Debug)]
pub struct Agent {
    pub id: MemberId,
    pub clock: Clock,
    pub boot: u32,
    pub holder: Option<Holder>,
    pub asleep: Asleep,
    pub keeper: Keeper,
    pub cut: Cut,
    pub fails: bool,
    /// An operator keeps it switched off.
    pub kept_off: bool,
    /// What happened to it while it stood still.
    pub deferred: Vec<Event>,
    calls: BTreeMap<CallId, Caller>,
    next_call: CallId,
    wake: Option<Instant>,
    /// The world's own notes: when each nonce of this run was made, and what leases the grants add up to at most.
    made: BTreeMap<Nonce, Time>,
    pub lease_ends: BTreeMap<Term, Time>,
    pub released: Term,
    pub left: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Asleep {
    No,
    /// The agent's process stands still.
    Agent,
    /// The whole device does.
    Host,
}

impl Agent {
    pub fn new(id: MemberId, clock: Clock) -> Self {
        Self {
            id,
            clock,
            boot: 0,
            holder: None,
            asleep: Asleep::No,
            keeper: Keeper::default(),
            cut: Cut::NONE,
            fails: false,
            kept_off: false,
            deferred: Vec::new(),
            calls: BTreeMap::new(),
            next_call: CallId(0),
            wake: None,
            made: BTreeMap::new(),
            lease_ends: BTreeMap::new(),
            released: Term(0),
            left: false,
        }
    }

    pub fn is_up(&self) -> bool {
        self.holder.is_some()
    }

    /// The term in which the workload acts on the plant at this moment.
    pub fn acts(&self) -> Option<Term> {
        self.keeper.running.as_ref().filter(|_| self.asleep != Asleep::Host).map(|running| running.term)
    }

    fn health(&self) -> Workload {
        match (self.fails, self.keeper.running.is_some()) {
            (true, _) => Workload::Failing("the probe fails".to_owned()),
            (false, true) => Workload::Running,
            (false, false) => Workload::Ready,
        }
    }
}

impl World {
    pub fn start_agent(&mut self, agent: usize) {
        if self.agents[agent].is_up() || self.agents[agent].kept_off {
            return;
        }
        let run = u128::from(self.dice.roll());
        let settings =
            HolderSettings { stop: self.setup.timings.stop, ..HolderSettings::one_grantor(self.setup.timings.stop) };
        let a = &mut self.agents[agent];
        a.boot += 1;
        a.holder = Some(Holder::new(settings, BootId::new(format!("{}-{}", a.id, a.boot)), run));
        a.asleep = Asleep::No;
        a.calls.clear();
        a.made.clear();
        a.lease_ends.clear();
        a.released = Term(0);
        a.left = false;
        let boot = a.boot;
        self.note(|w| format!("{}'s agent starts", w.agents[agent].id));
        let health = self.agents[agent].health();
        self.agent_takes(agent, HolderFact::Workload(health));
        let look = self.dice.between(0, 500) * MS;
        self.after(look, Event::LookForPredecessor { agent, boot });
        if let Some(flag) = self.hub.flags.get(&agent).copied() {
            self.after(look / 2, Event::FlagArrives { agent, flag });
        }
    }

    pub fn look_for_predecessor(&mut self, agent: usize, boot: u32) {
        if self.agents[agent].boot != boot || !self.agents[agent].is_up() {
            return;
        }
        if self.agents[agent].keeper.running.is_some() {
            self.after(100 * MS, Event::LookForPredecessor { agent, boot });
        } else {
            self.agent_takes(agent, HolderFact::PredecessorGone);
        }
    }

    /// The agent's process ends; the keeper notices at once.
    pub fn kill_agent(&mut self, agent: usize) {
        let a = &mut self.agents[agent];
        a.holder = None;
        a.wake = None;
        a.deferred.retain(|event| matches!(event, Event::Keeper { .. }));
        if a.asleep == Asleep::Agent {
            a.asleep = Asleep::No;
        }
        self.keeper_orphaned(agent);
    }

    pub fn agent_hears(&mut self, agent: usize, boot: u32, fact: HolderFact) {
        if self.agents[agent].boot == boot {
            self.agent_takes(agent, fact);
        }
    }

    pub fn request_arrives(&mut self, agent: usize, from: Caller, request: Request, hold: Millis) {
        let a = &mut self.agents[agent];
        if !a.is_up() || a.cut.inward {
            self.call_undelivered(from);
            return;
        }
        if let Request::Grant(grant) = &request
            && let Some(made) = a.made.get(&grant.nonce)
        {
            let end = a.lease_ends.entry(grant.term).or_insert(Time::from_ms(0));
            *end = (*end).max(*made + grant.ttl);
        }
        let call = a.next_call.next();
        a.next_call = call;
        a.calls.insert(call, from);
        self.detail(|w| format!("{} takes {request:?} from c{}", w.agents[agent].id, from.controller + 1));
        self.agent_takes(agent, HolderFact::Call { call, request, hold });
    }

    pub fn caller_gone(&mut self, agent: usize, from: Caller) {
        let call = self.agents[agent].calls.iter().find(|(_, caller)| **caller == from).map(|(call, _)| *call);
        if let Some(call) = call {
            self.agent_takes(agent, HolderFact::CallGone(call));
        }
    }

    pub fn agent_wakes(&mut self, agent: usize, set: Instant) {
        if self.agents[agent].wake == Some(set) {
            self.agents[agent].wake = None;
            self.agent_takes(agent, HolderFact::Tick);
        }
    }

    /// The workload's health as it is, if the agent is there to see it.
    pub fn probe_workload(&mut self, agent: usize) {
        let (boot, fact) = (self.agents[agent].boot, HolderFact::Workload(self.agents[agent].health()));
        self.after(MS, Event::AgentHears { agent, boot, fact });
    }

    pub fn agent_takes(&mut self, agent: usize, fact: HolderFact) {
        let now = self.agents[agent].clock.at(self.now);
        let Some(holder) = &mut self.agents[agent].holder else { return };
        holder.observe(now, fact);
        while let Some(effect) = self.agents[agent].holder.as_mut().and_then(Holder::next_effect) {
            self.agent_does(agent, effect);
        }
        let a = &self.agents[agent];
        let wake = a.holder.as_ref().and_then(Holder::next_wake).map(|at| a.clock.when(at));
        let late = self.dice.between(0, self.setup.timer_late_us);
        let wake = wake.map(|at| at.max(self.now + 1) + late);
        self.agents[agent].wake = wake;
        if let Some(set) = wake {
            self.at(set, Event::AgentWake { agent, set });
        }
    }

    fn agent_does(&mut self, agent: usize, effect: HolderEffect) {
        match effect {
            HolderEffect::Open { term, until } => {
                self.checks.opening(&self.agents[agent], term, self.now);
                self.tell_keeper(agent, ToKeeper::Open { term, until });
            }
            HolderEffect::Extend { term, until } => self.tell_keeper(agent, ToKeeper::Extend { term, until }),
            HolderEffect::Close { term, by, cause } => {
                self.note(|w| format!("{} closes term {term}: {}", w.agents[agent].id, cause.as_str()));
                self.tell_keeper(agent, ToKeeper::Close { term, by });
            }
            HolderEffect::Answer(answer) => self.agent_answers(agent, answer),
            HolderEffect::Report(_) => {}
            HolderEffect::Left => {
                self.note(|w| format!("{}'s agent has left", w.agents[agent].id));
                self.agents[agent].left = true;
                // Its last answers are on their way; the process ends a moment later.
                self.kill_agent(agent);
            }
        }
    }

    fn agent_answers(&mut self, agent: usize, HolderAnswer { call, answer }: HolderAnswer) {
        let a = &mut self.agents[agent];
        let now = a.clock.at(self.now);
        if let Some(nonce) = answer.nonce {
            a.made.insert(nonce, now);
        }
        if let Some(term) = answer.released {
            a.released = a.released.max(term);
        }
        let Some(to) = a.calls.remove(&call) else { return };
        self.send_answer(agent, to, answer);
    }
}
