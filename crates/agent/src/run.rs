//! The shell: gathers facts, lets the holder decide, carries its effects out, sleeps until the next wake.

mod signals;
mod wellness;

use std::collections::BTreeMap;
use std::time::Duration;

use ha_core::holder::{Holder, HolderAnswer, HolderEffect, HolderFact, HolderSettings, Report};
use ha_core::ids::{BootId, CallId, MemberId};
use ha_core::messages::HolderState;
use ha_core::time::{Millis, Time, WallTime};
use ha_protocol::key::KeyRing;
use ha_protocol::method::{self, Reply, STATUS_OK};
use ha_protocol::twin::{Reported, decode_desired, reported_patch};
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use self::signals::Signals;
use self::wellness::Wellness;
use crate::args::AgentArgs;
use crate::clock::{BootSleep, JumpWatch, boot_now, wall_now};
use crate::gate::{self, GateFact, GateHandle, GateOrder, Outlet};
use crate::link::{self, Call, CallAnswer, CallRoute, LinkHandle, News};
use crate::probe::{self, Opinion};
use crate::settings::{Settings, TwinSettings};
use crate::{Error, VERSION, credentials};

/// Runs the agent until it is asked to stop.
///
/// Call [`crate::keeper::dispatch_if_asked`] first in `main`: the keeper is this same program.
pub async fn run(args: &AgentArgs) -> Result<(), Error> {
    let mut settings = Settings::load(args)?;
    let identity = credentials::identity(&settings)?;
    let member = MemberId::new(identity.device());
    if let Some(exec) = &mut settings.gate.exec {
        exec.env.push(("HA_MEMBER".to_owned(), member.to_string()));
        prepare_folder(&exec.keeper.lock)?;
    }
    let mut signals = Signals::new().map_err(Error::Signals)?;
    let sleep = BootSleep::new().map_err(Error::Signals)?;
    let (gate_facts_tx, gate_facts) = mpsc::unbounded_channel();
    let (state_tx, state_rx) = watch::channel(Value::Null);
    let (messages_tx, messages) = link::messages();
    let outlet = Outlet { pool: settings.pool.clone(), link: messages_tx };
    let gate = gate::start(&settings.gate, gate_facts_tx, state_rx, outlet).await.map_err(Error::Gate)?;
    if let Some(address) = gate.http_address() {
        tracing::info!(%address, "the gate's HTTP server listens");
    }
    let (news_tx, news) = mpsc::unbounded_channel();
    let link = link::start(identity, settings.link.clone(), news_tx, messages);
    let (opinions_tx, opinions) = mpsc::unbounded_channel();
    let mut inputs = Inputs { gate_facts, news, opinions };
    let mut agent = Agent::new(settings, member, gate, link, state_tx, &opinions_tx);
    drop(opinions_tx);
    let ended = agent.work(&mut inputs, &mut signals, &sleep).await;
    agent.gate.shut().await;
    agent.link.shut().await;
    ended
}

fn prepare_folder(lock: &std::path::Path) -> Result<(), Error> {
    let folder = lock.parent().unwrap_or(lock);
    std::fs::create_dir_all(folder).map_err(|source| Error::StateDir { path: folder.to_owned(), source })
}

struct Inputs {
    gate_facts: mpsc::UnboundedReceiver<GateFact>,
    news: mpsc::UnboundedReceiver<News>,
    opinions: mpsc::UnboundedReceiver<Opinion>,
}

struct Agent {
    settings: Settings,
    member: MemberId,
    boot: BootId,
    holder: Holder,
    keys: KeyRing,
    gate: GateHandle,
    link: LinkHandle,
    /// Calls that the holder has not answered.
    calls: BTreeMap<CallId, CallRoute>,
    calls_seen: u64,
    wellness: Wellness,
    jumps: JumpWatch,
    reported: Option<(Report, WallTime)>,
    connected: bool,
    leave_grace: Millis,
    state: watch::Sender<Value>,
    active: watch::Sender<bool>,
    probe_interval: watch::Sender<Option<Duration>>,
    left: bool,
    _probes: JoinSet<()>,
}

/// The clocks are compared at least this often.
const LOOK_AT_CLOCKS: Millis = Millis(500);

