//! The holder's half of the echo lease: what an agent does with grants, revokes and its gate.
//!
//! Feed every fact to [`Holder::observe`], then carry out what [`Holder::next_effect`] gives until it is
//! `None`, and come back with [`HolderFact::Tick`] no later than [`Holder::next_wake`].

mod calls;
mod gate;
mod leases;
mod nonces;

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::ids::{BootId, CallId, Epoch, GrantorId, Nonce, Term};
use crate::messages::{HolderState, Request, Workload};
use crate::time::{Millis, Time};

use self::calls::HeldCalls;
pub use self::calls::HolderAnswer;
pub use self::gate::Cause;
use self::gate::Gate;
use self::leases::Leases;
use self::nonces::Nonces;

/// What a holder is told once, at its start.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HolderSettings {
    /// How long the workload may take to stop: grace, then kill. Stopping begins this long before the lease ends.
    pub stop: Millis,
    /// Those whose grants count.
    pub grantors: Vec<GrantorId>,
    /// How many of them must grant the same term at once.
    pub grants_needed: usize,
    /// The longest ttl taken from anybody.
    pub ttl_max: Millis,
}

impl HolderSettings {
    /// One grantor, the controller.
    pub fn one_grantor(stop: Millis) -> Self {
        Self { stop, grantors: vec![GrantorId::controller()], grants_needed: 1, ttl_max: crate::policy::TTL_MAX }
    }
}

/// Something the agent learnt.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HolderFact {
    /// An authenticated request came.
    Call {
        /// To answer it by.
        call: CallId,
        /// The request.
        request: Request,
        /// How long the asker lets us keep the answer back. Zero: answer at once.
        hold: Millis,
    },
    /// The asker of this call has gone.
    CallGone(CallId),
    /// The gate is open and will close by itself so that the workload has stopped at `until`.
    GateArmed {
        /// The term it was opened or extended for.
        term: Term,
        /// The lease end it holds.
        until: Time,
    },
    /// The gate is closed and the workload of that term has stopped.
    GateClosed {
        /// The term it was open for.
        term: Term,
    },
    /// The probes have a new opinion.
    Workload(Workload),
    /// The flag in the twin, as last read.
    Flag(Flag),
    /// Wall clock and boot clock moved apart: the machine was frozen or restored.
    ClockJumped,
    /// No workload of an earlier run of this agent can be left.
    PredecessorGone,
    /// The agent is to stop; it may wait that long to be relieved.
    Leave {
        /// How long.
        grace: Millis,
    },
    /// Time has passed.
    Tick,
}

/// The flag in the twin: it can close the gate, never open it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Flag {
    /// What it says.
    pub active: bool,
    /// For which term.
    pub term: Term,
}

/// Something the agent must do.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HolderEffect {
    /// Open the gate; it must close by itself so that the workload has stopped at `until`.
    Open {
        /// The term, which goes to the workload.
        term: Term,
        /// The lease end.
        until: Time,
    },
    /// Move the open gate's end.
    Extend {
        /// The term it is open for.
        term: Term,
        /// The new lease end.
        until: Time,
    },
    /// Close the gate; the workload must have stopped at `by`.
    Close {
        /// The term it is open for.
        term: Term,
        /// The latest end.
        by: Time,
        /// Why.
        cause: Cause,
    },
    /// Answer a call with this, now: the nonce in it has been made at this moment.
    Answer(HolderAnswer),
    /// The state that others may see has changed.
    Report(Report),
    /// Nothing is left to do: the agent may end.
    Left,
}

/// What a holder shows of itself.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Report {
    /// What it does.
    pub state: HolderState,
    /// The term it runs or last ran.
    pub term: Term,
    /// How the workload is.
    pub workload: Workload,
    /// It is being stopped.
    pub leaving: bool,
}

