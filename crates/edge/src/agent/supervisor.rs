//! Which modules run, and which are to be started or stopped. No clock and no processes: both are handed in.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::desired::{Spec, image_hash};
use crate::hub::Now;
use crate::timings::Timings;

/// A module that looped so often is left alone (`MaxRestartCount`).
const RESTARTS_MAX: u32 = 20;
const NEVER: &str = "0001-01-01T00:00:00Z";

/// The modules of one device.
#[derive(Debug)]
pub(super) struct Supervisor {
    modules: BTreeMap<String, Module>,
    runs: u64,
    timings: Timings,
}

/// Counts starts: the end of an earlier one says nothing of a later one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Run(pub(super) u64);

/// What is to be done with a process.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Step {
    Start { name: String, spec: Spec, run: Run },
    Stop { name: String, run: Run },
}

#[derive(Debug)]
struct Module {
    spec: Spec,
    phase: Phase,
    /// It is not part of the deployment any more.
    unwanted: bool,
    /// It is to be stopped though it should run, to start anew.
    renew: bool,
    exit_code: i32,
    restarts: u32,
    started: Option<Timestamp>,
    exited: Option<Timestamp>,
    restarted: Option<Timestamp>,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Phase {
    /// Made, and never started.
    New,
    Running {
        run: Run,
        since: Instant,
    },
    Stopping {
        run: Run,
    },
    /// By us.
    Stopped,
    /// By itself, and its policy leaves it at that.
    Ended,
    Failed,
    Backoff {
        until: Instant,
    },
}

impl Supervisor {
    pub(super) fn new(timings: &Timings) -> Self {
        Self { modules: BTreeMap::new(), runs: 0, timings: timings.clone() }
    }

    /// Takes over what is to run.
    pub(super) fn deploy(&mut self, specs: &BTreeMap<String, Spec>) {
        for (name, module) in &mut self.modules {
            module.unwanted = !specs.contains_key(name);
        }
        for (name, spec) in specs {
            match self.modules.get_mut(name) {
                None => {
                    self.modules.insert(name.clone(), Module::new(spec.clone()));
                }
                Some(module) if module.spec.runs_as(spec) => module.spec = spec.clone(),
                Some(module) => {
                    let phase = module.phase;
                    *module = Module::new(spec.clone());
                    if let Phase::Running { .. } | Phase::Stopping { .. } = phase {
                        module.phase = phase;
                        module.renew = true;
                    }
                }
            }
        }
    }

    /// What to do, in this order.
    pub(super) fn reconcile(&mut self, now: Now) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut starts = Vec::new();
        for (name, module) in &mut self.modules {
            let wanted = module.spec.running && !module.unwanted;
            match module.phase {
                Phase::Running { run, since } => {
                    if !wanted || module.renew {
                        module.phase = Phase::Stopping { run };
                        steps.push(Step::Stop { name: name.clone(), run });
                    } else if now.at.duration_since(since) >= self.timings.intensive_care {
                        module.restarts = 0;
                    }
                }
                Phase::New | Phase::Stopped if wanted => starts.push((module.spec.order, name.clone())),
                Phase::Backoff { until } if wanted && now.at >= until => {
                    module.restarts += 1;
                    module.restarted = Some(now.wall);
                    starts.push((module.spec.order, name.clone()));
                }
                Phase::Backoff { .. } if !wanted => module.phase = Phase::Stopped,
                _ => {}
            }
        }
        self.modules.retain(|_, module| !module.unwanted || matches!(module.phase, Phase::Stopping { .. }));
        starts.sort();
        for (_, name) in starts {
            self.runs += 1;
            let run = Run(self.runs);
            if let Some(module) = self.modules.get_mut(&name) {
                module.phase = Phase::Running { run, since: now.at };
                module.started = Some(now.wall);
                module.renew = false;
                steps.push(Step::Start { spec: module.spec.clone(), name, run });
            }
        }
        steps
    }

    /// A process has ended, or did not start.
    pub(super) fn exited(&mut self, now: Now, name: &str, run: Run, exit_code: i32) {
        let (min, max) = (self.timings.backoff_min, self.timings.backoff_max);
        let Some(module) = self.modules.get_mut(name) else { return };
        match module.phase {
            Phase::Running { run: current, .. } if current == run => {
                let restarts = module.spec.restart.restarts_after(exit_code);
                module.phase = if restarts && module.restarts < RESTARTS_MAX {
                    Phase::Backoff { until: now.at + backoff(min, max, module.restarts) }
                } else if exit_code == 0 {
                    Phase::Ended
                } else {
                    Phase::Failed
                };
            }
            // What we stopped is started again by the next round, if it should run.
            Phase::Stopping { run: current } if current == run => {
                module.phase = if module.renew { Phase::New } else { Phase::Stopped };
            }
            _ => return,
        }
        module.exit_code = exit_code;
        module.exited = Some(now.wall);
        if module.unwanted {
            self.modules.remove(name);
        }
    }

