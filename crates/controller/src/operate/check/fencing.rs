use super::{Check, Outcome};
use crate::config::PoolConfig;

pub(super) const CHECK: Check = Check { id: "fencing", description: "no two members can run at once" };

pub(super) fn check(pool: &PoolConfig) -> Outcome {
    match &pool.flag {
        None => Outcome::ok("every member runs by a lease that ends by itself"),
        Some(flag) => Outcome::warning(
            format!(
                "not fenced: a device that is cut off goes on with the flag it read last; another is active after {} in any case",
                flag.fence_delay
            ),
            "give the members an agent: docs/guides/from-flag-to-lease.md",
        ),
    }
}
