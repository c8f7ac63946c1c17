use ha_core::anchor::{OperatorRequest, Verb};
use ha_core::holder::HolderFact;
use ha_core::ids::{ControllerId, Epoch, MemberId, RequestId, Term};
use ha_core::time::WallTime;

use super::agent::Asleep;
use super::clock::{MS, S};
use super::event::{Cut, Edit, Event, Fault, Weather};
use super::world::World;

impl World {
    pub fn interfere(&mut self, fault: Fault) {
        self.note(|_| format!("— {fault:?}"));
        match fault {
            // A suspended device kills and starts nothing.
            Fault::KillAgent(agent) if self.agents[agent].asleep == Asleep::Host => {}
            Fault::KillAgent(agent) => self.kill_agent(agent),
            Fault::StartAgent(agent) => self.start_agent(agent),
            Fault::FreezeAgent(agent) => self.freeze(agent, Asleep::Agent),
            Fault::FreezeHost(agent) => self.freeze(agent, Asleep::Host),
            Fault::ThawAgent(agent) | Fault::WakeHost(agent) => self.wake(agent),
            Fault::PowerOff(agent) => self.power_off(agent),
            Fault::ClockJump(agent) => self.tell_agent(agent, HolderFact::ClockJumped),
            Fault::Leave { agent, grace } => self.tell_agent(agent, HolderFact::Leave { grace }),
            Fault::Fails { agent, fails } => {
                self.agents[agent].fails = fails;
                self.probe_workload(agent);
            }
            Fault::Flag { agent, flag } => self.write_flag(agent, flag, 0),
            Fault::CutAgent { agent, cut } => self.agents[agent].cut = cut,
            Fault::KillController(controller) => self.kill_controller(controller),
            Fault::StartController(controller) => self.start_controller(controller),
            Fault::PauseController(controller) => self.controllers[controller].paused = true,
            Fault::ResumeController(controller) => self.resume(controller),
            Fault::GiveBack(controller) if self.controllers[controller].paused => {}
            Fault::GiveBack(controller) => self.give_back(controller),
            Fault::CutController { controller, cut } => self.controllers[controller].cut = cut,
            Fault::Weather(weather) => self.weather = weather,
            Fault::Ask(verb) => self.ask(verb),
            Fault::AskFenced { to } => self.ask_fenced(to),
            Fault::Edit(edit) => self.edit(edit),
            Fault::HubMoves(how) => self.hub_moves(how),
            Fault::HubIsBack => self.hub_is_back(),
            Fault::Mend => self.mend(),
        }
    }

    fn tell_agent(&mut self, agent: usize, fact: HolderFact) {
        let boot = self.agents[agent].boot;
        self.after(MS, Event::AgentHears { agent, boot, fact });
    }

    fn freeze(&mut self, agent: usize, asleep: Asleep) {
        if self.agents[agent].is_up() && self.agents[agent].asleep == Asleep::No {
            self.agents[agent].asleep = asleep;
        }
    }

    fn wake(&mut self, agent: usize) {
        if self.agents[agent].asleep == Asleep::No {
            return;
        }
        self.agents[agent].asleep = Asleep::No;
        self.keeper_wakes(agent);
        let deferred = std::mem::take(&mut self.agents[agent].deferred);
        let (keeper, others): (Vec<_>, Vec<_>) =
            deferred.into_iter().partition(|event| matches!(event, Event::Keeper { .. } | Event::ToKeeper { .. }));
        for event in keeper.into_iter().chain(others) {
            self.dispatch(event);
        }
        self.agent_takes(agent, HolderFact::Tick);
    }

    fn resume(&mut self, controller: usize) {
        self.controllers[controller].paused = false;
        for event in std::mem::take(&mut self.controllers[controller].deferred) {
            self.dispatch(event);
        }
    }

    fn ask(&mut self, verb: Verb) {
        let Some((mut anchor, _)) = self.hub.anchor.clone() else { return };
        self.requests += 1;
        let request = OperatorRequest { verb, by: "ann".to_owned(), at: WallTime(0) };
        anchor.requests.insert(RequestId::new(format!("r{}", self.requests)), request);
        self.put_anchor(None, Some(anchor));
    }