impl Agent {
    fn new(
        settings: Settings,
        member: MemberId,
        gate: GateHandle,
        link: LinkHandle,
        state: watch::Sender<Value>,
        opinions: &mpsc::UnboundedSender<Opinion>,
    ) -> Self {
        let run: u128 = rand::random();
        let boot = BootId::new(format!("{:016x}", rand::random::<u64>()));
        let (active, active_rx) = watch::channel(false);
        let (probe_interval, probe_interval_rx) = watch::channel(None);
        let probes = probe::start(&settings.probes, &active_rx, &probe_interval_rx, opinions);
        Self {
            holder: Holder::new(HolderSettings::one_grantor(settings.gate.stop), boot.clone(), run),
            keys: KeyRing::default(),
            gate,
            link,
            calls: BTreeMap::new(),
            calls_seen: 0,
            wellness: Wellness::new(&settings.probes),
            jumps: JumpWatch::new(settings.clock_jump),
            reported: None,
            connected: false,
            leave_grace: settings.leave_grace,
            state,
            active,
            probe_interval,
            left: false,
            _probes: probes,
            settings,
            member,
            boot,
        }
    }

    async fn work(&mut self, inputs: &mut Inputs, signals: &mut Signals, sleep: &BootSleep) -> Result<(), Error> {
        self.look_after_the_workload();
        while !self.left {
            let wake = self.next_wake(boot_now());
            tokio::select! {
                fact = inputs.gate_facts.recv() => self.gate_fact(fact.ok_or(Error::GateEnded)?),
                news = inputs.news.recv() => self.news(news.ok_or(Error::LinkEnded)?),
                Some(opinion) = inputs.opinions.recv() => self.wellness.heard(opinion),
                signal = signals.next() => {
                    if self.holder.view().leaving {
                        tracing::warn!(signal, "asked twice to stop: the workload is killed");
                        return Ok(());
                    }
                    let grace_ms = self.leave_grace.0;
                    tracing::info!(signal, grace_ms, "asked to stop: waits to be relieved");
                    self.observe(HolderFact::Leave { grace: self.leave_grace });
                }
                () = sleep.until(Some(wake)) => self.observe(HolderFact::Tick),
            }
            self.look_after_the_workload();
        }
        Ok(())
    }

    fn next_wake(&self, now: Time) -> Time {
        let look = now + LOOK_AT_CLOCKS;
        self.holder.next_wake().map_or(look, |wake| wake.min(look))
    }

    /// Lets the holder take in one fact and does what it wants done.
    fn observe(&mut self, fact: HolderFact) {
        let now = boot_now();
        if let Some(step_ms) = self.jumps.look(now, wall_now()) {
            tracing::warn!(step_ms, "wall clock and boot clock moved apart: the lease ends");
            self.holder.observe(now, HolderFact::ClockJumped);
        }
        self.holder.observe(now, fact);
        while let Some(effect) = self.holder.next_effect() {
            self.carry_out(effect);
        }
    }

    fn carry_out(&mut self, effect: HolderEffect) {
        match effect {
            HolderEffect::Open { term, until } => {
                let lease_ms = boot_now().until(until).0;
                tracing::info!(%term, lease_ms, "the gate opens");
                self.gate.order(GateOrder::Open { term, until });
            }
            HolderEffect::Extend { term, until } => self.gate.order(GateOrder::Extend { term, until }),
            HolderEffect::Close { term, by, cause } => {
                tracing::info!(%term, cause = cause.as_str(), "the gate closes");
                self.gate.order(GateOrder::Close { term, by });
            }
            HolderEffect::Answer(answer) => self.answer(answer),
            HolderEffect::Report(report) => self.report(report),
            HolderEffect::Left => {
                tracing::info!("nothing is left to do: the agent ends");
                self.left = true;
            }
        }
    }

    fn gate_fact(&mut self, fact: GateFact) {
        match fact {
            GateFact::Armed { term, until } => self.observe(HolderFact::GateArmed { term, until }),
            GateFact::Closed { term } => {
                tracing::info!(%term, "the gate is closed and the workload has stopped");
                self.wellness.stopped();
                self.observe(HolderFact::GateClosed { term });
            }
            GateFact::Started { term } => {
                tracing::info!(%term, "the workload was started");
                self.wellness.started();
            }
            GateFact::Ended { term, how } => {
                tracing::warn!(%term, how, "the workload ended by itself");
                self.wellness.ended(&how);
            }
            GateFact::PredecessorGone => {
                tracing::info!("no workload of an earlier run is left");
                self.observe(HolderFact::PredecessorGone);
            }
        }
    }

    fn news(&mut self, news: News) {
        match news {
            News::Up => self.connected = true,
            News::Down => {
                self.connected = false;
                for call in std::mem::take(&mut self.calls).into_keys() {
                    self.observe(HolderFact::CallGone(call));
                }
            }
            News::Call(call) => self.called(&call),
            News::Desired(desired) => self.desired(&desired),
        }
        self.show();
    }