/// The holder's half of the echo lease.
#[derive(Clone, Debug)]
pub struct Holder {
    settings: HolderSettings,
    boot: BootId,
    predecessor_gone: bool,
    nonces: Nonces,
    epochs: BTreeMap<GrantorId, Epoch>,
    term_seen: Term,
    /// Terms up to here are never taken again.
    revoked_through: Term,
    /// Somebody has been told that terms up to here have stopped.
    released_through: Term,
    leases: Leases,
    gate: Gate,
    term_run: Term,
    flag: Option<Flag>,
    workload: Workload,
    leaving: Option<Time>,
    left: bool,
    held: HeldCalls,
    reported: Option<Report>,
    effects: VecDeque<HolderEffect>,
}

impl Holder {
    /// A holder that has just started: gate closed, and no word on an earlier run's workload.
    ///
    /// `run` must be drawn at random: the nonces of two runs must never be equal.
    pub fn new(settings: HolderSettings, boot: BootId, run: u128) -> Self {
        Self {
            leases: Leases::new(settings.grants_needed),
            settings,
            boot,
            predecessor_gone: false,
            nonces: Nonces::new(run),
            epochs: BTreeMap::new(),
            term_seen: Term(0),
            revoked_through: Term(0),
            released_through: Term(0),
            gate: Gate::Closed,
            term_run: Term(0),
            flag: None,
            workload: Workload::Unknown,
            leaving: None,
            left: false,
            held: HeldCalls::default(),
            reported: None,
            effects: VecDeque::new(),
        }
    }

    /// Takes in one fact. Never waits, never fails; afterwards drain [`Holder::next_effect`].
    pub fn observe(&mut self, now: Time, fact: HolderFact) {
        // First: a grant that comes after the end, in a process that overslept it, must find the nonces gone.
        self.end_leases(now);
        match fact {
            HolderFact::Call { call, request, hold } => self.called(now, call, &request, hold),
            HolderFact::CallGone(call) => self.held.forget(call),
            HolderFact::GateArmed { term, until } => self.gate.armed(term, until),
            HolderFact::GateClosed { term } => self.gate_closed(term),
            HolderFact::Workload(workload) => self.workload = workload,
            HolderFact::Flag(flag) => self.flag_read(now, flag),
            HolderFact::ClockJumped => {
                self.forget_leases();
                self.close(now, Cause::ClockJumped);
            }
            HolderFact::PredecessorGone => self.predecessor_gone = true,
            HolderFact::Leave { grace } => self.leave(now, grace),
            HolderFact::Tick => {}
        }
        self.pass_time(now);
        self.work_gate(now);
        self.report(now);
        self.finish_leaving(now);
    }

    /// What to do next.
    pub fn next_effect(&mut self) -> Option<HolderEffect> {
        self.effects.pop_front()
    }

