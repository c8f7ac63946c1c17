use std::collections::BTreeMap;

use ha_core::charge::ChargeTimings;
use ha_core::ids::MemberId;
use ha_core::policy::{Policy, Timings};
use ha_core::time::Millis;
use serde::{Deserialize, Serialize};

use super::agent::{Agent, Asleep};
use super::check::Checks;
use super::clock::{Clock, Instant};
use super::controller::Controller;
use super::dice::Dice;
use super::event::{Event, Fault, Weather};
use super::hub::Hub;
use super::moves::Past;
use super::trace::Trace;

/// Everything that a world begins with. With the seed it says all that will happen.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Setup {
    pub seed: u64,
    /// One clock for each agent.
    pub agents: Vec<Clock>,
    /// One clock for each controller.
    pub controllers: Vec<Clock>,
    pub timings: Timings,
    /// The ttls that controllers are configured with, in turn with each start.
    pub ttls: Vec<Millis>,
    pub charge: ChargeTimings,
    pub policy: Policy,
    pub weather: Weather,
    /// How long a workload takes to start, at most.
    pub open_us: u64,
    /// How long agent and keeper take to tell each other something, at most.
    pub word_us: u64,
    /// How late timers are, at most.
    pub timer_late_us: u64,
    /// How often a workload stops at once when asked, rather than being killed at the end.
    pub quick_stop_permille: u64,
    /// The hub always says that a device is not connected.
    pub offline_is_known: bool,
    pub faults: Vec<(Instant, Fault)>,
}

/// A broken invariant and when it broke.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    pub at: Instant,
    pub what: String,
}

/// The world: what it is made of, and what is about to happen.
#[derive(Debug)]
pub struct World {
    pub setup: Setup,
    pub now: Instant,
    pub agents: Vec<Agent>,
    pub controllers: Vec<Controller>,
    pub hub: Hub,
    pub past: Past,
    pub weather: Weather,
    pub dice: Dice,
    pub checks: Checks,
    pub trace: Trace,
    pub events: u64,
    /// Since when nobody has been acting.
    pub idle_since: Option<Instant>,
    /// The longest time with nobody acting that has ended.
    pub gap_max: Instant,
    queue: BTreeMap<(Instant, u64), Event>,
    queued: u64,
    pub requests: u64,
}

/// A world in which so much happens within one virtual second runs in circles.
const EVENTS_PER_S_MAX: u64 = 3_000;

impl World {
    pub fn new(setup: Setup, trace: Trace) -> Self {
        let name = |n: usize| MemberId::new(["a", "b", "c", "d"][n]);
        let mut world = Self {
            now: 0,
            agents: setup.agents.iter().enumerate().map(|(n, clock)| Agent::new(name(n), *clock)).collect(),
            controllers: setup.controllers.iter().map(|clock| Controller::new(*clock)).collect(),
            hub: Hub::default(),
            past: Past::default(),
            weather: setup.weather,
            dice: Dice::new(setup.seed),
            checks: Checks::default(),
            trace,
            events: 0,
            idle_since: Some(0),
            gap_max: 0,
            queue: BTreeMap::new(),
            queued: 0,
            requests: 0,
            setup,
        };
        for (at, fault) in world.setup.faults.clone() {
            world.at(at, Event::Fault(fault));
        }
        world
    }

    pub fn at(&mut self, at: Instant, event: Event) {
        self.queued += 1;
        self.queue.insert((at.max(self.now), self.queued), event);
    }

    pub fn after(&mut self, delay: Instant, event: Event) {
        self.at(self.now + delay, event);
    }

    pub fn note(&mut self, line: impl FnOnce(&Self) -> String) {
        if self.trace.notes {
            let line = line(self);
            self.trace.push(self.now, line);
        }
    }

    pub fn detail(&mut self, line: impl FnOnce(&Self) -> String) {
        if self.trace.details {
            let line = line(self);
            self.trace.push(self.now, line);
        }
    }

    pub fn broken(&self, what: impl Into<String>) -> Violation {
        Violation { at: self.now, what: what.into() }
    }

