use std::collections::BTreeMap;

use ha_core::anchor::Anchor;
use ha_core::charge::{ChargeFact, ControlRecord, Version};
use ha_core::holder::Flag;
use ha_core::ids::MemberId;
use ha_core::pool::{Fact, Mirror};

use super::clock::Instant;
use super::event::{Asker, Event, Op, Said};
use super::moves::Move;
use super::world::World;

/// The name of the one pool.
pub const POOL: &str = "press_1";

/// The hub's records, changed by compare-and-swap alone.
#[derive(Debug, Default)]
pub struct Hub {
    pub anchor: Option<(Anchor, Version)>,
    pub control: Option<(ControlRecord, Version)>,
    pub flags: BTreeMap<usize, Flag>,
    /// Since when it is on its way to another region, and how.
    pub down: Option<(Instant, Move)>,
    versions: u64,
}

/// What an operation was, for whoever gives up waiting for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    ReadAnchor,
    WriteAnchor,
    ReadControl,
    WriteControl,
}

impl Hub {
    pub fn next_version(&mut self) -> Version {
        self.versions += 1;
        Version(format!("v{}", self.versions))
    }

    /// The versions of writes that were lost are given to others.
    pub fn count_versions_again(&mut self) {
        let count = |version: &Version| version.0.trim_start_matches('v').parse().unwrap_or(0);
        let versions = [version_of(self.anchor.as_ref()), version_of(self.control.as_ref())];
        self.versions = versions.into_iter().flatten().map(count).max().unwrap_or(0);
    }
}

fn version_of<T>(record: Option<&(T, Version)>) -> Option<&Version> {
    record.map(|(_, version)| version)
}

impl World {
    pub fn ask_hub(&mut self, controller: usize, op: Op) {
        let number = self.next_op(controller);
        let by = Asker { controller, run: self.controllers[controller].run, op: number };
        let kind = match op {
            Op::ReadAnchor => Kind::ReadAnchor,
            Op::WriteAnchor { .. } => Kind::WriteAnchor,
            Op::ReadControl => Kind::ReadControl,
            Op::WriteControl { .. } => Kind::WriteControl,
        };
        if let Some(brain) = &mut self.controllers[controller].brain {
            brain.ops.insert(number, kind);
        }
        if let Some(delay) = self.way_out(controller) {
            self.after(delay, Event::HubDoes { by, op });
        }
        let timeout = self.setup.timings.call_timeout;
        let c = &self.controllers[controller];
        let silent = c.clock.when(c.clock.at(self.now) + timeout);
        self.at(silent, Event::HubSilent { to: by });
    }

    pub fn hub_does(&mut self, by: Asker, op: Op) {
        if self.hub.down.is_some() {
            return;
        }
        let refused = self.dice.chance(self.weather.refused_permille);
        let said = if refused { Said::Failed } else { self.hub_answers(by, op) };
        if let Some(delay) = self.way_in(by.controller) {
            self.after(delay, Event::HubSays { to: by, said });
        }
    }

    fn hub_answers(&mut self, by: Asker, op: Op) -> Said {
        match op {
            Op::ReadAnchor => Said::Anchor(self.hub.anchor.clone().map(|(anchor, v)| (Box::new(anchor), v))),
            Op::ReadControl => Said::Control(self.hub.control.clone()),
            Op::WriteAnchor { anchor, basis } => {
                if version_of(self.hub.anchor.as_ref()) != basis.as_ref() {
                    self.detail(|_| format!("c{}'s write of the anchor conflicts", by.controller + 1));
                    return Said::Conflict;
                }
                self.put_anchor(Some(by), Some(*anchor));
                self.hub.anchor.as_ref().map_or(Said::Failed, |(_, v)| Said::Written(v.clone()))
            }
            Op::WriteControl { record, basis } => {
                if version_of(self.hub.control.as_ref()) != basis.as_ref() {
                    return Said::Conflict;
                }
                let version = self.hub.next_version();
                self.detail(|_| format!("control record: {record:?}"));
                self.hub.control = Some((record, version.clone()));
                self.remember_records();
                Said::Written(version)
            }
        }
    }

