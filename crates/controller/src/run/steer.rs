//! Rewrites the routes that name the holder, once the new holder is active.

use std::sync::Arc;

use ha_core::ids::{FollowerId, PoolName};

use super::follow::{Follower, Handover, Reports};
use crate::config::PoolConfig;
use crate::hub::{Hub, Rule};
use crate::routing::{Mode, RoutingConfig};

/// How the record calls it.
pub(crate) fn follower_id() -> FollowerId {
    FollowerId::new("routes")
}

pub(super) struct Steer<H> {
    hub: Arc<H>,
    pool: PoolName,
    routing: RoutingConfig,
}

impl<H: Hub> Steer<H> {
    /// If there is anything to rewrite: standing routes need nobody.
    pub(super) fn new(hub: &Arc<H>, config: &PoolConfig) -> Option<Self> {
        let routing = config.routing.clone().filter(|routing| routing.mode == Mode::Rules)?;
        Some(Self { hub: Arc::clone(hub), pool: config.name.clone(), routing })
    }
}

impl<H: Hub> Follower for Steer<H> {
    /// The latest holder wins; a write that Azure has taken in goes on by itself and is waited for.
    const OVERTAKEN: bool = true;

    /// Routes can be changed by anybody: a controller that begins compares once, whatever the record says.
    const COMPARES: bool = true;

    fn ids(&self) -> Vec<FollowerId> {
        vec![follower_id()]
    }

    async fn follow(&mut self, handover: &Handover, reports: &Reports) {
        let (follower, term) = (follower_id(), handover.record.term);
        let Some(holder) = handover.record.holder.clone() else { return };
        if !crate::routing::holder(&holder) {
            let why = format!("the device id {holder} cannot stand in the condition of a route");
            return reports.behind(&follower, term, why, true);
        }
        let Some(routes) = self.routing.wanted(&self.pool, Some(&holder)) else { return };
        let rule = Rule { pool: self.pool.clone(), holder: holder.clone(), routes };
        match self.hub.steer(rule).await {
            Ok(steered) => {
                if steered.written {
                    tracing::info!(pool = %self.pool, %holder, %term, "the routes lead from the new holder");
                }
                reports.done(&follower, term);
            }
            Err(error) => reports.behind(&follower, term, error.why, error.lasting),
        }
    }
}
