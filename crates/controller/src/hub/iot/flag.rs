//! Stands in for the agents of members that have none: what an agent would be asked is read from, and written into, twins.
//!
//! The rest of the controller does not know the difference, and should not: requests, terms, records and rules are the same. What differs is what
//! an answer proves. A nonce stands for the version of the twin that was seen with it, and a flag is set only over that version: once another
//! controller has cleared it, whatever a paused one still sends is refused by the hub. A flag that was cleared and waited for is called released here, though nobody can know what a device does that
//! is cut off; whoever shows such a pool says that it is not fenced.

mod sight;

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use ha_core::flag::{FlagStep, Flags};
use ha_core::ids::{BootId, MemberId, Nonce, PoolName, Term};
use ha_core::messages::{Answer, Grant, HolderState, Refusal, Request, Workload};
use ha_core::seen::CallFailure;
use ha_core::time::{Millis, Time};
use ha_iothub::{Call, Client};
use ha_wire::ETag;
use tokio::sync::Mutex;
use tokio::time::Instant;

use self::sight::Sight;
use super::errors::call_failure;
use crate::config::FlagConfig;
use crate::hub::Seat;

/// How many nonces of a pool are remembered: several for each of more members than anybody puts into one.
const NONCES_MAX: usize = 256;

/// How often a device that may still confirm is looked at while it is waited for.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// The agents that are not there.
pub(super) struct FlagGates {
    boot: BootId,
    run: u128,
    nonces: AtomicU64,
    started: Instant,
    pools: std::sync::Mutex<HashMap<PoolName, Arc<Mutex<PoolFlags>>>>,
}

/// What is remembered about one pool.
struct PoolFlags {
    flags: Flags,
    /// Whose flag was set for which term: by us, or by a predecessor, as the tags say.
    held: Option<(MemberId, Term)>,
    /// Since when a member is seen disconnected.
    down_since: HashMap<MemberId, Instant>,
    /// The newest nonces, and the version of the member's twin each goes with.
    nonces: VecDeque<(Nonce, Option<ETag>)>,
}

/// What came of setting a flag.
enum Set {
    /// It has just been set.
    News(Answer),
    /// It was set before.
    Before,
    /// The twin is not what it was when the nonce was made.
    Refused,
}

/// A question to one member without an agent.
struct Asked<'a> {
    client: &'a Client,
    seat: &'a Seat,
    config: &'a FlagConfig,
    until: Instant,
}

impl Default for FlagGates {
    fn default() -> Self {
        Self {
            boot: BootId::new(format!("flag-{}", uuid::Uuid::new_v4().simple())),
            run: rand::random(),
            nonces: AtomicU64::new(0),
            started: Instant::now(),
            pools: std::sync::Mutex::default(),
        }
    }
}

impl FlagGates {
    /// Does what an agent would be asked to do. Keeps its answer back for `hold` where an agent would.
    pub(super) async fn call(
        &self,
        client: &Client,
        seat: &Seat,
        config: &FlagConfig,
        request: &Request,
        hold: Millis,
        timeout: Millis,
    ) -> Result<Answer, CallFailure> {
        let until = Instant::now() + Duration::from_millis(timeout.0);
        let asked = Asked { client, seat, config, until };
        let hold = Duration::from_millis(hold.0);
        match request {
            Request::Hello(hello) => {
                tokio::time::sleep(hold).await;
                self.look(&asked, hello.wants_nonce).await
            }
            Request::Grant(grant) => self.grant(&asked, grant, Instant::now() + hold).await,
            Request::Revoke(revoke) => self.revoke(&asked, revoke.term).await,
        }
    }

    /// How a member is, without disturbing anything.
    pub(super) async fn peek(
        &self,
        client: &Client,
        seat: &Seat,
        config: &FlagConfig,
        timeout: Millis,
    ) -> Result<Answer, CallFailure> {
        let until = Instant::now() + Duration::from_millis(timeout.0);
        self.look(&Asked { client, seat, config, until }, false).await
    }

    /// Clears all other flags before a member with an agent is granted `term`; tells whether nobody is waited for any longer.
    pub(super) async fn stand_aside(
        &self,
        client: &Client,
        seat: &Seat,
        config: &FlagConfig,
        term: Term,
        timeout: Millis,
    ) -> Result<bool, CallFailure> {
        let until = Instant::now() + Duration::from_millis(timeout.0);
        let asked = Asked { client, seat, config, until };
        Ok(self.clear_others(&asked, term).await?.is_none())
    }

    /// Clears the flag of a member that is not to be active, if it is set.
    pub(super) async fn close(
        &self,
        client: &Client,
        seat: &Seat,
        config: &FlagConfig,
        term: Term,
    ) -> Result<(), CallFailure> {
        let asked = Asked { client, seat, config, until: Instant::now() + super::ROUTINE };
        let pool = self.pool(seat, config);
        let mut pool = pool.lock().await;
        let Some(sight) = asked.see(&seat.member).await? else { return Ok(()) };
        pool.flags.read(&seat.member, sight.read);
        if sight.read.set { self.clear(&asked, &mut pool, &seat.member, term).await } else { Ok(()) }
    }

