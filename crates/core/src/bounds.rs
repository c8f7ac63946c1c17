//! What a configuration costs and guarantees, computed.

use serde::{Deserialize, Serialize};

use crate::charge::ChargeTimings;
use crate::policy::Timings;
use crate::time::Millis;

/// The bounds of one pool, from its timings. `call` is one round trip through IoT Hub, `start` the time
/// a workload needs from its start to its first act: both are assumptions, named by the caller.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Bounds {
    /// From the holder's crash to the new holder's first act, at most.
    pub failover_crash: Millis,
    /// With nobody active when the holder crashes, at most: the same, for the crash ends the work at once.
    pub gap_crash: Millis,
    /// With nobody active when the holder is cut off, at most: it goes on until its own lease ends.
    pub gap_cut: Millis,
    /// With nobody active at a planned change, at most.
    pub gap_planned: Millis,
    /// How long all controllers may be away before a holder stops.
    pub controller_absence: Millis,
    /// From the death of the controller in charge to the next one being in charge, at most.
    pub charge_takeover: Millis,
    /// With two active: none, as long as clock rates differ by less than the bound.
    pub overlap: Millis,
}

/// Computes the bounds.
pub fn bounds(timings: &Timings, charge: &ChargeTimings, call: Millis, start: Millis) -> Bounds {
    // The newest nonce may have been received right before the crash, or be on its way back for one call.
    let quiet = timings.rate.stretch(timings.ttl) + call;
    // Write the record, grant, open. A candidate's answer is fresh by then: it is asked while waiting.
    let takeover = call.times(2) + start;
    let failover_crash = quiet + takeover;
    // The holder's own lease counts from a nonce made no earlier than one held answer and two calls ago.
    let holder_goes_on = timings.ttl.less(timings.renew + call.times(2) + timings.stop);
    Bounds {
        failover_crash,
        gap_crash: failover_crash,
        gap_cut: failover_crash.less(holder_goes_on),
        gap_planned: timings.stop + call.times(3) + start,
        controller_absence: holder_goes_on,
        charge_takeover: charge.rate.stretch(charge.ttl) + charge.renew + call.times(2),
        overlap: Millis::ZERO,
    }
}

/// Operations on IoT Hub that a pool needs in a quiet day, per second times 1000.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Load {
    /// Direct methods.
    pub methods_per_1000s: u64,
    /// Twin reads.
    pub twin_reads_per_1000s: u64,
    /// Twin writes.
    pub twin_writes_per_1000s: u64,
    /// Registry reads.
    pub registry_per_1000s: u64,
    /// Metered messages per day: a direct method counts for its request and its answer.
    pub messages_per_day: u64,
}

impl Load {
    /// Two loads together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            methods_per_1000s: self.methods_per_1000s + other.methods_per_1000s,
            twin_reads_per_1000s: self.twin_reads_per_1000s + other.twin_reads_per_1000s,
            twin_writes_per_1000s: self.twin_writes_per_1000s + other.twin_writes_per_1000s,
            registry_per_1000s: self.registry_per_1000s + other.registry_per_1000s,
            messages_per_day: self.messages_per_day + other.messages_per_day,
        }
    }

    fn new(methods: u64, twin_reads: u64, twin_writes: u64, registry: u64) -> Self {
        let per_1000s = methods * 2 + twin_reads + twin_writes;
        Self {
            methods_per_1000s: methods,
            twin_reads_per_1000s: twin_reads,
            twin_writes_per_1000s: twin_writes,
            registry_per_1000s: registry,
            messages_per_day: per_1000s.saturating_mul(86_400).div_ceil(1_000),
        }
    }
}

/// What one pool of `members` costs in a quiet day.
pub fn pool_load(timings: &Timings, members: u64) -> Load {
    let every = |span: Millis| 1_000_000u64.div_ceil(span.0.max(1));
    let standbys = members.saturating_sub(1);
    let evidence = every(timings.evidence) * members;
    // One ping each; the reads of $edgeAgent's and $edgeHub's twins.
    let methods = every(timings.renew) + every(timings.standby_hold) * standbys + evidence;
    let twin_reads = every(timings.anchor_read) + evidence * 2;
    Load::new(methods, twin_reads, 0, evidence)
}

/// What one control lease costs: a renewal by its owner, a look by each other controller.
pub fn charge_load(charge: &ChargeTimings, controllers: u64) -> Load {
    let every = 1_000_000u64.div_ceil(charge.renew.0.max(1));
    Load::new(0, every * controllers.saturating_sub(1), every, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_fail_over_within_seconds() {
        let bounds = bounds(&Timings::default(), &ChargeTimings::default(), Millis(200), Millis(500));
        expect_test::expect![[r#"
            Bounds {
                failover_crash: 16116ms,
                gap_crash: 16116ms,
                gap_cut: 8516ms,
                gap_planned: 4100ms,
                controller_absence: 7600ms,
                charge_takeover: 6906ms,
                overlap: 0ms,
            }
        "#]]
        .assert_debug_eq(&bounds);
    }

    #[test]
    fn a_pool_of_three_costs_a_share_of_a_unit() {
        let load = pool_load(&Timings::default(), 3);
        expect_test::expect![[r#"
            Load {
                methods_per_1000s: 369,
                twin_reads_per_1000s: 302,
                twin_writes_per_1000s: 0,
                registry_per_1000s: 51,
                messages_per_day: 89856,
            }
        "#]]
        .assert_debug_eq(&load);
    }
}
