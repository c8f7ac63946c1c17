use ha_core::bounds::bounds;
use ha_core::time::Millis;

use super::{Check, Outcome};
use crate::config::{Config, PoolConfig};

pub(super) const CHECK: Check = Check { id: "rto", description: "a failover is as fast as was asked for" };

/// A round trip through a hub in the same region, with room to spare.
const CALL: Millis = Millis(300);

/// A small workload's start.
const START: Millis = Millis(500);

pub(super) fn check(pool: &PoolConfig, config: &Config) -> Outcome {
    let worst = bounds(&pool.policy.timings, &config.controller.charge, CALL, START).failover_crash;
    match pool.rto {
        None => Outcome::NotApplicable { because: "no rto_ms is set".to_owned() },
        Some(rto) if worst > rto => Outcome::error(
            format!("a failover may take {worst}, but rto_ms = {}", rto.0),
            "lower ttl_ms, and renew_ms with it; `estimate` shows what a choice costs",
        ),
        Some(rto) => Outcome::ok(format!("at most {worst}, {rto} asked for")),
    }
}
