//! Runs one pool: gather, observe, carry out, sleep until the wake.

use std::sync::Arc;

use ha_core::anchor::Anchor;
use ha_core::brake::Brake;
use ha_core::charge::ChargeFact;
use ha_core::ids::{CallId, FollowerId, MemberId, Term};
use ha_core::plan::{Step, View, Waiting};
use ha_core::pool::{Effect, Fact, Pool, PoolSpec};
use ha_core::seen::{CallFailure, Evidence, Seen};
use ha_core::time::{Millis, Now, Time};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::board::{Board, PoolRow};
use super::charge::Office;
use super::follow::Followers;
use super::hints::Hints;
use super::members::{Roll, Roster};
use super::revision::Lists;
use super::steer::Steer;
use crate::clock::Clock;
use crate::config::{HookEvent, PoolConfig};
use crate::hook::{Event, Hooks, Telling};
use crate::hub::{Hub, NotWritten, OwnKey, Seat, Written, chain};
use crate::parents::Moving;
use crate::store::{Entry, Followed, KeptDecision, Recorder};

/// How long to wait before a pool that could not be begun is tried again.
const RETRY_ADMISSION: Millis = Millis(15_000);

/// How long to wait for the list of deployments, which no lease depends on.
const DEPLOYMENTS_MAX: std::time::Duration = std::time::Duration::from_secs(3);

/// How long to wait before a pool whose task panicked is begun anew.
const RETRY_PANIC: Millis = Millis(2_000);

pub(super) struct PoolTask<H> {
    pub(super) hub: Arc<H>,
    pub(super) clock: Clock,
    pub(super) config: PoolConfig,
    pub(super) hooks: Arc<Hooks>,
    /// Who belongs to the pools that list their members.
    pub(super) lists: watch::Receiver<Lists>,
    pub(super) control: ha_core::ids::ControlId,
    pub(super) office: watch::Receiver<Office>,
    /// What is wrong with the control record.
    pub(super) charge_trouble: watch::Receiver<Option<String>>,
    pub(super) brake: watch::Receiver<Brake>,
    pub(super) hints: Hints,
    pub(super) charge_orders: mpsc::UnboundedSender<ChargeFact>,
    pub(super) board: Arc<Board>,
    pub(super) recorder: Recorder,
}

impl<H> Clone for PoolTask<H> {
    fn clone(&self) -> Self {
        Self {
            hub: Arc::clone(&self.hub),
            clock: self.clock,
            config: self.config.clone(),
            hooks: Arc::clone(&self.hooks),
            lists: self.lists.clone(),
            control: self.control.clone(),
            office: self.office.clone(),
            charge_trouble: self.charge_trouble.clone(),
            brake: self.brake.clone(),
            hints: self.hints.clone(),
            charge_orders: self.charge_orders.clone(),
            board: Arc::clone(&self.board),
            recorder: self.recorder.clone(),
        }
    }
}

/// What came of an effect.
struct Outcome {
    fact: Fact,
    /// The record as it now is in the hub, if this tells.
    record: Option<Anchor>,
    /// How it went with the record: `None` says nothing.
    trouble: Option<Result<(), String>>,
    /// It was not a call that an agent may hold back.
    prompt: bool,
}

impl Outcome {
    fn of(fact: Fact) -> Self {
        Self { fact, record: None, trouble: None, prompt: true }
    }

    fn failed(fact: Fact, why: String) -> Self {
        Self { trouble: Some(Err(why)), ..Self::of(fact) }
    }

    fn went_well(fact: Fact, record: Option<Anchor>) -> Self {
        Self { record, trouble: Some(Ok(())), ..Self::of(fact) }
    }
}

impl<H: Hub> PoolTask<H> {
    /// Runs until `stop`. A task that panics is begun anew from nothing, as a controller that takes over would.
    pub(super) async fn run(self, stop: CancellationToken) {
        loop {
            let mut attempt = JoinSet::new();
            attempt.spawn(self.clone().run_for_ever());
            tokio::select! {
                () = stop.cancelled() => return attempt.shutdown().await,
                _ = attempt.join_next() => {}
            }
            tracing::error!(pool = %self.config.name, "the pool's task has panicked; it begins anew");
            self.board.post(
                &self.config.name,
                PoolRow { sentence: "beginning anew after a fault".to_owned(), ..PoolRow::default() },
            );
            self.clock.sleep_until(Some(self.clock.mono() + RETRY_PANIC)).await;
        }
    }