    /// Lets everything happen up to `end`; stops at the first broken invariant.
    pub fn run_until(&mut self, end: Instant) -> Result<(), Violation> {
        while let Some(entry) = self.queue.first_entry() {
            if entry.key().0 > end {
                break;
            }
            let ((at, _), event) = entry.remove_entry();
            self.now = at;
            self.happen(event);
            self.look()?;
        }
        self.now = end;
        Ok(())
    }

    fn look(&mut self) -> Result<(), Violation> {
        self.events += 1;
        let in_charge = self.controllers.iter().filter(|c| c.in_charge(self.now).is_some()).count();
        self.checks.look(&self.agents, in_charge, self.now);
        match (self.active().is_some(), self.idle_since) {
            (true, Some(since)) => {
                self.gap_max = self.gap_max.max(self.now - since);
                self.idle_since = None;
            }
            (false, None) => self.idle_since = Some(self.now),
            _ => {}
        }
        if let Some(what) = self.checks.take_broken() {
            return Err(self.broken(what));
        }
        if self.events > 20_000 + self.now / super::clock::S * EVENTS_PER_S_MAX {
            return Err(self.broken("so much happens at once: somebody runs in circles"));
        }
        Ok(())
    }

    /// Who acts.
    pub fn active(&self) -> Option<&Agent> {
        self.agents.iter().find(|agent| agent.acts().is_some())
    }

    fn happen(&mut self, event: Event) {
        if let Some(event) = self.defer(event) {
            self.dispatch(event);
        }
    }

    /// Puts off what cannot happen while somebody stands still.
    fn defer(&mut self, event: Event) -> Option<Event> {
        let list = match &event {
            Event::AgentWake { agent, .. }
            | Event::AgentHears { agent, .. }
            | Event::LookForPredecessor { agent, .. }
            | Event::FlagArrives { agent, .. }
            | Event::Request { agent, .. }
            | Event::CallerGone { agent, .. } => {
                let agent = &mut self.agents[*agent];
                (agent.asleep != Asleep::No).then_some(&mut agent.deferred)
            }
            Event::ToKeeper { agent, .. } | Event::Keeper { agent, .. } => {
                let agent = &mut self.agents[*agent];
                (agent.asleep == Asleep::Host).then_some(&mut agent.deferred)
            }
            Event::Answer { to, .. } => self.paused(to.controller),
            Event::HubSays { to, .. } | Event::HubSilent { to } => self.paused(to.controller),
            Event::ControllerWake { controller, .. } | Event::ControllerHears { controller, .. } => {
                self.paused(*controller)
            }
            Event::HubDoes { .. } | Event::Fault(_) => None,
        };
        match list {
            Some(list) => {
                list.push(event);
                None
            }
            None => Some(event),
        }
    }

    fn paused(&mut self, controller: usize) -> Option<&mut Vec<Event>> {
        let c = &mut self.controllers[controller];
        c.paused.then_some(&mut c.deferred)
    }

    pub fn dispatch(&mut self, event: Event) {
        match event {
            Event::AgentWake { agent, set } => self.agent_wakes(agent, set),
            Event::AgentHears { agent, boot, fact } => self.agent_hears(agent, boot, fact),
            Event::LookForPredecessor { agent, boot } => self.look_for_predecessor(agent, boot),
            Event::ToKeeper { agent, boot, word } => self.keeper_hears(agent, boot, &word),
            Event::Keeper { agent, open, act } => self.keeper_acts(agent, open, act),
            Event::FlagArrives { agent, flag } => {
                let fact = ha_core::holder::HolderFact::Flag(flag);
                self.agent_takes(agent, fact);
            }
            Event::Request { agent, from, request, hold } => self.request_arrives(agent, from, request, hold),
            Event::CallerGone { agent, from } => self.caller_gone(agent, from),
            Event::Answer { to, agent, answer } => self.answer_arrives(to, agent, answer),
            Event::ControllerWake { controller, set } => self.controller_wakes(controller, set),
            Event::ControllerHears { controller, run, fact } => self.controller_hears(controller, run, *fact),
            Event::HubDoes { by, op } => self.hub_does(by, op),
            Event::HubSays { to, said } => self.hub_says(to, said),
            Event::HubSilent { to } => self.hub_silent(to),
            Event::Fault(fault) => self.interfere(fault),
        }
    }
}
