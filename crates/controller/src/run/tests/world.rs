//! A hub and three agents in memory. The agents run core's own holder.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use ha_core::anchor::Anchor;
use ha_core::charge::{ControlRecord, Version};
use ha_core::holder::{Holder, HolderEffect, HolderFact, HolderSettings};
use ha_core::ids::{BootId, CallId, ControlId, FollowerId, MemberId, PoolName};
use ha_core::messages::{Answer, Request, Workload};
use ha_core::pool::Mirror;
use ha_core::seen::{CallFailure, Registry};
use ha_core::time::{Millis, Time};
use tokio::sync::{mpsc, oneshot};

use crate::clock::Clock;
use crate::hub::{
    Error, Hub, NotSteered, NotWritten, Opinions, OwnKey, Placed, Read, Reassertion, Rule, Seat, Steered, Written,
};
use crate::run::Setup;
use crate::store::Recorder;

pub(super) fn a() -> MemberId {
    MemberId::new("a")
}

pub(super) fn b() -> MemberId {
    MemberId::new("b")
}

pub(super) fn c() -> MemberId {
    MemberId::new("c")
}

/// One round trip through the hub.
const TRIP: Duration = Duration::from_millis(60);

pub(super) struct World {
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    anchor: Option<(Anchor, u64)>,
    control: Option<(ControlRecord, u64)>,
    versions: u64,
    agents: BTreeMap<MemberId, Agent>,
    boots: u64,
    away: bool,
    answers_to_lose: usize,
    spoilt: bool,
    fighting: Option<String>,
    found: Vec<MemberId>,
    /// Devices and the scopes of their parents.
    leaves: BTreeMap<String, Vec<String>>,
    moves_to_refuse: usize,
    /// Which gateways were told of which children.
    told: Vec<(MemberId, Vec<String>)>,
    /// Whom the routes lead from, who was asked for, how long it takes and how often it fails.
    steered: Option<MemberId>,
    asked_to_steer: Vec<MemberId>,
    steering_takes: Duration,
    steering_fails: usize,
    /// Who was active from when to when.
    ran: Vec<Ran>,
}

struct Agent {
    calls: mpsc::UnboundedSender<Call>,
    task: tokio::task::JoinHandle<()>,
    cut: bool,
}

struct Call {
    request: Request,
    hold: Millis,
    reply: oneshot::Sender<Answer>,
}

struct Ran {
    member: MemberId,
    boot: u64,
    from: Time,
    until: Option<Time>,
}

impl World {
    pub(super) fn new() -> Arc<Self> {
        let world = Arc::new(Self { clock: Clock::paused(), state: Mutex::new(State::default()) });
        for member in [a(), b(), c()] {
            world.revive(&member);
        }
        world
    }

    pub(super) fn setup(self: &Arc<Self>, more: &str) -> Setup<World> {
        let (members, more) = match more {
            "select" => ("select = \"tags.site = 'm1'\"", ""),
            more => ("members = [\"a\", \"b\", \"c\"]", more),
        };
        let text = format!("[[pool]]\nname = \"press_1\"\n{members}\n{more}");
        let config = crate::config::parse(Path::new("pool.toml"), &text, &[]).unwrap_or_else(|e| panic!("{e}"));
        Setup {
            config,
            hub: Arc::clone(self),
            recorder: Recorder::absent(),
            clock: self.clock,
            hints: crate::run::Hints::default(),
        }
    }

    pub(super) fn revive(self: &Arc<Self>, member: &MemberId) {
        let (calls, inbox) = mpsc::unbounded_channel();
        let mut state = self.lock();
        state.boots += 1;
        let task = tokio::spawn(live(Arc::clone(self), member.clone(), state.boots, inbox));
        let agent = Agent { calls, task, cut: false };
        state.agents.insert(member.clone(), agent);
    }

    /// Agent and workload die at once.
    pub(super) fn kill(&self, member: &MemberId) {
        let mut state = self.lock();
        if let Some(agent) = state.agents.remove(member) {
            agent.task.abort();
        }
        let now = self.clock.mono();
        for ran in state.ran.iter_mut().filter(|ran| ran.member == *member && ran.until.is_none()) {
            ran.until = Some(now);
        }
    }

    pub(super) fn cut(&self, member: &MemberId, cut: bool) {
        self.lock().agents.get_mut(member).expect("it lives").cut = cut;
    }

    pub(super) fn hub_away(&self, away: bool) {
        self.lock().away = away;
    }

    /// The next writes succeed, and nobody is told.
    pub(super) fn lose_answers(&self, count: usize) {
        self.lock().answers_to_lose = count;
    }

