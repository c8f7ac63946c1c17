use ha_core::holder::HolderFact;
use ha_core::ids::Term;
use ha_core::time::Time;

use super::agent::Asleep;
use super::clock::{Instant, MS};
use super::event::{Event, KeeperAct, ToKeeper};
use super::world::World;

/// The process that ends the workload whatever the agent does.
#[derive(Debug, Default)]
pub struct Keeper {
    pub running: Option<Running>,
    /// Counts the times the gate was opened.
    open: u64,
    /// The agent's words arrive in order.
    heard_until: Instant,
}

#[derive(Debug)]
pub struct Running {
    pub term: Term,
    until: Time,
    stopping: bool,
    boot: u32,
}

impl World {
    pub fn tell_keeper(&mut self, agent: usize, word: ToKeeper) {
        let boot = self.agents[agent].boot;
        let takes = if matches!(word, ToKeeper::Open { .. }) { self.setup.open_us } else { self.setup.word_us };
        let takes = self.dice.between(takes / 10, takes);
        let at = (self.now + takes).max(self.agents[agent].keeper.heard_until + 1);
        self.agents[agent].keeper.heard_until = at;
        self.at(at, Event::ToKeeper { agent, boot, word });
    }

    pub fn keeper_hears(&mut self, agent: usize, boot: u32, word: &ToKeeper) {
        if self.agents[agent].boot != boot || !self.agents[agent].is_up() {
            return;
        }
        match *word {
            ToKeeper::Open { term, until } => self.keeper_opens(agent, boot, term, until),
            ToKeeper::Extend { term, until } => {
                let Some(running) = &mut self.agents[agent].keeper.running else { return };
                if !running.stopping && running.term == term {
                    running.until = running.until.max(until);
                    self.keeper_says(agent, boot, HolderFact::GateArmed { term, until });
                }
            }
            ToKeeper::Close { term, by } => self.keeper_closes(agent, term, by),
        }
    }

    fn keeper_opens(&mut self, agent: usize, boot: u32, term: Term, until: Time) {
        let now = self.agents[agent].clock.at(self.now);
        if now + self.setup.timings.stop >= until {
            self.keeper_says(agent, boot, HolderFact::GateClosed { term });
            return;
        }
        let keeper = &mut self.agents[agent].keeper;
        let twice = keeper.running.is_some();
        keeper.open += 1;
        keeper.running = Some(Running { term, until, stopping: false, boot });
        if twice {
            self.checks.broken(format!("{} opens its gate twice", self.agents[agent].id));
        }
        self.note(|w| format!("{}'s workload runs in term {term}", w.agents[agent].id));
        let member = self.agents[agent].id.clone();
        self.checks.started(&member, term);
        self.keeper_says(agent, boot, HolderFact::GateArmed { term, until });
        self.probe_workload(agent);
        self.set_keeper(agent);
    }

    fn keeper_closes(&mut self, agent: usize, term: Term, by: Time) {
        match &mut self.agents[agent].keeper.running {
            Some(running) if running.term == term => {
                running.until = running.until.min(by);
                if running.stopping {
                    self.workload_stops_by(agent);
                } else {
                    self.begin_stop(agent);
                }
            }
            // It has said so already: once for each opening.
            _ => {}
        }
    }

    fn set_keeper(&mut self, agent: usize) {
        let a = &self.agents[agent];
        if let Some(running) = &a.keeper.running {
            let at = a.clock.when(running.until - self.setup.timings.stop).max(self.now);
            self.at(at, Event::Keeper { agent, open: a.keeper.open, act: KeeperAct::Timer });
        }
    }

    pub fn keeper_acts(&mut self, agent: usize, open: u64, act: KeeperAct) {
        let a = &self.agents[agent];
        let Some(running) = a.keeper.running.as_ref().filter(|_| a.keeper.open == open) else { return };
        let due = a.clock.at(self.now) >= running.until - self.setup.timings.stop;
        match act {
            KeeperAct::Timer if running.stopping => {}
            KeeperAct::Timer if due => self.begin_stop(agent),
            KeeperAct::Timer => self.set_keeper(agent),
            KeeperAct::Stopped => self.workload_stopped(agent),
        }
    }

    fn begin_stop(&mut self, agent: usize) {
        if let Some(running) = &mut self.agents[agent].keeper.running {
            running.stopping = true;
        }
        self.workload_stops_by(agent);
    }

    /// The workload takes its time, up to the kill at the end.
    fn workload_stops_by(&mut self, agent: usize) {
        let a = &self.agents[agent];
        let Some(running) = &a.keeper.running else { return };
        let (open, end) = (a.keeper.open, a.clock.when(running.until).max(self.now));
        let quick = self.dice.chance(self.setup.quick_stop_permille);
        let at = if quick { self.dice.between(self.now, end).min(self.now + 100 * MS) } else { end };
        self.at(at, Event::Keeper { agent, open, act: KeeperAct::Stopped });
    }

    fn workload_stopped(&mut self, agent: usize) {
        let Some(running) = self.agents[agent].keeper.running.take() else { return };
        self.note(|w| format!("{}'s workload has stopped", w.agents[agent].id));
        self.keeper_says(agent, running.boot, HolderFact::GateClosed { term: running.term });
        self.probe_workload(agent);
    }

    fn keeper_says(&mut self, agent: usize, boot: u32, fact: HolderFact) {
        let takes = self.dice.between(self.setup.word_us / 10, self.setup.word_us);
        self.after(takes, Event::AgentHears { agent, boot, fact });
    }

    /// The agent has gone: the workload is killed without grace.
    pub fn keeper_orphaned(&mut self, agent: usize) {
        let a = &mut self.agents[agent];
        let Some(running) = &mut a.keeper.running else { return };
        running.stopping = true;
        let (open, end) = (a.keeper.open, a.clock.when(running.until).max(self.now));
        let at = (self.now + self.dice.between(0, 5 * MS)).min(end);
        self.at(at, Event::Keeper { agent, open, act: KeeperAct::Stopped });
    }

    /// The device has no power: nothing runs.
    pub fn power_off(&mut self, agent: usize) {
        self.kill_agent(agent);
        let a = &mut self.agents[agent];
        a.keeper.running = None;
        a.asleep = Asleep::No;
        a.deferred.clear();
        a.clock.zero = i64::try_from(self.now).unwrap_or(i64::MAX);
    }

    /// The keeper's timer has counted through the suspend: it goes first.
    pub fn keeper_wakes(&mut self, agent: usize) {
        let a = &self.agents[agent];
        let Some(running) = &a.keeper.running else { return };
        let (now, stop) = (a.clock.at(self.now), self.setup.timings.stop);
        if now >= running.until {
            self.checks.woken_past_end += 1;
            self.workload_stopped(agent);
        } else if !running.stopping && now >= running.until - stop {
            self.begin_stop(agent);
        } else if running.stopping {
            self.workload_stops_by(agent);
        } else {
            self.set_keeper(agent);
        }
    }
}
