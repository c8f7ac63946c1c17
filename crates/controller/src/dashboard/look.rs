use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use ha_core::charge::ControlRecord;
use ha_core::ids::{ControllerId, Epoch, PoolName};
use ha_core::time::{Millis, Time, WallTime};
use serde::Serialize;
use tokio::sync::Mutex;

use crate::clock::{Clock, wall};
use crate::config::Config;
use crate::hub::iot::IotHub;
use crate::hub::{Hub as _, chain};
use crate::operate::{PoolReport, report};

/// All pools of a configuration, asked while somebody looks.
pub struct Dashboard {
    hub: IotHub,
    config: Config,
    clock: Clock,
    period: Duration,
    last: Mutex<Option<Looked>>,
}

/// What was found, and what the next look needs of it.
struct Looked {
    at: Time,
    look: Look,
    charge: Option<(ControlRecord, Time)>,
}

/// What is known at one moment.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Look {
    /// The hub's host name.
    pub(super) hub: String,
    /// When it was asked.
    pub(super) at: WallTime,
    /// Who is in charge.
    pub(super) charge: ChargeLook,
    /// The pools, in the order of the configuration.
    pub(super) pools: Vec<PoolLook>,
}

/// Who is in charge, as far as the control record tells.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub(super) enum ChargeLook {
    /// Somebody is, or was and has not been seen to write for some time.
    Held {
        /// Who.
        owner: ControllerId,
        /// The number of the charge.
        epoch: Epoch,
        /// For how long the record has been seen unchanged.
        unchanged_ms: u64,
        /// That is longer than a charge holds.
        silent: bool,
    },
    /// Nobody is.
    Vacant,
    /// It cannot be read.
    Unknown {
        /// Why.
        why: String,
    },
}

/// What is known of one pool.
#[derive(Clone, Debug, Serialize)]
pub(super) struct PoolLook {
    /// Which.
    pub(super) pool: PoolName,
    /// Why it could not be asked just now.
    pub(super) trouble: Option<String>,
    /// What was found when it could be asked last.
    pub(super) report: Option<PoolReport>,
    /// When that was.
    pub(super) known_at: Option<WallTime>,
}

impl Dashboard {
    /// All pools of `config`, asked at most once in a `period`.
    pub fn new(hub: IotHub, config: Config, clock: Clock, period: Duration) -> Self {
        Self { hub, config, clock, period, last: Mutex::default() }
    }

    pub(super) fn period(&self) -> Duration {
        self.period
    }

    /// What is known: asked anew if the last look is older than the period. Who comes meanwhile waits for the same look.
    pub(super) async fn look(&self) -> Look {
        let mut last = self.last.lock().await;
        if let Some(looked) = &*last
            && u128::from(self.clock.mono().since(looked.at).0) < self.period.as_millis()
        {
            return looked.look.clone();
        }
        let (pools, (charge, seen)) = tokio::join!(self.pools(last.as_ref()), self.charge(last.as_ref()));
        let look = Look { hub: self.hub.client().host().to_owned(), at: wall(), charge, pools };
        *last = Some(Looked { at: self.clock.mono(), look: look.clone(), charge: seen });
        look
    }

    async fn pools(&self, last: Option<&Looked>) -> Vec<PoolLook> {
        let before = last.into_iter().flat_map(|last| &last.look.pools);
        let mut before: BTreeMap<_, _> = before.map(|known| (&known.pool, known)).collect();
        let asked = self.config.pools.iter().map(|pool| report(&self.hub, pool, self.clock));
        let found = join_all(asked).await;
        let looks = self.config.pools.iter().zip(found).map(|(pool, found)| {
            let pool = pool.name.clone();
            match found {
                Ok(report) => PoolLook { pool, trouble: None, report: Some(report), known_at: Some(wall()) },
                Err(error) => {
                    let known = before.remove(&pool);
                    let (report, known_at) =
                        known.map(|known| (known.report.clone(), known.known_at)).unwrap_or_default();
                    PoolLook { pool, trouble: Some(chain(&error)), report, known_at }
                }
            }
        });
        looks.collect()
    }

    /// Who is in charge, and the record with the time since when it has been seen like that.
    async fn charge(&self, last: Option<&Looked>) -> (ChargeLook, Option<(ControlRecord, Time)>) {
        let before = last.and_then(|last| last.charge.clone());
        match self.hub.read_control(&self.config.controller.control).await {
            Ok(Some((record, _))) => {
                let now = self.clock.mono();
                let since = before.filter(|(known, _)| *known == record).map_or(now, |(_, since)| since);
                (charge_look(&record, now.since(since)), Some((record, since)))
            }
            Ok(None) => (ChargeLook::Vacant, None),
            Err(error) => (ChargeLook::Unknown { why: chain(&error) }, before),
        }
    }
}

fn charge_look(record: &ControlRecord, unchanged: Millis) -> ChargeLook {
    if record.given_back {
        return ChargeLook::Vacant;
    }
    let (owner, epoch) = (record.owner.clone(), record.epoch);
    ChargeLook::Held { owner, epoch, unchanged_ms: unchanged.0, silent: unchanged > record.ttl }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_charge_is_held_until_it_is_given_back_and_silent_after_its_ttl() {
        let mut record = ControlRecord {
            owner: ControllerId::new("site-a"),
            epoch: Epoch(3),
            ttl: Millis(30_000),
            beat: 7,
            given_back: false,
        };
        let silent = |record: &ControlRecord, ms| match charge_look(record, Millis(ms)) {
            ChargeLook::Held { silent, .. } => Some(silent),
            _ => None,
        };
        assert_eq!((silent(&record, 30_000), silent(&record, 30_001)), (Some(false), Some(true)));
        record.given_back = true;
        assert_eq!(silent(&record, 0), None);
    }
}
