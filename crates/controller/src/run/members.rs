//! Who belongs to a pool: the list, or whoever a query finds.
//!
//! A query may lag behind by half an hour, so what it leaves out is not at once gone: a device that
//! was a member stays one until it has been left out for longer than any lag, does not exist any more, or has by its own twin
//! not the tags that are demanded.

use std::collections::BTreeMap;
use std::sync::Arc;

use ha_core::ids::{MemberId, PoolName};
use ha_core::time::{Millis, Time};
use tokio::sync::{mpsc, watch};

use super::revision::Lists;
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
    lists: watch::Receiver<Lists>,
    /// When each was last found.
    found: BTreeMap<MemberId, Time>,
}

impl<H: Hub> Roster<H> {
    pub(super) fn new(hub: Arc<H>, clock: Clock, config: &PoolConfig, lists: watch::Receiver<Lists>) -> Self {
        let (pool, members) = (config.name.clone(), config.members.clone());
        Self { hub, clock, pool, members, lists, found: BTreeMap::new() }
    }

    /// Who belongs to the pool at present.
    pub(super) async fn call_the_roll(&mut self) -> Result<Roll, Error> {
        match self.members.clone() {
            Members::Listed(members) => Ok(Roll { members: self.listed().unwrap_or(members) }),
            Members::Selected(condition) => self.selected(&condition).await,
        }
    }

    /// The list in the file as it is now; `None`: the pool is not in it any more, which counts from the next start.
    fn listed(&mut self) -> Option<Vec<MemberId>> {
        self.lists.borrow_and_update().get(&self.pool).cloned()
    }

    async fn selected(&mut self, condition: &str) -> Result<Roll, Error> {
        if self.found.is_empty() {
            self.remember_from_record().await?;
        }
        let now = self.clock.mono();
        for member in self.hub.select(condition).await? {
            self.found.insert(member, now);
        }
        self.drop_the_gone(now, condition).await?;
        if self.found.is_empty() {
            return Err(Error::NotFound(format!("a device with {condition}")));
        }
        Ok(Roll { members: self.found.keys().cloned().collect() })
    }

    /// Goes on calling the roll; sends every change.
    pub(super) fn keep(self) -> mpsc::Receiver<Vec<MemberId>> {
        let (sender, receiver) = mpsc::channel(1);
        match self.members {
            Members::Listed(_) => tokio::spawn(self.follow_the_list(sender)),
            Members::Selected(_) => tokio::spawn(self.ask_again(sender)),
        };
        receiver
    }

    async fn follow_the_list(mut self, sender: mpsc::Sender<Vec<MemberId>>) {
        let mut before = self.call_the_roll().await.ok().map(|roll| roll.members);
        loop {
            tokio::select! {
                () = sender.closed() => return,
                changed = self.lists.changed() => if changed.is_err() {
                    // Held open, so that the receiver never ends.
                    return sender.closed().await;
                },
            }
            let Some(members) = self.listed().filter(|members| before.as_ref() != Some(members)) else { continue };
            tracing::info!(pool = %self.pool, ?members, "the members have changed");
            before = Some(members.clone());
            if sender.send(members).await.is_err() {
                return;
            }
        }
    }

    async fn ask_again(mut self, sender: mpsc::Sender<Vec<MemberId>>) {
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
    }

    /// Whoever held lately was a member when the record was written.
    async fn remember_from_record(&mut self) -> Result<(), Error> {
        let Some((anchor, _)) = self.hub.read_anchor(&self.pool).await? else { return Ok(()) };
        let now = self.clock.mono();
        let known = anchor.holder.iter().chain(anchor.history.iter().map(|t| &t.holder));
        self.found.extend(known.map(|member| (member.clone(), now)));
        Ok(())
    }

    async fn drop_the_gone(&mut self, now: Time, condition: &str) -> Result<(), Error> {
        let missing: Vec<MemberId> = self.found.iter().filter(|(_, at)| **at < now).map(|(m, _)| m.clone()).collect();
        for member in missing {
            let lagging = now.since(self.found[&member]) < LAG_MAX;
            if !lagging || !self.hub.may_fit(&member, condition).await? {
                self.found.remove(&member);
            }
        }
        Ok(())
    }
}
