//! Drives the cores: one task for the control lease, one for each pool.
//!
//! Every task is the same short loop: take in a fact, carry out the effects, say where things stand,
//! sleep until the wake. What to do is core's to say.

mod board;
mod charge;
pub(crate) mod follow;
mod hints;
mod members;
mod pool;
mod reassertion;
mod revision;
pub(crate) mod steer;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ha_core::charge::{Charge, ChargeFact};
use ha_core::ids::{ControllerId, PoolName};
use ha_core::time::Millis;
use serde::Serialize;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use self::board::{Board, PoolRow};
use self::charge::ChargeTask;
pub use self::charge::Office;
pub use self::hints::Hints;
use self::pool::PoolTask;
pub(crate) use self::pool::evidence;
pub(crate) use self::reassertion::explain as explain_reassertions;
use crate::clock::Clock;
use crate::config::{Config, Members, PoolConfig};
use crate::hook::Hooks;
use crate::hub::Hub;
use crate::store::Recorder;

/// How long a stopping controller tries to give the control lease back.
const GIVE_BACK_MAX: Duration = Duration::from_secs(5);

/// How long one pass bears that the control record is out of reach.
const STUCK_AFTER: Duration = Duration::from_secs(10);

/// What a run needs.
pub struct Setup<H> {
    /// The configuration.
    pub config: Config,
    /// The hub.
    pub hub: Arc<H>,
    /// The long memory.
    pub recorder: Recorder,
    /// The clocks.
    pub clock: Clock,
    /// What is heard from outside.
    pub hints: Hints,
}

/// How a run or a pass ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Summary {
    /// Whether this controller was in charge at the end.
    pub in_charge: bool,
    /// Who was, if it was another.
    pub owner: Option<String>,
    /// Whether the control lease was given back.
    pub given_back: bool,
    /// What was wrong with the control record, if anything.
    pub trouble: Option<String>,
    /// Every pool's last row.
    pub pools: BTreeMap<PoolName, PoolRow>,
    /// Entries of history that could not be kept.
    pub history_lost: u64,
}

/// Runs until `stop`, then gives the control lease back.
pub async fn run<H: Hub>(setup: Setup<H>, stop: CancellationToken) -> Summary {
    let fleet = Fleet::start(&setup);
    stop.cancelled().await;
    fleet.stop().await
}

/// One pass, for cron: takes the control lease if it is free, runs each pool until it has nothing more to do
/// at once, gives the lease back. Ends after `limit` in any case; what is unfinished then, a later pass finishes.
pub async fn tick<H: Hub>(setup: Setup<H>, limit: Duration, stop: CancellationToken) -> Summary {
    pass(&setup, limit, stop).await
}

/// [`tick`], for whoever makes more than one pass of one set-up.
pub async fn pass<H: Hub>(setup: &Setup<H>, limit: Duration, stop: CancellationToken) -> Summary {
    let fleet = Fleet::start(setup);
    let outdone_after = outdone_after(&setup.config);
    tokio::select! {
        () = fleet.settled() => {}
        () = fleet.outdone(outdone_after) => {}
        () = fleet.stuck() => {}
        () = tokio::time::sleep(limit) => {}
        () = stop.cancelled() => {}
    }
    fleet.stop().await
}

/// One pass that stays: goes on renewing for `limit`, unless another controller is in charge.
pub async fn hold<H: Hub>(setup: &Setup<H>, limit: Duration, stop: CancellationToken) -> Summary {
    let fleet = Fleet::start(setup);
    tokio::select! {
        () = fleet.outdone(outdone_after(&setup.config)) => {}
        () = fleet.stuck() => {}
        () = tokio::time::sleep(limit) => {}
        () = stop.cancelled() => {}
    }
    fleet.stop().await
}

/// After how long without a take-over another controller is surely alive.
fn outdone_after(config: &Config) -> Duration {
    let charge = config.controller.charge;
    Duration::from_millis((charge.rate.stretch(charge.ttl) + charge.renew.times(3)).0)
}

/// How long a pass may take: long enough to wait for a holder that has fallen silent, and to replace it. What is waited for in a pass that
/// ends too soon is waited for anew in the next.
pub fn tick_limit(config: &Config) -> Duration {
    let longest = |pool: &PoolConfig| {
        let timings = &pool.policy.timings;
        let flag = pool.flag.as_ref().map_or(Millis::ZERO, |flag| flag.down_after + flag.fence_delay);
        timings.rate.stretch(timings.ttl) + timings.call_timeout.times(6) + timings.stop + flag
    };
    let hooks = |pool: &PoolConfig| pool.hooks.iter().fold(Millis::ZERO, |sum, hook| sum + hook.longest());
    let pools = config.pools.iter().map(|pool| longest(pool) + hooks(pool)).max().unwrap_or_default();
    let charge = config.controller.charge;
    let all = pools + charge.rate.stretch(charge.ttl) + charge.renew + Millis(5_000);
    Duration::from_millis(all.0)
}

/// All tasks of a run.
pub struct Fleet {
    board: Arc<Board>,
    office: watch::Receiver<Office>,
    trouble: watch::Receiver<Option<String>>,
    recorder: Recorder,
    pools: JoinSet<()>,
    stop_pools: CancellationToken,
    charge: tokio::task::JoinHandle<()>,
    /// Looks for members that have been added to or taken from the file.
    revision: JoinSet<()>,
    charge_orders: mpsc::UnboundedSender<ChargeFact>,
}