    async fn run_for_ever(mut self) {
        let mut roster = Roster::new(Arc::clone(&self.hub), self.clock, &self.config, self.lists.clone());
        let roll = loop {
            match self.admit(&mut roster).await {
                Ok(roll) => break roll,
                Err(why) => self.post_refusal(why),
            }
            self.clock.sleep_until(Some(self.clock.mono() + RETRY_ADMISSION)).await;
        };
        let spec = PoolSpec {
            name: self.config.name.clone(),
            control: self.control.clone(),
            members: roll.members.clone(),
            policy: self.config.policy.clone(),
        };
        let first_call = CallId(u64::from(rand::random::<u32>()) << 20);
        let driver = Driver {
            pool: Pool::new(spec, first_call),
            operations: JoinSet::new(),
            followers: self.followers(),
            prompt: 0,
            trouble: None,
            recorded: Term(0),
            said: None,
            task: self,
        };
        let watch =
            super::reassertion::watch(Arc::clone(&driver.task.hub), driver.task.clock, driver.task.config.clone());
        tokio::join!(driver.run(roster), watch);
    }

    /// Whether the pool can be run, and who belongs to it.
    async fn admit(&mut self, roster: &mut Roster<H>) -> Result<Roll, String> {
        let own = OwnKey::of(&self.config);
        let asked = tokio::time::timeout(DEPLOYMENTS_MAX, self.hub.reassertions(&own)).await;
        match asked {
            Ok(Ok(found)) if found.is_empty() => {}
            Ok(Ok(found)) => return Err(super::reassertion::explain(&own, &found)),
            // Whoever may not read deployments cannot be told about them, and a lease that runs cannot wait.
            Ok(Err(error)) => {
                tracing::warn!(pool = %self.config.name, error = chain(&error), "deployments could not be looked at");
            }
            Err(_) => tracing::warn!(pool = %self.config.name, "deployments could not be looked at in time"),
        }
        roster.call_the_roll().await.map_err(|error| format!("its members are not known: {}", chain(&error)))
    }

    fn post_refusal(&self, why: String) {
        tracing::error!(pool = %self.config.name, why, "the pool is not run");
        let sentence = format!("not run: {why}");
        let row = PoolRow { sentence, refused: Some(why), settled: true, ..PoolRow::default() };
        self.board.post(&self.config.name, row);
    }

    /// Whoever does something after a change of holder.
    fn followers(&self) -> Followers {
        let mut followers = Followers::none();
        if let Some(telling) = Telling::new(Arc::clone(&self.hooks)) {
            followers.add(telling);
        }
        if let Some(children) = &self.config.parents {
            followers.add(Moving::new(Arc::clone(&self.hub), children.clone()));
        }
        if let Some(steer) = Steer::new(&self.hub, &self.config) {
            followers.add(steer);
        }
        followers
    }
}

struct Driver<H> {
    task: PoolTask<H>,
    pool: Pool,
    operations: JoinSet<Outcome>,
    followers: Followers,
    /// Operations under way that will end soon.
    prompt: usize,
    /// What is wrong with the record in the hub.
    trouble: Option<String>,
    /// The newest term whose beginning has been kept in the store.
    recorded: Term,
    said: Option<Said>,
}

/// What the last sentence at level info was about.
#[derive(PartialEq, Eq)]
struct Said {
    holder: Option<MemberId>,
    term: Term,
    waiting: Vec<String>,
    trouble: bool,
}

impl<H: Hub> Driver<H> {
    async fn run(mut self, roster: Roster<H>) {
        let mut rolls = roster.keep();
        let mut hints = self.task.hints.listen();
        let office = office_fact(&self.task.office.borrow_and_update());
        self.observe(office);
        let brake = *self.task.brake.borrow_and_update();
        self.observe(Fact::Brake(brake));
        loop {
            let fact = tokio::select! {
                Some(done) = self.operations.join_next() => match self.ended(done) {
                    Some(fact) => fact,
                    None => continue,
                },
                Ok(()) = self.task.office.changed() => office_fact(&self.task.office.borrow_and_update()),
                Ok(()) = self.task.brake.changed() => Fact::Brake(*self.task.brake.borrow_and_update()),
                Some(news) = self.followers.news.recv() => match self.followers.heard(news) {
                    Some((follower, term)) => {
                        self.keep_followed(&follower, term);
                        Fact::Followed { follower, term }
                    }
                    None => Fact::Tick,
                },
                Some(members) = rolls.recv() => Fact::Members(members),
                device = hints.next() => Fact::Hinted(device),
                () = self.task.clock.sleep_until(self.pool.next_wake()) => Fact::Tick,
            };
            self.observe(fact);
        }
    }

    fn observe(&mut self, fact: Fact) {
        let now = self.task.clock.now();
        self.pool.observe(now, fact);
        while let Some(effect) = self.pool.next_effect() {
            self.carry_out(effect);
        }
        self.report(now);
    }