    async fn look(&self, asked: &Asked<'_>, wants_nonce: bool) -> Result<Answer, CallFailure> {
        let pool = self.pool(asked.seat, asked.config);
        let mut pool = pool.lock().await;
        let sight = Self::see_alive(asked, &mut pool).await?;
        if sight.read.set && pool.held.is_none() {
            pool.held = asked.tagged_term().await?.map(|term| (asked.seat.member.clone(), term));
        }
        Ok(self.answer(asked, &mut pool, &sight, wants_nonce))
    }

    async fn grant(&self, asked: &Asked<'_>, grant: &Grant, hold: Instant) -> Result<Answer, CallFailure> {
        loop {
            if let Some((_, until)) = self.clear_others(asked, grant.term).await? {
                if Instant::now() >= hold {
                    return self.look(asked, true).await;
                }
                tokio::time::sleep_until(until.min(hold).min(Instant::now() + LOOK_AGAIN)).await;
                continue;
            }
            let answer = match self.set(asked, grant).await? {
                Set::News(answer) => answer,
                Set::Refused => {
                    let refused = Some(Refusal::UnknownNonce);
                    return Ok(Answer { refused, ..self.look(asked, true).await? });
                }
                Set::Before => {
                    tokio::time::sleep_until(hold).await;
                    self.look(asked, true).await?
                }
            };
            return Ok(Answer { lease_left: Some(grant.ttl), ..answer });
        }
    }

    /// Sets the member's flag, unless it is, over what was seen with the nonce.
    async fn set(&self, asked: &Asked<'_>, grant: &Grant) -> Result<Set, CallFailure> {
        let (pool, member) = (self.pool(asked.seat, asked.config), &asked.seat.member);
        let mut pool = pool.lock().await;
        let sight = Self::see_alive(asked, &mut pool).await?;
        // Somebody may have come in between.
        if pool.flags.next(self.now(), &asked.others(), grant.term) != FlagStep::Done {
            return Err(CallFailure::Rejected("another flag was set meanwhile".to_owned()));
        }
        if sight.read.set {
            pool.held = Some((member.clone(), grant.term));
            return Ok(Set::Before);
        }
        let Some((_, version)) = pool.nonces.iter().find(|(nonce, _)| *nonce == grant.nonce).cloned() else {
            return Ok(Set::Refused);
        };
        pool.flags.setting(member);
        match asked.set(member, version).await {
            Ok(twin) => {
                tracing::info!(pool = %asked.seat.pool, %member, term = %grant.term, "its flag has been set");
                pool.held = Some((member.clone(), grant.term));
                Ok(Set::News(self.answer(asked, &mut pool, &twin, true)))
            }
            Err(ha_iothub::Error::PreconditionFailed(_)) => Ok(Set::Refused),
            Err(error) => Err(call_failure(&error)),
        }
    }

    async fn revoke(&self, asked: &Asked<'_>, term: Term) -> Result<Answer, CallFailure> {
        let member = &asked.seat.member;
        let pool = self.pool(asked.seat, asked.config);
        loop {
            let mut state = pool.lock().await;
            if state.held.as_ref().is_some_and(|(held, _)| held == member) {
                state.held = None;
            }
            match state.flags.next(self.now(), std::slice::from_ref(member), term) {
                FlagStep::Clear(_) => self.clear(asked, &mut state, member, term).await?,
                FlagStep::Done => {
                    let workload = Self::after_release(asked, &mut state).await?;
                    return Ok(Answer { released: Some(term), workload, ..self.silent(HolderState::Standby) });
                }
                FlagStep::Wait { until, .. } => {
                    self.see_confirmation(asked, &mut state, member).await?;
                    drop(state);
                    let next = self.instant(until).min(Instant::now() + LOOK_AGAIN);
                    if next + LOOK_AGAIN >= asked.until {
                        return Ok(self.silent(HolderState::Stopping));
                    }
                    tokio::time::sleep_until(next).await;
                }
            }
        }
    }

    /// That its flag is cleared says nothing of whether a member could become active again.
    async fn after_release(asked: &Asked<'_>, pool: &mut PoolFlags) -> Result<Workload, CallFailure> {
        match Self::see_alive(asked, pool).await {
            Ok(_) => Ok(Workload::Unknown),
            Err(failure) if failure.is_about_member() => Ok(Workload::Unready(failure.to_string())),
            Err(failure) => Err(failure),
        }
    }