    /// When to come back at the latest.
    pub fn next_wake(&self) -> Option<Time> {
        [
            self.gate.stop_from(self.settings.stop),
            self.leases.next_end(),
            self.held.next_due(),
            self.leaving.filter(|_| self.gate.stop_from(Millis::ZERO).is_some() || self.awaits_relief()),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// What the holder shows of itself.
    pub fn view(&self) -> Report {
        Report {
            state: self.state(),
            term: self.gate.term().unwrap_or(self.term_run),
            workload: self.workload.clone(),
            leaving: self.leaving.is_some(),
        }
    }

    /// How long the lease of the open gate lasts.
    pub fn lease_left(&self, now: Time) -> Option<Millis> {
        self.gate.armed_until().map(|until| now.until(until))
    }

    fn state(&self) -> HolderState {
        match self.gate {
            Gate::Closed if !self.predecessor_gone => HolderState::Starting,
            Gate::Closed => HolderState::Standby,
            Gate::Opening { .. } => HolderState::Opening,
            Gate::Open { .. } => HolderState::Active,
            Gate::Closing { .. } => HolderState::Stopping,
        }
    }

    fn flag_read(&mut self, now: Time, flag: Flag) {
        self.flag = Some(flag);
        if self.gate.term().is_some_and(|term| self.flag_forbids(term)) {
            self.forget_leases();
            self.close(now, Cause::Flag);
        }
    }

    fn flag_forbids(&self, term: Term) -> bool {
        self.flag.is_some_and(|flag| !flag.active && flag.term >= term)
    }

    fn leave(&mut self, now: Time, grace: Millis) {
        self.leaving.get_or_insert(now + grace);
    }

    /// Ends what has run out.
    fn pass_time(&mut self, now: Time) {
        self.end_leases(now);
        if self.gate.stop_from(self.settings.stop).is_some_and(|from| now >= from) {
            self.close(now, Cause::LeaseEnding);
        }
        if self.leaving.is_some_and(|until| now >= until) {
            self.forget_leases();
            self.close(now, Cause::Leaving);
        }
    }

    fn end_leases(&mut self, now: Time) {
        if self.leases.end_passed(now) {
            self.forget_leases();
        }
        self.leases.drop_ended(now);
    }

    /// A lease that has ended takes every nonce with it: whoever wants to go on has to ask anew.
    fn forget_leases(&mut self) {
        self.leases.clear();
        self.nonces.clear();
    }

    /// Opens or extends the gate as far as the leases reach.
    fn work_gate(&mut self, now: Time) {
        let Some((term, until)) = self.leases.held() else { return };
        match &mut self.gate {
            Gate::Closed => self.open(now, term, until),
            Gate::Opening { term: t, asked, .. } | Gate::Open { term: t, asked, .. } if *t == term => {
                if until > *asked {
                    *asked = until;
                    self.effects.push_back(HolderEffect::Extend { term, until });
                }
            }
            Gate::Opening { .. } | Gate::Open { .. } => self.close(now, Cause::NewTerm),
            Gate::Closing { .. } => {}
        }
    }

    fn open(&mut self, now: Time, term: Term, until: Time) {
        let allowed = self.predecessor_gone && self.leaving.is_none() && !self.flag_forbids(term);
        if allowed && now + self.settings.stop < until {
            self.gate = Gate::Opening { term, asked: until };
            self.term_run = term;
            self.effects.push_back(HolderEffect::Open { term, until });
        }
    }

    fn close(&mut self, now: Time, cause: Cause) {
        let soon = now + self.settings.stop;
        let (term, by) = match self.gate {
            Gate::Closed | Gate::Closing { .. } => return,
            Gate::Opening { term, asked } => (term, asked.min(soon)),
            Gate::Open { term, until, .. } => (term, until.min(soon)),
        };
        self.gate = Gate::Closing { term, by };
        self.effects.push_back(HolderEffect::Close { term, by, cause });
    }

    fn gate_closed(&mut self, term: Term) {
        if self.gate.term() == Some(term) {
            let by_itself = !matches!(self.gate, Gate::Closing { .. });
            self.gate = Gate::Closed;
            if by_itself {
                // A gate that fails is opened again by the next grant, not at once: that spaces the tries.
                self.leases.clear();
            }
        }
    }

    /// Tells of every change, and answers held calls with it.
    fn report(&mut self, now: Time) {
        let report = self.view();
        let changed = self.reported.as_ref() != Some(&report);
        if changed {
            self.reported = Some(report.clone());
            self.effects.push_back(HolderEffect::Report(report));
        }
        self.answer_due(now, changed);
    }

    /// Whether the agent stays only to tell the one who revoked that nothing runs here any more.
    fn awaits_relief(&self) -> bool {
        self.gate.is_closed() && self.revoked_through > self.released_through && !self.left
    }

    fn finish_leaving(&mut self, now: Time) {
        let Some(until) = self.leaving else { return };
        let stays = now < until && self.awaits_relief();
        if self.gate.is_closed() && !stays && !self.left {
            self.left = true;
            self.effects.push_back(HolderEffect::Left);
        }
    }
}

/// A nonce and who it was made for.
#[derive(Clone, Debug)]
struct Made {
    grantor: GrantorId,
    nonce: Nonce,
    at: Time,
}

#[cfg(test)]
mod tests;
