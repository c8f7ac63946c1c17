use std::str::FromStr;

use ha_core::ids::Term;
use ha_core::time::{Millis, Time};

use super::lines::{Lease, Order, Report};

/// When a workload that ended by itself is started again while its lease lasts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Restart {
    /// Which endings count.
    pub policy: RestartPolicy,
    /// The wait before the first new start; doubles with each further one.
    pub backoff_min: Millis,
    /// The longest wait. A workload that ran that long is started afresh with the shortest one.
    pub backoff_max: Millis,
}

/// Which endings of a workload are followed by a new start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum RestartPolicy {
    /// Any.
    Always,
    /// Any but exit code 0.
    OnFailure,
    /// None.
    Never,
}

impl RestartPolicy {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::OnFailure => "on-failure",
            Self::Never => "never",
        }
    }
}

impl FromStr for RestartPolicy {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Always, Self::OnFailure, Self::Never].into_iter().find(|p| p.as_str() == text).ok_or(())
    }
}

/// What the keeper must do, in this order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Act {
    /// Start guard and workload; the guard kills at `kill_at` too.
    Start { term: Term, kill_at: Time },
    /// Tell the guard of a later end.
    Prolong { kill_at: Time },
    /// SIGTERM to the group.
    Terminate,
    /// SIGKILL to whatever is left; returns when nothing is.
    Destroy,
    /// Tell the agent.
    Say(Report),
}

/// How a workload ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Ending {
    pub(super) success: bool,
    pub(super) how: String,
}

/// What the keeper is about. Pure: it is told the time and what happened.
#[derive(Debug)]
pub(super) struct State {
    restart: Restart,
    starts_failed: u32,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    Closed,
    Running {
        term: Term,
        lease: Lease,
        since: Time,
    },
    /// The lease lasts, the workload has ended by itself.
    Down {
        term: Term,
        lease: Lease,
        again_at: Option<Time>,
    },
    Stopping {
        term: Term,
        kill_at: Time,
    },
}

impl State {
    pub(super) fn new(restart: Restart) -> Self {
        Self { restart, starts_failed: 0, phase: Phase::Closed }
    }

    pub(super) fn ordered(&mut self, now: Time, order: Order) -> Vec<Act> {
        match order {
            Order::Open { term, lease } => self.open(now, term, lease),
            Order::Extend { term, lease } => self.extend(now, term, lease),
            Order::Close { term, kill_at } => self.close(term, kill_at),
        }
    }

    /// The workload has ended, or could not be started.
    pub(super) fn ended(&mut self, now: Time, ending: Ending) -> Vec<Act> {
        match self.phase {
            Phase::Running { term, lease, since } => {
                let again_at = self.again_at(now, since, ending.success);
                self.phase = Phase::Down { term, lease, again_at };
                vec![Act::Destroy, Act::Say(Report::Exited { term, how: ending.how })]
            }
            Phase::Stopping { term, .. } => self.gone(term),
            Phase::Closed | Phase::Down { .. } => vec![],
        }
    }

    /// Does what is due.
    pub(super) fn time_passed(&mut self, now: Time) -> Vec<Act> {
        match self.phase {
            Phase::Running { term, lease, .. } | Phase::Down { term, lease, .. } if now >= lease.stop_at => {
                self.close(term, lease.kill_at)
            }
            Phase::Down { term, lease, again_at: Some(at) } if now >= at => self.start(now, term, lease),
            Phase::Stopping { term, kill_at } if now >= kill_at => self.gone(term),
            _ => vec![],
        }
    }

    pub(super) fn next_wake(&self) -> Option<Time> {
        match &self.phase {
            Phase::Closed => None,
            Phase::Running { lease, .. } => Some(lease.stop_at),
            Phase::Down { lease, again_at, .. } => Some(again_at.map_or(lease.stop_at, |at| at.min(lease.stop_at))),
            Phase::Stopping { kill_at, .. } => Some(*kill_at),
        }
    }