    /// Clears all other flags; who is still waited for, and until when.
    async fn clear_others(&self, asked: &Asked<'_>, term: Term) -> Result<Option<(MemberId, Instant)>, CallFailure> {
        let (pool, others) = (self.pool(asked.seat, asked.config), asked.others());
        let mut pool = pool.lock().await;
        loop {
            match pool.flags.next(self.now(), &others, term) {
                FlagStep::Done => return Ok(None),
                FlagStep::Clear(members) => {
                    for member in members {
                        self.clear(asked, &mut pool, &member, term).await?;
                    }
                }
                FlagStep::Wait { member, until } => {
                    self.see_confirmation(asked, &mut pool, &member).await?;
                    let waits = pool.flags.next(self.now(), &others, term)
                        == (FlagStep::Wait { member: member.clone(), until });
                    if waits {
                        return Ok(Some((member, self.instant(until))));
                    }
                }
            }
        }
    }

    /// Writes even what reads as cleared: whatever a predecessor still has under way then fails.
    async fn clear(
        &self,
        asked: &Asked<'_>,
        pool: &mut PoolFlags,
        member: &MemberId,
        term: Term,
    ) -> Result<(), CallFailure> {
        let gone = match asked.clear(member).await {
            Ok(()) => false,
            Err(CallFailure::NotFound) => true,
            Err(failure) => return Err(failure),
        };
        pool.flags.cleared(self.now(), member, term, gone);
        tracing::info!(pool = %asked.seat.pool, %member, %term, "its flag has been cleared");
        Ok(())
    }

    async fn see_confirmation(
        &self,
        asked: &Asked<'_>,
        pool: &mut PoolFlags,
        member: &MemberId,
    ) -> Result<(), CallFailure> {
        if asked.config.confirm.is_some()
            && let Some(sight) = asked.see(member).await?
        {
            pool.flags.read(member, sight.read);
        }
        Ok(())
    }

    /// The member, if it is there and connected, as far as IoT Hub knows. An active one is given `down_after`.
    async fn see_alive(asked: &Asked<'_>, pool: &mut PoolFlags) -> Result<Sight, CallFailure> {
        let member = &asked.seat.member;
        let sight = asked.see(member).await?.ok_or(CallFailure::NotFound)?;
        pool.flags.read(member, sight.read);
        if asked.is_connected(&sight).await? {
            pool.down_since.remove(member);
            return Ok(sight);
        }
        let since = *pool.down_since.entry(member.clone()).or_insert_with(Instant::now);
        let down_after = Duration::from_millis(asked.config.down_after.0);
        let down = !sight.read.set || since.elapsed() >= down_after || asked.is_long_gone(down_after).await?;
        if down { Err(CallFailure::Offline) } else { Ok(sight) }
    }

    fn answer(&self, asked: &Asked<'_>, pool: &mut PoolFlags, sight: &Sight, wants_nonce: bool) -> Answer {
        let nonce = wants_nonce.then(|| self.nonce_for(pool, sight));
        let held = pool.held.as_ref().filter(|(member, _)| *member == asked.seat.member);
        let state = match (sight.read.set, asked.config.confirm.is_some(), sight.reported) {
            (false, _, _) => HolderState::Standby,
            (true, true, reported) if reported != Some(true) => HolderState::Opening,
            (true, _, _) => HolderState::Active,
        };
        Answer { term: held.map_or(Term(0), |(_, term)| *term), nonce, ..self.silent(state) }
    }

    fn silent(&self, state: HolderState) -> Answer {
        Answer {
            boot: self.boot.clone(),
            state,
            term: Term(0),
            lease_left: None,
            workload: Workload::Unknown,
            leaving: false,
            refused: None,
            released: None,
            nonce: None,
        }
    }

    fn nonce_for(&self, pool: &mut PoolFlags, sight: &Sight) -> Nonce {
        let nonce = Nonce { run: self.run, count: self.nonces.fetch_add(1, Ordering::Relaxed) };
        if pool.nonces.len() == NONCES_MAX {
            pool.nonces.pop_front();
        }
        pool.nonces.push_back((nonce, sight.version.clone()));
        nonce
    }

    fn pool(&self, seat: &Seat, config: &FlagConfig) -> Arc<Mutex<PoolFlags>> {
        let fresh = || {
            let flags = Flags::new(config.fence_delay);
            let (down_since, nonces) = (HashMap::new(), VecDeque::new());
            Arc::new(Mutex::new(PoolFlags { flags, held: None, down_since, nonces }))
        };
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(pools.entry(seat.pool.clone()).or_insert_with(fresh))
    }

    fn now(&self) -> Time {
        Time::from_ms(u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    fn instant(&self, at: Time) -> Instant {
        self.started + Duration::from_millis(at.as_ms())
    }
}

impl Asked<'_> {
    fn others(&self) -> Vec<MemberId> {
        self.seat.flag.as_ref().map(|flag| flag.others.clone()).unwrap_or_default()
    }

    fn call(&self) -> Call {
        Call::within(self.until.saturating_duration_since(Instant::now())).renewal()
    }
}