    /// Every change of the pool's record goes through here.
    pub fn put_anchor(&mut self, by: Option<Asker>, anchor: Option<Anchor>) {
        let who = by.map_or("somebody".to_owned(), |by| format!("c{}", by.controller + 1));
        let revoked = by.is_some_and(|by| self.has_revoked(by));
        let before = self.hub.anchor.take();
        let before = before.as_ref().map(|(anchor, _)| anchor);
        if let Some(anchor) = &anchor {
            let same = before.is_some_and(|before| before.holder == anchor.holder && before.term == anchor.term);
            if !same {
                let holder = anchor.holder.as_ref().map_or("nobody", MemberId::as_str);
                let why = anchor.history.last().filter(|last| last.term == anchor.term);
                let why = why.map_or(String::new(), |last| format!(": {}", last.reason));
                let term = anchor.term;
                self.note(|_| format!("{who} writes: {holder} holds term {term}{why}"));
            } else {
                self.detail(|_| format!("{who} writes the anchor: epoch {}", anchor.epoch));
            }
            self.checks.recorded(before, anchor, by.is_some(), revoked, self.now);
        } else {
            self.note(|_| format!("{who} deletes the anchor"));
        }
        let version = self.hub.next_version();
        self.hub.anchor = anchor.map(|anchor| (anchor, version));
        self.remember_records();
        self.release_kept_off();
    }

    /// Whether this controller has asked the recorded holder to stop.
    fn has_revoked(&self, by: Asker) -> bool {
        let c = &self.controllers[by.controller];
        let (Some(brain), Some((anchor, _))) = (c.brain.as_ref().filter(|_| c.run == by.run), &self.hub.anchor) else {
            return true;
        };
        brain.revoked.iter().any(|(_, term)| *term >= anchor.term)
    }

    pub fn hub_says(&mut self, to: Asker, said: Said) {
        let Some(kind) = self.take_op(to) else { return };
        match (kind, said) {
            (Kind::ReadAnchor, Said::Anchor(read)) => {
                self.pool_takes(to.controller, Fact::AnchorRead(read.map(|(anchor, v)| (*anchor, v))));
            }
            (Kind::ReadAnchor, _) => self.pool_takes(to.controller, Fact::AnchorReadFailed),
            (Kind::WriteAnchor, Said::Written(v)) => self.pool_takes(to.controller, Fact::AnchorWritten(v)),
            (Kind::WriteAnchor, Said::Conflict) => self.pool_takes(to.controller, Fact::AnchorConflict),
            (Kind::WriteAnchor, _) => self.pool_takes(to.controller, Fact::AnchorWriteFailed),
            (Kind::ReadControl, Said::Control(read)) => self.charge_takes(to.controller, ChargeFact::Read(read)),
            (Kind::ReadControl, _) => self.charge_takes(to.controller, ChargeFact::ReadFailed),
            (Kind::WriteControl, Said::Written(v)) => self.charge_takes(to.controller, ChargeFact::Written(v)),
            (Kind::WriteControl, Said::Conflict) => self.charge_takes(to.controller, ChargeFact::Conflict),
            (Kind::WriteControl, _) => self.charge_takes(to.controller, ChargeFact::WriteFailed),
        }
    }

    pub fn hub_silent(&mut self, to: Asker) {
        let Some(kind) = self.take_op(to) else { return };
        self.detail(|_| format!("c{} gives up waiting for the hub: {kind:?}", to.controller + 1));
        match kind {
            Kind::ReadAnchor => self.pool_takes(to.controller, Fact::AnchorReadFailed),
            Kind::WriteAnchor => self.pool_takes(to.controller, Fact::AnchorUnsure),
            Kind::ReadControl => self.charge_takes(to.controller, ChargeFact::ReadFailed),
            Kind::WriteControl => self.charge_takes(to.controller, ChargeFact::Unsure),
        }
    }

    fn take_op(&mut self, to: Asker) -> Option<Kind> {
        let c = &mut self.controllers[to.controller];
        c.brain.as_mut().filter(|_| c.run == to.run)?.ops.remove(&to.op)
    }

    /// Writes a member's flag, which reaches the agent in its own time.
    pub fn mirror(&mut self, controller: usize, member: MemberId, mirror: Mirror) {
        let Some(agent) = self.agents.iter().position(|agent| agent.id == member) else { return };
        let done = match self.way_out(controller) {
            Some(delay) => {
                let flag = Flag { active: mirror.active, term: mirror.term };
                self.write_flag(agent, flag, delay);
                true
            }
            None => false,
        };
        let back = self.way_in(controller);
        let delay = back.unwrap_or(self.setup.timings.call_timeout.0 * super::clock::MS);
        self.later_to_controller(controller, delay, Fact::Mirrored { member, done: done && back.is_some() });
    }

    pub fn write_flag(&mut self, agent: usize, flag: Flag, delay: u64) {
        self.hub.flags.insert(agent, flag);
        if let Some(more) = self.way_to_agent(agent) {
            self.after(delay + more, Event::FlagArrives { agent, flag });
        }
    }
}