    /// The operator keeps the holder off until the request is settled.
    fn ask_fenced(&mut self, to: Option<MemberId>) {
        let held = self.hub.anchor.as_ref().and_then(|(anchor, _)| anchor.held());
        let Some((holder, term)) = held else { return };
        let Some(agent) = self.agents.iter().position(|agent| agent.id == holder) else { return };
        self.checks.vouched.insert(term);
        self.power_off(agent);
        self.agents[agent].kept_off = true;
        self.ask(Verb::Failover { to, fenced: true });
    }

    /// Lets devices be switched on again once no open request vouches for them.
    pub fn release_kept_off(&mut self) {
        let vouched = self.hub.anchor.as_ref().is_none_or(|(anchor, _)| {
            anchor.requests.values().any(|asked| matches!(asked.verb, Verb::Failover { fenced: true, .. }))
        });
        if !vouched {
            self.agents.iter_mut().for_each(|agent| agent.kept_off = false);
        }
    }

    fn edit(&mut self, edit: Edit) {
        let anchor = self.hub.anchor.clone().map(|(anchor, _)| anchor);
        match (edit, anchor) {
            (Edit::DeleteAnchor, Some(_)) => self.put_anchor(None, None),
            (Edit::DeleteControl, _) => self.hub.control = None,
            (Edit::ControlOwner(controller), _) => {
                let run = self.controllers[controller].run;
                let version = self.hub.next_version();
                if let Some((record, was)) = &mut self.hub.control {
                    record.owner = ControllerId::new(format!("c{}-{run}", controller + 1));
                    *was = version;
                }
            }
            (Edit::ControlTtl(ttl), _) => {
                let version = self.hub.next_version();
                if let Some((record, was)) = &mut self.hub.control {
                    record.ttl = ttl;
                    *was = version;
                }
            }
            (Edit::AnchorTtl(ttl), Some(mut anchor)) => {
                anchor.ttl = ttl;
                self.put_anchor(None, Some(anchor));
            }
            (Edit::Holder(holder), Some(mut anchor)) => {
                anchor.holder = holder;
                self.put_anchor(None, Some(anchor));
            }
            (Edit::TermUp(by), Some(mut anchor)) => {
                anchor.term = Term(anchor.term.0 + by);
                self.put_anchor(None, Some(anchor));
            }
            (Edit::TermDown(by), Some(mut anchor)) => {
                anchor.term = Term(anchor.term.0.saturating_sub(by));
                self.put_anchor(None, Some(anchor));
            }
            (Edit::EpochTo(epoch), Some(mut anchor)) => {
                anchor.epoch = Epoch(epoch);
                self.put_anchor(None, Some(anchor));
            }
            _ => {}
        }
    }

    /// Everything is up, connected and awake again, nothing is asked for and nothing is marked.
    fn mend(&mut self) {
        self.weather = Weather { delay_ms: (5, 60), ..Weather::FAIR };
        for agent in 0..self.agents.len() {
            self.agents[agent].cut = Cut::NONE;
            self.agents[agent].fails = false;
            self.wake(agent);
            self.agents[agent].kept_off = false;
            let leaving = self.agents[agent].holder.as_ref().is_some_and(|holder| holder.view().leaving);
            if leaving {
                self.kill_agent(agent);
            }
            self.probe_workload(agent);
            let delay = self.dice.between(0, 2 * S);
            self.after(delay, Event::Fault(Fault::StartAgent(agent)));
        }
        self.hub_is_back();
        for controller in 0..self.controllers.len() {
            self.controllers[controller].cut = Cut::NONE;
            self.resume(controller);
            if self.controllers[controller].is_leaving() {
                self.kill_controller(controller);
            }
            let delay = self.dice.between(0, 2 * S);
            self.after(delay, Event::Fault(Fault::StartController(controller)));
        }
        if let Some((mut anchor, _)) = self.hub.anchor.clone() {
            anchor.paused = None;
            anchor.maintenance.clear();
            anchor.requests.clear();
            self.put_anchor(None, Some(anchor));
        }
    }
}