    fn carry_out(&mut self, effect: Effect) {
        let (hub, clock) = (Arc::clone(&self.task.hub), self.task.clock);
        match effect {
            Effect::ReadAnchor => {
                let pool = self.task.config.name.clone();
                self.begin(true, async move { read_anchor(&*hub, &pool).await });
            }
            Effect::WriteAnchor { anchor, basis } => self.begin(true, async move {
                let written = hub.write_anchor(&anchor, basis.as_ref()).await;
                write_outcome(anchor, written)
            }),
            Effect::Call { call, member, request, hold, timeout } => {
                let seat = self.seat(&member);
                let prompt = hold == Millis::ZERO;
                self.begin(prompt, async move {
                    let fact = match hub.call(&seat, &request, hold, timeout).await {
                        Ok(answer) => Fact::Answered { call, answer },
                        Err(failure) => Fact::Failed { call, failure },
                    };
                    Outcome { prompt, ..Outcome::of(fact) }
                });
            }
            Effect::Gather { member } => {
                let seat = self.seat(&member);
                self.begin(true, async move { gather(&*hub, clock, seat).await });
            }
            Effect::Mirror { member, mirror } => {
                let seat = self.seat(&member);
                self.begin(true, async move {
                    let done = hub.mirror(&seat, &mirror).await;
                    if let Err(error) = &done {
                        let (pool, error) = (&seat.pool, chain(error));
                        tracing::debug!(%pool, %member, error, "flag and tags could not be written");
                    }
                    Outcome::of(Fact::Mirrored { member, done: done.is_ok() })
                });
            }
            Effect::Consult { wish, from, to, term } => {
                let hooks = Arc::clone(&self.task.hooks);
                let event = Event {
                    on: HookEvent::BeforeSwitchover,
                    pool: self.task.config.name.clone(),
                    control: self.task.control.clone(),
                    term: term.next(),
                    holder: to,
                    former: Some(from),
                    reason: wish.reason.clone(),
                    at: clock.now().wall,
                };
                self.begin(true, async move {
                    let verdict = hooks.ask(&event).await;
                    Outcome::of(Fact::Consulted { wish, term, verdict })
                });
            }
            // The charge task ends only when everything ends.
            Effect::EpochSeen(epoch) => drop(self.task.charge_orders.send(ChargeFact::EpochSeen(epoch))),
            Effect::Record(decision) => {
                let kept = KeptDecision::of(self.task.config.name.as_str(), *decision);
                self.task.recorder.keep(Entry::Decision(Box::new(kept)));
            }
        }
    }

    fn seat(&self, member: &MemberId) -> Seat {
        Seat::new(&self.task.config, member, self.pool.met())
    }

    fn begin(&mut self, prompt: bool, operation: impl Future<Output = Outcome> + Send + 'static) {
        self.prompt += usize::from(prompt);
        self.operations.spawn(operation);
    }

    fn ended(&mut self, done: Result<Outcome, tokio::task::JoinError>) -> Option<Fact> {
        let outcome = match done {
            Ok(outcome) => outcome,
            // Core gives up on a call by itself; a lost read or write would be waited for, so the process must not go on.
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => return None,
        };
        self.prompt -= usize::from(outcome.prompt);
        if let Some(went) = outcome.trouble {
            self.note_trouble(went.err());
        }
        if let Some(anchor) = outcome.record {
            self.keep_transitions(&anchor);
        }
        Some(outcome.fact)
    }

    fn note_trouble(&mut self, trouble: Option<String>) {
        if let Some(why) = &trouble
            && self.trouble.as_ref() != Some(why)
        {
            tracing::warn!(pool = %self.task.config.name, why, "the pool's record could not be read or written");
        }
        self.trouble = trouble;
    }

    fn keep_followed(&self, follower: &FollowerId, term: Term) {
        let (pool, at) = (self.task.config.name.to_string(), self.task.clock.now().wall);
        let followed = Followed { term, follower: follower.clone(), at };
        self.task.recorder.keep(Entry::Followed { pool, followed });
    }

    fn keep_transitions(&mut self, anchor: &Anchor) {
        let news = anchor.history.iter().filter(|transition| transition.term > self.recorded);
        for transition in news {
            let pool = anchor.pool.to_string();
            self.task.recorder.keep(Entry::Transition { pool, transition: transition.clone() });
        }
        self.recorded = self.recorded.max(anchor.term);
    }

    /// One sentence at the end of every cycle.
    fn report(&mut self, now: Now) {
        let view = self.pool.view(now);
        self.followers.show(&view);
        let row = self.row(&view, now);
        let pool = &self.task.config.name;
        let (holder, waiting) = (row.holder.as_ref().map_or("-", MemberId::as_str), row.waiting.join(","));
        let said = Said {
            holder: row.holder.clone(),
            term: row.term,
            waiting: row.waiting.clone(),
            trouble: self.trouble.is_some(),
        };
        if self.said.as_ref() == Some(&said) {
            tracing::debug!(%pool, holder, term = %row.term, waiting, "{}", row.sentence);
        } else {
            tracing::info!(%pool, holder, term = %row.term, waiting, "{}", row.sentence);
            self.said = Some(said);
        }
        self.task.board.post(pool, row);
    }