    /// Starts a module anew, whatever it is doing. Answers whether there is such a module.
    pub(super) fn restart(&mut self, now: Now, name: &str) -> bool {
        let Some(module) = self.modules.get_mut(name).filter(|module| !module.unwanted) else { return false };
        module.restarts = 0;
        module.restarted = Some(now.wall);
        match module.phase {
            Phase::Running { .. } | Phase::Stopping { .. } => module.renew = true,
            _ => module.phase = Phase::New,
        }
        true
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.modules.keys().map(String::as_str)
    }

    /// When [`Supervisor::reconcile`] has something to do that no event tells.
    pub(super) fn next_wake(&self) -> Option<Instant> {
        let until = |module: &Module| match module.phase {
            Phase::Backoff { until } => Some(until),
            _ => None,
        };
        self.modules.values().filter_map(until).min()
    }

    /// The modules as edgeAgent reports them.
    pub(super) fn report(&self) -> BTreeMap<String, Value> {
        self.modules.iter().map(|(name, module)| (name.clone(), module.report())).collect()
    }

    /// The modules as the daemon sees them.
    pub(super) fn list(&self) -> Vec<Seen<'_>> {
        self.modules.iter().map(|(name, module)| Seen { name, module }).collect()
    }
}

/// A module as the daemon sees it.
pub(super) struct Seen<'a> {
    pub(super) name: &'a str,
    module: &'a Module,
}

impl Seen<'_> {
    pub(super) fn image(&self) -> &str {
        &self.module.spec.image
    }

    /// As Docker knows it: a waiting module is one that has ended.
    pub(super) fn status(&self) -> &'static str {
        match self.module.phase {
            Phase::Backoff { .. } if self.module.exit_code == 0 => "stopped",
            Phase::Backoff { .. } => "failed",
            _ => self.module.status(),
        }
    }

    pub(super) fn started(&self) -> Option<Timestamp> {
        self.module.started
    }

    /// When it last ended, and with which code.
    pub(super) fn exited(&self) -> Option<(Timestamp, i32)> {
        self.module.exited.map(|at| (at, self.module.exit_code))
    }
}

impl Module {
    fn new(spec: Spec) -> Self {
        Self {
            spec,
            phase: Phase::New,
            unwanted: false,
            renew: false,
            exit_code: 0,
            restarts: 0,
            started: None,
            exited: None,
            restarted: None,
        }
    }

    fn status(&self) -> &'static str {
        match self.phase {
            Phase::New | Phase::Stopped | Phase::Ended => "stopped",
            Phase::Running { .. } | Phase::Stopping { .. } => "running",
            Phase::Failed => "failed",
            Phase::Backoff { .. } => "backoff",
        }
    }

    fn report(&self) -> Value {
        let time = |at: Option<Timestamp>| at.map_or_else(|| NEVER.to_owned(), |at| at.to_string());
        let description = match self.phase {
            Phase::Running { .. } | Phase::Stopping { .. } => "running".to_owned(),
            Phase::New => "created".to_owned(),
            _ if self.exit_code != 0 => format!("Failed ({}) at {}", self.exit_code, time(self.exited)),
            _ => format!("Stopped at {}", time(self.exited)),
        };
        let spec = &self.spec;
        let env: serde_json::Map<_, _> =
            spec.env.iter().map(|(name, value)| (name.clone(), json!({ "value": value }))).collect();
        json!({
            "type": spec.kind,
            "version": spec.version,
            "status": if spec.running { "running" } else { "stopped" },
            "restartPolicy": spec.restart.as_str(),
            "imagePullPolicy": spec.pull,
            "startupOrder": spec.order,
            "runtimeStatus": self.status(),
            "exitCode": self.exit_code,
            "statusDescription": description,
            "lastStartTimeUtc": time(self.started),
            "lastExitTimeUtc": time(self.exited),
            "restartCount": self.restarts,
            "lastRestartTimeUtc": time(self.restarted),
            "settings": {
                "image": spec.image,
                "imageHash": image_hash(&spec.image),
                "createOptions": spec.create_options,
            },
            "env": env,
        })
    }
}

