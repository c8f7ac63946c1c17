//! Who belongs to a pool: the list, or whoever a query finds.
//!
//! A query may lag behind by half an hour, so what it leaves out is not at once gone: a device that
//! was a member stays one until it has been left out for longer than any lag, or does not exist any more.

use std::collections::BTreeMap;
use std::sync::Arc;

use ha_core::ids::{MemberId, PoolName};
use ha_core::time::{Millis, Time};
use tokio::sync::mpsc;

use crate::clock::Clock;
use crate::config::{Members, PoolConfig};
use crate::hub::{Error, Hub, chain};

/// IoT Hub's documentation asks callers to bear this much lag.
const LAG_MAX: Millis = Millis(30 * 60_000);

/// How often the query is asked: they are rationed to 20 a minute.
const REFRESH: Millis = Millis(120_000);

/// Who belongs to a pool.
pub(super) struct Roll {
    pub(super) members: Vec<MemberId>,
}

pub(super) struct Roster<H> {
    hub: Arc<H>,
    clock: Clock,
    pool: PoolName,
    members: Members,
    /// When each was last found.
    found: BTreeMap<MemberId, Time>,
}

impl<H: Hub> Roster<H> {
    pub(super) fn new(hub: Arc<H>, clock: Clock, config: &PoolConfig) -> Self {
        Self { hub, clock, pool: config.name.clone(), members: config.members.clone(), found: BTreeMap::new() }
    }

    /// Who belongs to the pool at present.
    pub(super) async fn call_the_roll(&mut self) -> Result<Roll, Error> {
        let condition = match &self.members {
            Members::Listed(members) => return Ok(Roll { members: members.clone() }),
            Members::Selected(condition) => condition.clone(),
        };
        if self.found.is_empty() {
            self.remember_from_record().await?;
        }
        let now = self.clock.mono();
        for member in self.hub.select(&condition).await? {
            self.found.insert(member, now);
        }
        self.drop_the_gone(now).await?;
        if self.found.is_empty() {
            return Err(Error::NotFound(format!("a device with {condition}")));
        }
        Ok(Roll { members: self.found.keys().cloned().collect() })
    }

    /// Goes on calling the roll; sends every change.
    pub(super) fn keep(mut self) -> mpsc::Receiver<Vec<MemberId>> {
        let (sender, receiver) = mpsc::channel(1);
        if matches!(self.members, Members::Listed(_)) {
            // Held open, so that the receiver never ends.
            tokio::spawn(async move { sender.closed().await });
            return receiver;
        }
        tokio::spawn(async move {
            let mut before: Vec<MemberId> = self.found.keys().cloned().collect();
            loop {
                let next = self.clock.mono() + REFRESH;
                tokio::select! {
                    () = sender.closed() => return,
                    () = self.clock.sleep_until(Some(next)) => {}
                }
                match self.call_the_roll().await {
                    Ok(roll) if roll.members == before => {}
                    Ok(roll) => {
                        tracing::info!(pool = %self.pool, members = ?roll.members, "the members have changed");
                        before.clone_from(&roll.members);
                        if sender.send(roll.members).await.is_err() {
                            return;
                        }
                    }
                    Err(error) => {
                        let (pool, error) = (&self.pool, chain(&error));
                        tracing::warn!(%pool, error, "the members could not be looked up: they stay as they are");
                    }
                }
            }
        });
        receiver
    }

    /// Whoever held lately was a member when the record was written.
    async fn remember_from_record(&mut self) -> Result<(), Error> {
        let Some((anchor, _)) = self.hub.read_anchor(&self.pool).await? else { return Ok(()) };
        let now = self.clock.mono();
        let known = anchor.holder.iter().chain(anchor.history.iter().map(|t| &t.holder));
        self.found.extend(known.map(|member| (member.clone(), now)));
        Ok(())
    }

    async fn drop_the_gone(&mut self, now: Time) -> Result<(), Error> {
        let missing: Vec<MemberId> = self.found.iter().filter(|(_, at)| **at < now).map(|(m, _)| m.clone()).collect();
        for member in missing {
            let lagging = now.since(self.found[&member]) < LAG_MAX;
            if !lagging || !self.hub.exists(&member).await? {
                self.found.remove(&member);
            }
        }
        Ok(())
    }
}