    fn open(&mut self, now: Time, term: Term, lease: Lease) -> Vec<Act> {
        if !matches!(self.phase, Phase::Closed) {
            return refuse(term, "an earlier term has not ended");
        }
        if now >= lease.stop_at {
            let mut acts = refuse(term, "the lease is too short");
            acts.push(Act::Say(Report::Closed { term }));
            return acts;
        }
        self.starts_failed = 0;
        let mut acts = self.start(now, term, lease);
        acts.insert(1, Act::Say(Report::Armed { term, end: lease.end }));
        acts
    }

    fn start(&mut self, now: Time, term: Term, lease: Lease) -> Vec<Act> {
        self.phase = Phase::Running { term, lease, since: now };
        vec![Act::Start { term, kill_at: lease.kill_at }, Act::Say(Report::Running { term })]
    }

    fn extend(&mut self, now: Time, for_term: Term, longer: Lease) -> Vec<Act> {
        match &mut self.phase {
            Phase::Running { term, lease, .. } | Phase::Down { term, lease, .. }
                if *term == for_term && now < lease.stop_at =>
            {
                if longer.end > lease.end {
                    *lease = longer;
                }
                let armed = Report::Armed { term: for_term, end: lease.end };
                vec![Act::Prolong { kill_at: lease.kill_at }, Act::Say(armed)]
            }
            _ => refuse(for_term, "this term is not running"),
        }
    }

    fn close(&mut self, for_term: Term, kill_at: Time) -> Vec<Act> {
        match self.phase {
            Phase::Running { term, lease, .. } => {
                self.phase = Phase::Stopping { term, kill_at: kill_at.min(lease.kill_at) };
                vec![Act::Terminate]
            }
            Phase::Down { term, .. } => self.gone(term),
            Phase::Stopping { term, kill_at: before } => {
                self.phase = Phase::Stopping { term, kill_at: kill_at.min(before) };
                vec![]
            }
            Phase::Closed => vec![Act::Say(Report::Closed { term: for_term })],
        }
    }

    fn gone(&mut self, term: Term) -> Vec<Act> {
        self.phase = Phase::Closed;
        vec![Act::Destroy, Act::Say(Report::Closed { term })]
    }

    fn again_at(&mut self, now: Time, since: Time, success: bool) -> Option<Time> {
        let again = match self.restart.policy {
            RestartPolicy::Always => true,
            RestartPolicy::OnFailure => !success,
            RestartPolicy::Never => false,
        };
        if now.since(since) >= self.restart.backoff_max {
            self.starts_failed = 0;
        }
        let factor = 1_u64 << self.starts_failed.min(16);
        self.starts_failed += 1;
        again.then(|| now + self.restart.backoff_min.times(factor).min(self.restart.backoff_max))
    }
}