    /// Somebody edits the record by hand into nonsense, or mends it.
    pub(super) fn spoil(&self, spoilt: bool) {
        self.lock().spoilt = spoilt;
    }

    pub(super) fn fight_with(&self, deployment: &str) {
        self.lock().fighting = Some(deployment.to_owned());
    }

    pub(super) fn find(&self, members: &[MemberId]) {
        self.lock().found = members.to_vec();
    }

    /// How long Azure takes from here on, and how often it fails first.
    pub(super) fn azure(&self, takes: Duration, fails: usize) {
        let mut state = self.lock();
        (state.steering_takes, state.steering_fails) = (takes, fails);
    }

    /// Somebody edits the routes by hand.
    pub(super) fn steer_by_hand(&self, member: &MemberId) {
        self.lock().steered = Some(member.clone());
    }

    /// A device with this parent.
    pub(super) fn leaf(&self, device: &str, parent: Option<&str>) {
        let parents = parent.into_iter().map(|parent| format!("scope://{parent}")).collect();
        self.lock().leaves.insert(device.to_owned(), parents);
    }

    pub(super) fn parents(&self) -> Vec<String> {
        let shown = |(leaf, parents): (&String, &Vec<String>)| {
            let parents = parents.iter().map(|parent| parent.trim_start_matches("scope://"));
            format!("{leaf} at {}", parents.collect::<Vec<_>>().join(" "))
        };
        self.lock().leaves.iter().map(shown).collect()
    }

    pub(super) fn told(&self) -> Vec<(MemberId, Vec<String>)> {
        self.lock().told.clone()
    }

    /// The hub throttles the next so many moves.
    pub(super) fn refuse_moves(&self, count: usize) {
        self.lock().moves_to_refuse = count;
    }

