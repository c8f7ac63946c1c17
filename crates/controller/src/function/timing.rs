//! Which timings a timer can keep.
//!
//! While a pass holds, all is as with a daemon. Between two passes nobody renews: until the timer is due again, the host
//! has started the program if it must, and the new pass has the charge and the holder's word. The holder's lease must
//! outlive that gap.

use ha_core::bounds::Bounds;
use ha_core::charge::ChargeTimings;
use ha_core::time::Millis;
use serde::Serialize;

/// How the Function app is set up.
#[derive(Clone, Copy, Debug)]
pub struct Function {
    /// The timer's period.
    pub every: Millis,
    /// How long a pass holds.
    pub hold: Millis,
    /// The host's time-out for one invocation (`functionTimeout`).
    pub timeout: Millis,
    /// How long the host may take to start the program.
    pub start: Millis,
}

/// What follows for one pool.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Timing {
    /// Without anybody who renews, at most: between two passes.
    pub gap: Millis,
    /// The same when a pass was killed: its charge has to run out besides.
    pub gap_after_kill: Millis,
    /// How long the holder bears that.
    pub borne: Millis,
    /// From the holder's crash to the new holder's first act, at most.
    pub failover_crash: Millis,
    /// How long a pass holds.
    pub hold: Millis,
    /// How long it must, to see a silent holder's lease end and grant the next: it does not know when the pass before it renewed.
    pub hold_needed: Millis,
}

/// Giving the charge back, and ending the invocation.
const END: Millis = Millis(10_000);

impl Function {
    /// What follows for a pool with these bounds.
    pub fn timing(&self, bounds: &Bounds, charge: &ChargeTimings, call: Millis) -> Timing {
        // The next timer, the start, then: read and take the charge, read the record, ask the holder, grant.
        let gap = self.every + self.start + call.times(5);
        Timing {
            gap,
            gap_after_kill: gap + charge.rate.stretch(charge.ttl) + charge.renew,
            borne: bounds.controller_absence,
            // A new pass does not know when the old one renewed last, so it waits for a whole lease.
            failover_crash: gap + bounds.failover_crash,
            hold: self.hold,
            hold_needed: hold_needed(bounds, call),
        }
    }

    /// What is wrong with the set-up, whatever the pool.
    pub fn problem(&self) -> Option<String> {
        (self.hold + END > self.timeout).then(|| {
            format!(
                "a pass that holds for {} does not end within the host's time-out of {}: the host would kill it each time",
                self.hold, self.timeout
            )
        })
    }
}

/// How long a pass must hold to see a silent holder's lease end and grant the next, when a call to the hub takes `call`.
pub fn hold_needed(bounds: &Bounds, call: Millis) -> Millis {
    call.times(5) + bounds.failover_crash
}

/// What comes of a pass that holds for less than it must.
pub fn short_hold(hold: Millis, needed: Millis) -> Option<String> {
    (hold < needed).then(|| {
        format!(
            "a pass that holds for {hold} ends before a dead holder's lease has surely run out, and so does the next: nobody would ever take \
             over; hold for {needed} or more, or lower ttl_ms"
        )
    })
}

impl Timing {
    /// Why these timings stop the work again and again, and which ttl would do. A lease that ends early is safe, and useless.
    /// A pass that ends before a lease would never see one end.
    pub fn problem(&self, ttl: Millis) -> Option<String> {
        let short = short_hold(self.hold, self.hold_needed);
        short.or_else(|| self.lapse(ttl))
    }

    fn lapse(&self, ttl: Millis) -> Option<String> {
        (self.borne < self.gap).then(|| {
            let needed = ttl + self.gap.less(self.borne);
            format!(
                "nobody renews for up to {} between two passes, and the holder bears {}: it would stop each time; \
                 a ttl_ms of {} or more would do, or a faster timer",
                self.gap, self.borne, needed.0
            )
        })
    }

    /// What is worth knowing although it works.
    pub fn remark(&self) -> Option<String> {
        (self.borne < self.gap_after_kill).then(|| {
            format!("a pass that is killed, as by a new deployment of the app, stops the work: {} until the next one renews", self.gap_after_kill)
        })
    }
}

#[cfg(test)]
mod tests {
    use ha_core::bounds::bounds;
    use ha_core::policy::Timings;

    use super::*;

    fn function(every_s: u64) -> Function {
        let s = |s: u64| Millis(s * 1000);
        let hold = 240.max(2 * every_s);
        Function { every: s(every_s), hold: s(hold), timeout: s(hold + 60), start: s(5) }
    }

    fn timing(function: Function, ttl_ms: u64) -> Timing {
        let (timings, charge) = (Timings { ttl: Millis(ttl_ms), ..Timings::default() }, ChargeTimings::default());
        let bounds = bounds(&timings, &charge, Millis(300), Millis(500));
        function.timing(&bounds, &charge, Millis(300))
    }

    #[test]
    fn the_ttl_that_is_asked_for_is_enough_and_no_less_is() {
        for every_s in [5, 10, 60, 300] {
            let problem = timing(function(every_s), 15_000).problem(Millis(15_000));
            let said = problem.expect("a daemon's lease is too short for any timer");
            let needed: u64 =
                said.split("ttl_ms of ").nth(1).and_then(|s| s.split(' ').next()).unwrap().parse().unwrap();
            assert_eq!(timing(function(every_s), needed).problem(Millis(needed)), None);
            assert!(timing(function(every_s), needed - 1).problem(Millis(needed - 1)).is_some());
        }
    }

    #[test]
    fn a_pass_must_end_before_the_host_ends_it() {
        assert_eq!(function(10).problem(), None);
        assert!(Function { hold: Millis(295_000), ..function(10) }.problem().is_some());
    }

    #[test]
    fn a_pass_must_outlast_a_lease() {
        let short = Function { hold: Millis(60_000), ..function(10) };
        let said = timing(short, 60_000).problem(Millis(60_000)).expect("it never sees a lease end");
        assert!(said.contains("nobody would ever take over"), "{said}");
        assert_eq!(timing(short, 45_000).problem(Millis(45_000)), None);
    }

    #[test]
    fn a_killed_pass_is_remarked_on_when_the_lease_is_too_short_for_it() {
        assert!(timing(function(10), 25_000).remark().is_some());
        assert_eq!(timing(function(10), 60_000).remark(), None);
    }
}