fn backoff(min: Duration, max: Duration, restarts: u32) -> Duration {
    min.saturating_mul(1 << restarts.min(16)).min(max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::desired::{Deployment, RestartPolicy};

    const S: Duration = Duration::from_secs(1);

    struct World {
        supervisor: Supervisor,
        now: Now,
    }

    impl World {
        fn new() -> Self {
            let now = Now { at: Instant::now(), wall: Timestamp::UNIX_EPOCH };
            Self { supervisor: Supervisor::new(&Timings::default()), now }
        }

        fn deploy(&mut self, modules: Value) -> Vec<String> {
            let desired = json!({"schemaVersion": "1.1", "modules": modules});
            let deployment = Deployment::read(desired.as_object().expect("an object")).expect("a deployment");
            self.supervisor.deploy(&deployment.modules);
            self.round()
        }

        fn round(&mut self) -> Vec<String> {
            let steps = self.supervisor.reconcile(self.now);
            let shown = |step: &Step| match step {
                Step::Start { name, run, .. } => format!("start {name} {}", run.0),
                Step::Stop { name, run } => format!("stop {name} {}", run.0),
            };
            steps.iter().map(shown).collect()
        }

        fn exited(&mut self, name: &str, run: u64, code: i32) {
            self.supervisor.exited(self.now, name, Run(run), code);
        }

        fn status(&self, name: &str) -> String {
            self.supervisor.report()[name]["runtimeStatus"].as_str().expect("a status").to_owned()
        }
    }

    fn module(policy: RestartPolicy) -> Value {
        json!({"settings": {"image": "x"}, "restartPolicy": policy.as_str()})
    }

    #[test]
    fn policies_by_table() {
        for (policy, code, status) in [
            (RestartPolicy::Always, 0, "backoff"),
            (RestartPolicy::Always, 1, "backoff"),
            (RestartPolicy::OnFailure, 0, "stopped"),
            (RestartPolicy::OnFailure, 1, "backoff"),
            (RestartPolicy::Never, 0, "stopped"),
            (RestartPolicy::Never, 137, "failed"),
        ] {
            let mut world = World::new();
            assert_eq!(world.deploy(json!({"a": module(policy)})), ["start a 1"]);
            world.exited("a", 1, code);
            assert_eq!(world.status("a"), status, "{policy:?} {code}");
            assert_eq!(world.round(), Vec::<String>::new(), "{policy:?} {code}");
        }
    }

    #[test]
    fn a_looping_module_waits_longer_and_longer_and_is_left_alone_at_last() {
        let mut world = World::new();
        world.deploy(json!({"a": module(RestartPolicy::Always)}));
        for n in 0..20_u32 {
            world.exited("a", u64::from(n) + 1, 1);
            let wait = (S * 10 * (1 << n.min(5))).min(S * 300);
            world.now.at += wait - S;
            assert_eq!(world.round(), Vec::<String>::new(), "{n}");
            world.now.at += S;
            assert_eq!(world.round(), [format!("start a {}", n + 2)]);
        }
        world.exited("a", 21, 1);
        assert_eq!(world.status("a"), "failed");
        world.now.at += S * 1_000;
        assert_eq!(world.round(), Vec::<String>::new());
        assert!(world.supervisor.restart(world.now, "a"));
        assert_eq!(world.round(), ["start a 22"]);
    }

    #[test]
    fn a_steady_run_clears_the_count() {
        let mut world = World::new();
        world.deploy(json!({"a": module(RestartPolicy::Always)}));
        world.exited("a", 1, 1);
        world.now.at += S * 10;
        world.round();
        assert_eq!(world.supervisor.report()["a"]["restartCount"], 1);
        world.now.at += S * 600;
        world.round();
        assert_eq!(world.supervisor.report()["a"]["restartCount"], 0);
    }

    #[test]
    fn a_deployment_starts_stops_renews_and_removes() {
        let mut world = World::new();
        let image = |image: &str, status: &str, order: u32| json!({"settings": {"image": image}, "status": status, "startupOrder": order});
        let both = json!({"a": image("x", "running", 2), "b": image("x", "running", 1)});
        assert_eq!(world.deploy(both), ["start b 1", "start a 2"], "by their order");
        let renewed = json!({"a": image("y", "running", 2), "b": image("x", "stopped", 1)});
        assert_eq!(world.deploy(renewed), ["stop a 2", "stop b 1"]);
        world.exited("a", 2, 143);
        world.exited("b", 1, 143);
        assert_eq!(world.status("b"), "stopped", "a stop that was asked for is no failure");
        assert_eq!(world.round(), ["start a 3"]);
        world.exited("a", 2, 0);
        assert_eq!(world.status("a"), "running", "an earlier run's end is no news");
        assert_eq!(world.deploy(json!({})), ["stop a 3"]);
        world.exited("a", 3, 0);
        assert!(world.supervisor.report().is_empty());
    }
}