fn refuse(term: Term, why: &str) -> Vec<Act> {
    vec![Act::Say(Report::Refused { term, why: why.to_owned() })]
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    /// Runs a story, one event a line: `<ms> <order>`, `<ms> ended <code>` or `<ms> tick`.
    fn check(policy: RestartPolicy, story: &str, expected: Expect) {
        let restart = Restart { policy, backoff_min: Millis(10), backoff_max: Millis(40) };
        let mut state = State::new(restart);
        let mut told = String::new();
        for line in story.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (at, what) = line.split_once(' ').unwrap();
            let now = Time::from_ms(at.parse().unwrap());
            let acts = match what.strip_prefix("ended ") {
                Some(code) => state.ended(now, Ending { success: code == "0", how: format!("with code {code}") }),
                None if what == "tick" => state.time_passed(now),
                None => state.ordered(now, what.parse().unwrap()),
            };
            let acts: Vec<String> = acts.iter().map(shown).collect();
            told += &format!("{line} -> {}\n", acts.join(", "));
        }
        expected.assert_eq(&told);
    }

    fn shown(act: &Act) -> String {
        match act {
            Act::Start { term, kill_at } => format!("start {term} killing at {}", kill_at.as_ms()),
            Act::Prolong { kill_at } => format!("prolong to {}", kill_at.as_ms()),
            Act::Terminate => "SIGTERM".to_owned(),
            Act::Destroy => "SIGKILL".to_owned(),
            Act::Say(report) => format!("say {report}"),
        }
    }

    #[test]
    fn a_lease_ends_by_itself() {
        check(
            RestartPolicy::Always,
            "0 open 7 100 180 200
             50 extend 7 200 280 300
             100 tick
             200 tick
             210 extend 7 300 380 400
             280 tick
             290 open 8 400 480 500",
            expect![[r#"
                0 open 7 100 180 200 -> start 7 killing at 180, say armed 7 200, say running 7
                50 extend 7 200 280 300 -> prolong to 280, say armed 7 300
                100 tick -> 
                200 tick -> SIGTERM
                210 extend 7 300 380 400 -> say refused 7 this term is not running
                280 tick -> SIGKILL, say closed 7
                290 open 8 400 480 500 -> start 8 killing at 480, say armed 8 500, say running 8
            "#]],
        );
    }

    #[test]
    fn an_end_never_moves_back_and_a_close_never_later() {
        check(
            RestartPolicy::Always,
            "0 open 7 100 180 200
             1 extend 7 50 80 90
             2 extend 8 500 580 600
             3 close 7 900
             4 close 7 30
             30 tick",
            expect![[r#"
                0 open 7 100 180 200 -> start 7 killing at 180, say armed 7 200, say running 7
                1 extend 7 50 80 90 -> prolong to 180, say armed 7 200
                2 extend 8 500 580 600 -> say refused 8 this term is not running
                3 close 7 900 -> SIGTERM
                4 close 7 30 -> 
                30 tick -> SIGKILL, say closed 7
            "#]],
        );
    }

    #[test]
    fn a_crashing_workload_is_started_again_with_growing_waits() {
        check(
            RestartPolicy::Always,
            "0 open 7 1000 1100 1200
             1 ended 3
             10 tick
             11 tick
             12 ended 3
             31 tick
             32 tick
             33 close 7 50",
            expect![[r#"
                0 open 7 1000 1100 1200 -> start 7 killing at 1100, say armed 7 1200, say running 7
                1 ended 3 -> SIGKILL, say exited 7 with code 3
                10 tick -> 
                11 tick -> start 7 killing at 1100, say running 7
                12 ended 3 -> SIGKILL, say exited 7 with code 3
                31 tick -> 
                32 tick -> start 7 killing at 1100, say running 7
                33 close 7 50 -> SIGTERM
            "#]],
        );
    }

    #[test]
    fn a_workload_that_is_done_stays_down_if_so_wished() {
        check(
            RestartPolicy::OnFailure,
            "0 open 7 100 180 200
             1 ended 0
             50 tick
             60 extend 7 200 280 300
             200 tick
             201 close 6 300",
            expect![[r#"
                0 open 7 100 180 200 -> start 7 killing at 180, say armed 7 200, say running 7
                1 ended 0 -> SIGKILL, say exited 7 with code 0
                50 tick -> 
                60 extend 7 200 280 300 -> prolong to 280, say armed 7 300
                200 tick -> SIGKILL, say closed 7
                201 close 6 300 -> say closed 6
            "#]],
        );
    }

    #[test]
    fn a_workload_that_stops_when_asked_is_closed_at_once() {
        check(
            RestartPolicy::Always,
            "0 open 7 100 180 200
             5 close 7 100
             9 ended 0",
            expect![[r#"
                0 open 7 100 180 200 -> start 7 killing at 180, say armed 7 200, say running 7
                5 close 7 100 -> SIGTERM
                9 ended 0 -> SIGKILL, say closed 7
            "#]],
        );
    }
}