    pub(super) async fn until_followed(&self, follower: &str) {
        for _ in 0..120_000 {
            let anchor = self.lock().anchor.clone().map(|(anchor, _)| anchor);
            if anchor.is_some_and(|a| a.followed.get(&FollowerId::new(follower)) == Some(&a.term)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{follower} is behind: {:?}", self.lock().anchor);
    }

    pub(super) async fn until_steered(&self, member: &MemberId) {
        self.until_state("the routes lead from it", |state| state.steered.as_ref() == Some(member)).await;
    }

    /// The last who was asked for is this one.
    pub(super) async fn until_asked_to_steer(&self, member: &MemberId) {
        self.until_state("it is asked for", |state| state.asked_to_steer.last() == Some(member)).await;
    }

    async fn until_state(&self, what: &str, done: impl Fn(&State) -> bool) {
        for _ in 0..120_000 {
            if done(&self.lock()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("never: {what}; routes lead from {:?}", self.lock().steered);
    }

    pub(super) fn steered(&self) -> Option<MemberId> {
        self.lock().steered.clone()
    }

    pub(super) fn asked_to_steer(&self) -> Vec<MemberId> {
        self.lock().asked_to_steer.clone()
    }

    pub(super) fn anchor(&self) -> Anchor {
        self.lock().anchor.clone().expect("there is a record").0
    }

    pub(super) fn edit(&self, change: impl FnOnce(&mut Anchor)) {
        let mut state = self.lock();
        state.versions += 1;
        let version = state.versions;
        let (anchor, current) = state.anchor.as_mut().expect("there is a record");
        change(anchor);
        *current = version;
    }

    pub(super) fn delete_anchor(&self) {
        self.lock().anchor = None;
    }

    pub(super) fn active(&self) -> Vec<MemberId> {
        self.lock().ran.iter().filter(|ran| ran.until.is_none()).map(|ran| ran.member.clone()).collect()
    }

    pub(super) async fn until_active(&self, member: &MemberId) {
        self.until(|active| active == [member.clone()]).await;
    }

    pub(super) async fn until_somebody_is_active(&self) {
        self.until(|active| !active.is_empty()).await;
    }

    async fn until(&self, done: impl Fn(&[MemberId]) -> bool) {
        for _ in 0..120_000 {
            if done(&self.active()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("active: {:?}; record: {:?}", self.active(), self.lock().anchor);
    }

    /// For how long two were active at once.
    pub(super) fn overlap_ms(&self) -> u64 {
        let state = self.lock();
        let end = |ran: &Ran| ran.until.unwrap_or(self.clock.mono());
        let mut overlap = 0;
        for (i, one) in state.ran.iter().enumerate() {
            for other in &state.ran[i + 1..] {
                let (from, until) = (one.from.max(other.from), end(one).min(end(other)));
                overlap += from.until(until).0;
            }
        }
        overlap
    }

    /// For how long nobody was active, from the first start to the present.
    pub(super) fn gap_ms(&self) -> u64 {
        let state = self.lock();
        let now = self.clock.mono();
        let Some(first) = state.ran.first() else { return 0 };
        let ran: u64 = state.ran.iter().map(|ran| ran.from.until(ran.until.unwrap_or(now)).0).sum();
        first.from.until(now).0 - ran
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics in here")
    }

    async fn trip(&self) -> Result<(), Error> {
        tokio::time::sleep(TRIP).await;
        if self.lock().away { Err(Error::Unreachable("the link is down".to_owned())) } else { Ok(()) }
    }

    fn version(version: u64) -> Version {
        Version(version.to_string())
    }

    fn write(&self, apply: impl FnOnce(&mut State, u64) -> bool) -> Written {
        let mut state = self.lock();
        state.versions += 1;
        let version = state.versions;
        if !apply(&mut state, version) {
            return Err(NotWritten::Conflict);
        }
        if state.answers_to_lose > 0 {
            state.answers_to_lose -= 1;
            return Err(NotWritten::Unsure(Error::Unreachable("the answer was lost".to_owned())));
        }
        Ok(Self::version(version))
    }
}

impl Hub for World {
    async fn read_anchor(&self, _: &PoolName) -> Read<Anchor> {
        self.trip().await?;
        if self.lock().spoilt {
            let what = "the record ha-anchor-press_1".to_owned();
            return Err(Error::Malformed { what, why: "ha.term: expected a number, found -5".to_owned() });
        }
        Ok(self.lock().anchor.clone().map(|(anchor, version)| (anchor, Self::version(version))))
    }

    async fn write_anchor(&self, anchor: &Anchor, basis: Option<&Version>) -> Written {
        self.trip().await.map_err(NotWritten::Failed)?;
        self.write(|state, version| {
            let fits = state.anchor.as_ref().map(|(_, v)| Self::version(*v)).as_ref() == basis;
            if fits {
                state.anchor = Some((anchor.clone(), version));
            }
            fits
        })
    }

    async fn read_control(&self, _: &ControlId) -> Read<ControlRecord> {
        self.trip().await?;
        Ok(self.lock().control.clone().map(|(record, version)| (record, Self::version(version))))
    }

    async fn write_control(&self, _: &ControlId, record: &ControlRecord, basis: Option<&Version>) -> Written {
        self.trip().await.map_err(NotWritten::Failed)?;
        self.write(|state, version| {
            let fits = state.control.as_ref().map(|(_, v)| Self::version(*v)).as_ref() == basis;
            if fits {
                state.control = Some((record.clone(), version));
            }
            fits
        })
    }

    async fn call(&self, seat: &Seat, request: &Request, hold: Millis, timeout: Millis) -> Result<Answer, CallFailure> {
        self.trip().await.map_err(|error| error.as_call_failure())?;
        let (reply, answer) = oneshot::channel();
        {
            let state = self.lock();
            let agent = state.agents.get(&seat.member).filter(|agent| !agent.cut).ok_or(CallFailure::Offline)?;
            let call = Call { request: request.clone(), hold, reply };
            agent.calls.send(call).map_err(|_| CallFailure::Offline)?;
        }
        let answer = tokio::time::timeout(Duration::from_millis(timeout.0) - TRIP, answer).await;
        let cut = self.lock().agents.get(&seat.member).is_none_or(|agent| agent.cut);
        match answer {
            Ok(Ok(answer)) if !cut => Ok(answer),
            _ => Err(CallFailure::TimedOut),
        }
    }

    async fn gather(&self, _: &Seat) -> Opinions {
        if self.trip().await.is_err() {
            return Opinions::default();
        }
        let registry = Registry {
            status: "enabled".to_owned(),
            status_reason: None,
            status_updated: None,
            connection_state: "Disconnected".to_owned(),
            connection_state_updated: None,
            last_activity: None,
            etag: "1".to_owned(),
        };
        Opinions { registry: Some(Some(registry)), ..Opinions::default() }
    }

    async fn mirror(&self, _: &Seat, _: &Mirror) -> Result<(), Error> {
        self.trip().await
    }

    async fn steer(&self, rule: Rule) -> Result<Steered, NotSteered> {
        self.lock().asked_to_steer.push(rule.holder.clone());
        let (takes, fails) = {
            let mut state = self.lock();
            let fails = state.steering_fails > 0;
            state.steering_fails = state.steering_fails.saturating_sub(1);
            (state.steering_takes, fails)
        };
        tokio::time::sleep(takes).await;
        if fails {
            return Err(NotSteered { why: "Azure is out of reach".to_owned(), lasting: false });
        }
        let written = self.lock().steered.as_ref() != Some(&rule.holder);
        self.lock().steered = Some(rule.holder);
        Ok(Steered { written })
    }

    async fn select(&self, _: &str) -> Result<Vec<MemberId>, Error> {
        self.trip().await?;
        Ok(self.lock().found.clone())
    }

    async fn may_fit(&self, _: &MemberId, _: &str) -> Result<bool, Error> {
        self.trip().await.map(|()| true)
    }

    async fn adopt(
        &self,
        child: &str,
        scope: &str,
        may: impl Fn(&Placed) -> bool + Send + Sync,
    ) -> Result<Option<Placed>, Error> {
        self.trip().await?;
        if [a(), b(), c()].iter().any(|member| member.as_str() == child) {
            return Ok(Some(Placed { scope: Some(format!("scope://{child}")), parents: Vec::new() }));
        }
        let Some(parents) = self.lock().leaves.get(child).cloned() else { return Ok(None) };
        let placed = Placed { scope: None, parents };
        if may(&placed) {
            self.trip().await?;
            let mut state = self.lock();
            if state.moves_to_refuse > 0 {
                state.moves_to_refuse -= 1;
                return Err(Error::Throttled("too many".to_owned()));
            }
            let Some(parents) = state.leaves.get_mut(child) else { return Ok(None) };
            *parents = vec![scope.to_owned()];
        }
        Ok(Some(placed))
    }

    async fn children_of(&self, scope: &str) -> Result<Vec<String>, Error> {
        self.trip().await?;
        let state = self.lock();
        let children = state.leaves.iter().filter(|(_, parents)| parents.iter().any(|parent| parent == scope));
        Ok(children.map(|(child, _)| child.clone()).collect())
    }

    async fn tell_of_children(&self, gateway: &MemberId, children: &[String]) -> Result<(), CallFailure> {
        self.trip().await.map_err(|error| error.as_call_failure())?;
        self.lock().told.push((gateway.clone(), children.to_vec()));
        Ok(())
    }

    async fn reassertions(&self, _: &[OwnKey]) -> Result<Vec<Reassertion>, Error> {
        self.trip().await?;
        let key = "properties.desired".to_owned();
        let found = self.lock().fighting.clone();
        Ok(found.map(|deployment| Reassertion { deployment, target_condition: None, key }).into_iter().collect())
    }
}

/// An agent whose gate opens and closes at once.
async fn live(world: Arc<World>, member: MemberId, boot: u64, mut inbox: mpsc::UnboundedReceiver<Call>) {
    let settings = HolderSettings::one_grantor(Millis(3_000));
    let mut holder = Holder::new(settings, BootId::new(format!("{member}-{boot}")), boot.into());
    let mut calls: BTreeMap<CallId, oneshot::Sender<Answer>> = BTreeMap::new();
    let mut next = CallId(1);
    holder.observe(world.clock.mono(), HolderFact::PredecessorGone);
    holder.observe(world.clock.mono(), HolderFact::Workload(Workload::Ready));
    loop {
        while let Some(effect) = holder.next_effect() {
            let now = world.clock.mono();
            match effect {
                HolderEffect::Open { term, until } => {
                    let ran = Ran { member: member.clone(), boot, from: now, until: None };
                    world.lock().ran.push(ran);
                    holder.observe(now, HolderFact::GateArmed { term, until });
                    holder.observe(now, HolderFact::Workload(Workload::Running));
                }
                HolderEffect::Extend { term, until } => holder.observe(now, HolderFact::GateArmed { term, until }),
                HolderEffect::Close { term, .. } => {
                    let mut state = world.lock();
                    state.ran.iter_mut().filter(|ran| ran.boot == boot && ran.until.is_none()).for_each(|ran| {
                        ran.until = Some(now);
                    });
                    drop(state);
                    holder.observe(now, HolderFact::Workload(Workload::Ready));
                    holder.observe(now, HolderFact::GateClosed { term });
                }
                HolderEffect::Answer(answer) => {
                    if let Some(reply) = calls.remove(&answer.call) {
                        let _ = reply.send(answer.answer);
                    }
                }
                HolderEffect::Report(_) | HolderEffect::Left => {}
            }
        }
        let fact = tokio::select! {
            Some(call) = inbox.recv() => {
                next = next.next();
                calls.insert(next, call.reply);
                HolderFact::Call { call: next, request: call.request, hold: call.hold }
            }
            () = world.clock.sleep_until(holder.next_wake()) => HolderFact::Tick,
        };
        holder.observe(world.clock.mono(), fact);
    }
}