    /// Whatever is wrong with a call, it gets an answer and changes nothing.
    fn called(&mut self, call: &Call) {
        let payload = if call.payload.is_empty() { Ok(Value::Null) } else { serde_json::from_slice(&call.payload) };
        let payload = payload.unwrap_or(Value::Null);
        match method::decode(&self.member, &self.keys, &self.settings.pool, &call.method, &payload) {
            Ok((request, hold)) => {
                self.calls_seen += 1;
                let id = CallId(self.calls_seen);
                self.calls.insert(id, call.route.clone());
                self.observe(HolderFact::Call { call: id, request, hold });
            }
            Err(error) => {
                let (status, body) = method::encode_error(&error);
                let name: String = call.method.chars().take(64).collect();
                tracing::warn!(method = name, status, %error, "a call was refused");
                self.link.answer(CallAnswer { route: call.route.clone(), status, body });
            }
        }
    }

    fn answer(&mut self, HolderAnswer { call, answer }: HolderAnswer) {
        let Some(route) = self.calls.remove(&call) else { return };
        if let Some(refusal) = &answer.refused {
            tracing::info!(%refusal, "a request was refused");
        }
        let reply = Reply { pool: self.settings.pool.clone(), agent: VERSION.to_owned(), answer };
        self.link.answer(CallAnswer { route, status: STATUS_OK, body: method::encode_reply(&reply) });
    }

    fn desired(&mut self, desired: &Value) {
        let desired = decode_desired(desired);
        for problem in &desired.nonsense {
            tracing::warn!(%problem, "the twin says something that makes no sense");
        }
        if let Some(pool) = desired.pool.as_ref().filter(|pool| **pool != self.settings.pool) {
            tracing::error!(twin = %pool, ours = %self.settings.pool, "the twin is meant for another pool's agent");
            return;
        }
        if self.keys != desired.keys {
            self.keys = desired.keys;
            match self.keys.taken().count() {
                0 => tracing::warn!("the key of this member is gone: all calls are refused"),
                1 => tracing::info!("the key of this member has come"),
                _ => tracing::info!("the key of this member is being changed: the old and the new one are taken"),
            }
        }
        let (settings, ignored) = TwinSettings::read(&desired.settings);
        if !ignored.is_empty() {
            tracing::warn!(names = ignored.join(", "), "settings in the twin were ignored");
        }
        self.probe_interval.send_replace(settings.probe_interval);
        self.leave_grace = settings.leave_grace.unwrap_or(self.settings.leave_grace);
        if let Some(flag) = desired.flag {
            self.observe(HolderFact::Flag(flag));
        }
    }

    /// Tells the holder when the probes have changed their mind.
    fn look_after_the_workload(&mut self) {
        loop {
            let view = self.holder.view();
            let workload = self.wellness.workload(view.state == HolderState::Active);
            if workload == view.workload {
                return;
            }
            self.observe(HolderFact::Workload(workload));
        }
    }

    fn report(&mut self, report: Report) {
        let before = self.reported.as_ref().map(|(report, _)| report);
        let moved = before.is_none_or(|before| (before.state, before.term) != (report.state, report.term));
        let since = match &self.reported {
            Some((_, since)) if !moved => *since,
            _ => wall_now(),
        };
        let workload = wellness::sentence(&report.workload);
        tracing::info!(state = report.state.as_str(), term = %report.term, workload, leaving = report.leaving, "the state has changed");
        self.active.send_if_modified(|active| {
            let was = std::mem::replace(active, report.state == HolderState::Active);
            was != *active
        });
        self.link.report(reported_patch(&Reported {
            state: report.state,
            term: report.term,
            since,
            boot: self.boot.clone(),
            workload: report.workload.clone(),
            leaving: report.leaving,
            agent: VERSION.to_owned(),
        }));
        self.reported = Some((report, since));
        self.show();
    }

    fn show(&self) {
        let Some((report, since)) = &self.reported else { return };
        self.state.send_replace(json!({
            "pool": self.settings.pool.as_str(),
            "member": self.member.as_str(),
            "state": report.state.as_str(),
            "term": report.term.0,
            "since_unix_ms": since.0,
            "workload": wellness::sentence(&report.workload),
            "leaving": report.leaving,
            "hub_connected": self.connected,
            "boot": self.boot.as_str(),
            "agent": VERSION,
        }));
    }
}