impl Fleet {
    /// Starts all tasks.
    pub fn start<H: Hub>(setup: &Setup<H>) -> Self {
        let controller = &setup.config.controller;
        // Never the same twice: two controllers of one name must not take each other's charge for their own.
        let me = ControllerId::new(format!("{}-{}", controller.name, uuid::Uuid::new_v4().simple()));
        tracing::info!(controller = %me, pools = setup.config.pools.len(), "starting");
        let names = setup.config.pools.iter().map(|pool| pool.name.clone());
        let board = Arc::new(Board::new(names, controller.brake, controller.decisions_off));
        let (charge_orders, orders) = mpsc::unbounded_channel();
        let (office, trouble) = (watch::Sender::new(Office::Unknown), watch::Sender::new(None));
        let mut fleet = Self {
            board,
            office: office.subscribe(),
            trouble: trouble.subscribe(),
            recorder: setup.recorder.clone(),
            pools: JoinSet::new(),
            stop_pools: CancellationToken::new(),
            charge: tokio::spawn(std::future::ready(())),
            revision: JoinSet::new(),
            charge_orders,
        };
        fleet.start_pools(setup);
        let task = ChargeTask {
            hub: Arc::clone(&setup.hub),
            clock: setup.clock,
            control: controller.control.clone(),
            charge: Charge::new(me, controller.charge),
            office,
            trouble,
        };
        fleet.charge = tokio::spawn(task.run(orders));
        fleet
    }

    fn start_pools<H: Hub>(&mut self, setup: &Setup<H>) {
        let lists = watch::Sender::new(revision::lists(&setup.config));
        for pool in &setup.config.pools {
            let task = PoolTask {
                hub: Arc::clone(&setup.hub),
                clock: setup.clock,
                config: pool.clone(),
                hooks: Arc::new(Hooks::new(&pool.hooks)),
                lists: lists.subscribe(),
                control: setup.config.controller.control.clone(),
                office: self.office.clone(),
                charge_trouble: self.trouble.clone(),
                brake: self.board.brake(),
                hints: setup.hints.clone(),
                charge_orders: self.charge_orders.clone(),
                board: Arc::clone(&self.board),
                recorder: setup.recorder.clone(),
            };
            self.pools.spawn(task.run(self.stop_pools.clone()));
        }
        if setup.config.pools.iter().any(|pool| matches!(pool.members, Members::Listed(_))) {
            self.revision.spawn(revision::watch(setup.config.clone(), setup.clock, lists));
        }
    }

    /// What is known of all pools.
    pub fn board(&self) -> &Arc<Board> {
        &self.board
    }

    /// Whether we are in charge.
    pub fn office(&self) -> watch::Receiver<Office> {
        self.office.clone()
    }

    /// Waits until every pool has nothing more to do at once.
    async fn settled(&self) {
        let (mut changes, mut office) = (self.board.changes(), self.office.clone());
        loop {
            let pools_settled = self.board.all_settled();
            match &*office.borrow_and_update() {
                Office::In { .. } if pools_settled => return,
                _ => {}
            }
            tokio::select! {
                _ = changes.changed() => {}
                _ = office.changed() => {}
            }
        }
    }

    /// Waits until another controller has been in charge for so long that it must be alive. One that was killed stands in
    /// the record too, until it has been seen unchanged for its ttl: a pass that believed its name would leave to a dead one.
    async fn outdone(&self, surely_alive_after: Duration) {
        let mut office = self.office.clone();
        let another = |office: &Office| matches!(office, Office::Out { owner: Some(_) });
        loop {
            // The senders live as long as the charge task, which outlives every pass.
            let _ = office.wait_for(another).await;
            let over = office.wait_for(|office| !another(office));
            if tokio::time::timeout(surely_alive_after, over).await.is_err() {
                return;
            }
        }
    }

    /// Waits until the control record has been out of reach for so long that a pass had better end.
    async fn stuck(&self) {
        let mut trouble = self.trouble.clone();
        loop {
            // The senders live as long as the charge task, which outlives every pass.
            let _ = trouble.wait_for(Option::is_some).await;
            let over = trouble.wait_for(Option::is_none);
            if tokio::time::timeout(STUCK_AFTER, over).await.is_err() {
                return;
            }
        }
    }

    /// Stops the pools, then gives the control lease back: nothing is done in its name after that.
    pub async fn stop(mut self) -> Summary {
        let office = self.office.borrow().clone();
        self.stop_pools.cancel();
        while let Some(ended) = self.pools.join_next().await {
            if let Err(error) = ended
                && error.is_panic()
            {
                tracing::error!("a pool's task has panicked");
            }
        }
        let in_charge = matches!(office, Office::In { .. });
        if in_charge {
            let _ = self.charge_orders.send(ChargeFact::GiveBack);
            let _ = tokio::time::timeout(GIVE_BACK_MAX, &mut self.charge).await;
        }
        self.charge.abort();
        let given_back = *self.office.borrow() == Office::GivenBack;
        let owner = match office {
            Office::Out { owner } => owner.map(|owner| owner.to_string()),
            _ => None,
        };
        let summary = Summary {
            in_charge,
            owner,
            given_back,
            trouble: self.trouble.borrow().clone(),
            pools: self.board.rows(),
            history_lost: self.recorder.lost(),
        };
        tracing::info!(in_charge, given_back, pools = summary.pools.len(), "stopped");
        summary
    }
}

#[cfg(test)]
mod tests;