    fn row(&self, view: &View, now: Now) -> PoolRow {
        let plan = self.pool.last_plan();
        let mut sentence = ha_core::plan::sentence(view, plan);
        if let (None, Some(why)) = (view.epoch, &*self.task.charge_trouble.borrow()) {
            sentence = format!("{sentence}, because {why}");
        }
        if let Some(why) = &self.trouble {
            sentence = format!("{sentence}; holding, because {why}");
        }
        for left in view.anchor.iter().flat_map(|record| self.followers.behind(record)) {
            sentence = format!("{sentence}; {left}");
        }
        PoolRow {
            holder: view.anchor.as_ref().and_then(|anchor| anchor.holder.clone()),
            term: view.anchor.as_ref().map_or(view.term_seen, |anchor| anchor.term),
            waiting: plan.waiting.iter().map(|waiting| waiting.code().to_owned()).collect(),
            sentence,
            settled: self.is_settled(view, now.mono),
            looks_dead: self.pool.looks_dead(),
            refused: None,
        }
    }

    /// Whether one pass has nothing more to do: the holder has a fresh lease, or nothing can be gained by waiting.
    fn is_settled(&self, view: &View, now: Time) -> bool {
        let plan = self.pool.last_plan();
        let lasting =
            plan.waiting.iter().all(|waiting| waiting.may_last() || matches!(waiting, Waiting::Paused { .. }));
        let quiet = plan.steps.iter().all(|step| matches!(step, Step::Renew { .. } | Step::Probe { .. }));
        let foreign = plan.waiting.iter().any(|w| matches!(w, Waiting::ForeignControl { .. }));
        let Some(anchor) = &view.anchor else { return false };
        let holder = anchor.holder.as_ref().and_then(|holder| view.seen.get(holder));
        let served = holder.is_none_or(|holder| {
            holder.trouble.is_some()
                || holder.answer.as_ref().is_some_and(|answer| {
                    let refused = answer.value.refused.as_ref().is_some_and(|refused| !refused.is_passing());
                    refused || answer.value.lease_left.is_some_and(|left| answer.at + left > now)
                })
        });
        foreign
            || (view.epoch.is_some() && lasting && quiet && served && self.prompt == 0 && self.followers.are_settled())
    }
}

fn office_fact(office: &Office) -> Fact {
    match office {
        Office::In { epoch, valid_until } => Fact::InCharge { epoch: *epoch, valid_until: *valid_until },
        Office::Unknown | Office::Out { .. } | Office::GivenBack => Fact::NotInCharge,
    }
}

async fn read_anchor<H: Hub>(hub: &H, pool: &ha_core::ids::PoolName) -> Outcome {
    match hub.read_anchor(pool).await {
        Ok(read) => {
            let record = read.as_ref().map(|(anchor, _)| anchor.clone());
            Outcome::went_well(Fact::AnchorRead(read), record)
        }
        Err(error) => Outcome::failed(Fact::AnchorReadFailed, chain(&error)),
    }
}

fn write_outcome(anchor: Anchor, written: Written) -> Outcome {
    match written {
        Ok(version) => Outcome::went_well(Fact::AnchorWritten(version), Some(anchor)),
        Err(NotWritten::Conflict) => Outcome::of(Fact::AnchorConflict),
        Err(NotWritten::Failed(error)) => Outcome::failed(Fact::AnchorWriteFailed, chain(&error)),
        Err(NotWritten::Unsure(error)) => Outcome::failed(Fact::AnchorUnsure, chain(&error)),
    }
}

async fn gather<H: Hub>(hub: &H, clock: Clock, seat: Seat) -> Outcome {
    let opinions = hub.gather(&seat).await;
    Outcome::of(Fact::Gathered { member: seat.member, evidence: evidence(opinions, clock.mono()) })
}

/// Second opinions with the instant at which they were heard.
pub(crate) fn evidence(opinions: crate::hub::Opinions, at: Time) -> Evidence {
    fn seen<T>(value: Option<T>, at: Time) -> Option<Seen<T>> {
        value.map(|value| Seen { value, at })
    }
    Evidence {
        registry: seen(opinions.registry, at),
        edge_agent_ping: seen::<Result<(), CallFailure>>(opinions.edge_agent_ping, at),
        edge_hub: seen(opinions.edge_hub, at),
        runtime: seen(opinions.runtime, at),
        deployed: seen(opinions.deployed, at),
    }
}
