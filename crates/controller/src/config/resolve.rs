//! From what is written to what is meant: defaults, ranges, safety.

mod drift;
mod hooks;
mod hub;
mod listen;
mod parents;
mod routing;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ha_core::brake::BrakePolicy;
use ha_core::charge::ChargeTimings;
use ha_core::ids::{ControlId, MemberId, PoolName};
use ha_core::policy::{FLAPS_MAX, Failback, FlapGuard, OnDrift, OnWorkloadFailure, Policy, Timings};
use ha_core::time::{Millis, RateBound};
use serde::Serialize;

use super::file::{RawFile, RawPolicy, RawPool, RawTimings};
use super::origin::{At, Origin};
use super::problem::{Problem, Source};
use super::{AGENT_MODULE, Config, ControllerConfig, FlagConfig, HookEvent, Members, PoolConfig, Setting};

/// How often second opinions are gathered where events tell what happens.
const SWEEP: Millis = Millis(600_000);

/// The longest span that any setting may have: longer than anybody means.
const SPAN_MAX: u64 = 30 * 24 * 3_600_000;

/// What the configuration says; complaints go into `problems`.
pub(super) fn resolve(source: &Source<'_>, raw: &RawFile, problems: &mut Vec<Problem>) -> Config {
    let mut r =
        Resolver { source, problems, settings: Vec::new(), hears_events: raw.controller.listen.address.is_some() };
    let hub = r.hub(raw);
    let controller = r.controller(raw);
    let mut pools = Vec::new();
    let mut seen = BTreeMap::new();
    for pool in &raw.pool {
        pools.extend(r.pool(raw, pool, &mut seen));
    }
    let settings = r.settings;
    Config { path: source.path.to_owned(), hub, controller, pools, settings, overrides: Vec::new() }
}

/// Nothing can be run without a pool.
pub(super) fn no_pool(source: &Source<'_>) -> Problem {
    let hint = "add one: [[pool]] with name = \"press_1\" and members = [\"edge-a\", \"edge-b\"]";
    Problem::of(source, &Origin::File(0..0), "there is no pool", hint)
}

pub(super) struct Resolver<'a> {
    source: &'a Source<'a>,
    problems: &'a mut Vec<Problem>,
    settings: Vec<Setting>,
    /// Events tell what happens, so looking round in vain can wait.
    hears_events: bool,
}

impl Resolver<'_> {
    fn controller(&mut self, raw: &RawFile) -> ControllerConfig {
        let c = &raw.controller;
        let name = self.text("controller.name", &c.name, &host_name());
        if let Some(at) = c.name.as_ref().filter(|at| at.value.is_empty() || at.value.len() > 128) {
            self.complain(
                &at.origin,
                "a controller's name has 1 to 128 characters",
                "leave it out for the host's name",
            );
        }
        let state_dir = match &c.state_dir {
            Some(at) => self.note("controller.state_dir", at, self.beside(&at.value)),
            None => self.default("controller.state_dir", self.default_state_dir()),
        };
        let control = self.text("controller.control", &c.control, "ha-control");
        if let Some(at) = c.control.as_ref().filter(|at| !is_device_id(&at.value)) {
            self.complain(&at.origin, format!("{:?} is no device id", at.value), DEVICE_ID_HINT);
        }
        let history_days = self.number("controller.history_days", &[&c.history_days], 90, 1..=3650);
        ControllerConfig {
            name,
            state_dir,
            control: ControlId::new(control),
            charge: self.charge(raw),
            brake: self.brake(raw),
            listen: self.listen(&c.listen),
            decisions_off: self.value("controller.decisions_off", &[&c.decisions_off], false),
            history_days: u32::try_from(history_days).unwrap_or(90),
        }
    }

    fn charge(&mut self, raw: &RawFile) -> ChargeTimings {
        let c = &raw.controller;
        let usual = ChargeTimings::default();
        let ttl = self.span("controller.control_ttl_ms", &[&c.control_ttl_ms], usual.ttl);
        let renew = self.span("controller.control_renew_ms", &[&c.control_renew_ms], usual.renew);
        let charge = ChargeTimings { ttl, renew, ..usual };
        if let Some(reason) = charge.check() {
            let origin = first_origin(&[&c.control_ttl_ms, &c.control_renew_ms]);
            self.complain(&origin, reason, "the defaults (10000 and 3000) suit most; see docs/concepts/timings.md");
        }
        charge
    }

    fn brake(&mut self, raw: &RawFile) -> BrakePolicy {
        let b = &raw.controller.brake;
        let usual = BrakePolicy::default();
        let percent = self.number("controller.brake.percent", &[&b.percent], usual.percent.into(), 1..=100);
        let at_least = self.number("controller.brake.at_least", &[&b.at_least], usual.at_least as u64, 1..=1_000_000);
        BrakePolicy { percent: u8::try_from(percent).unwrap_or(100), at_least: usize::try_from(at_least).unwrap_or(1) }
    }

    fn pool(&mut self, raw: &RawFile, at: &At<RawPool>, seen: &mut BTreeMap<String, Origin>) -> Option<PoolConfig> {
        let pool = &at.value;
        let name = match pool.name.value.parse::<PoolName>() {
            Ok(name) => name,
            Err(bad) => {
                self.complain(&pool.name.origin, bad.to_string(), "a dash would be a minus in route queries: use '_'");
                return None;
            }
        };
        if let Some(first) = seen.insert(name.to_string(), pool.name.origin.clone()) {
            let reason = format!("pool {name} is there already, at {}", self.source.origin(&first));
            self.complain(&pool.name.origin, reason, "pool names are unique");
        }
        let key = |rest: &str| format!("pool.{name}.{rest}");
        self.note(&key("name"), &pool.name, name.clone());
        let members = self.members(&key, pool)?;
        let timings = self.timings(&key, &pool.timings, &raw.defaults.timings, &pool.name.origin);
        let hooks = self.hooks(&key, &raw.hook, &pool.hook);
        let consults = hooks.iter().any(|hook| hook.on == HookEvent::BeforeSwitchover);
        let policy = Policy { consults, ..self.policy(&key, &pool.policy, &raw.defaults.policy, timings) };
        let parents = self.parents(&key, pool.parents.as_ref(), &members);
        let ignore = self.ignore(&key, &pool.drift, &members);
        let agent_module = self.value(
            &key("agent_module"),
            &[&pool.agent_module, &raw.defaults.agent_module],
            AGENT_MODULE.to_owned(),
        );
        let workload_module =
            pool.workload_module.as_ref().map(|at| self.note(&key("workload_module"), at, at.value.clone()));
        self.module_ids(pool, raw);
        let flag = self.flag(&key, pool, &members);
        self.agents(&name, pool, &members, &agent_module, flag.as_ref(), seen);
        let rto = pool.rto_ms.as_ref().map(|at| self.note(&key("rto_ms"), at, Millis(at.value)));
        let routing = self.routing(raw, &name, pool, &members, seen);
        Some(PoolConfig {
            name,
            members,
            agent_module,
            workload_module,
            routing,
            flag,
            rto,
            hooks,
            parents,
            ignore,
            policy,
        })
    }

    /// A device may belong to several pools, with an agent module for each.
    fn agents(
        &mut self,
        name: &PoolName,
        pool: &RawPool,
        members: &Members,
        agent: &str,
        flag: Option<&FlagConfig>,
        seen: &mut BTreeMap<String, Origin>,
    ) {
        let Members::Listed(listed) = members else { return };
        for member in listed {
            if let Some(flag) = flag.filter(|flag| flag.tells(member)) {
                let module = flag.module.as_deref().unwrap_or_default();
                if seen.insert(format!("{member}/{module}/{}", flag.path.join(".")), pool.name.origin.clone()).is_some()
                {
                    let reason = format!("{member} is in another pool already, with the same flag");
                    self.complain(&pool.name.origin, reason, format!("give {name} a flag of its own"));
                }
                continue;
            }
            // No pool's name has a slash.
            if seen.insert(format!("{member}/{agent}"), pool.name.origin.clone()).is_some() {
                let reason = format!("{member} is in another pool already, with the same agent module {agent}");
                self.complain(&pool.name.origin, reason, format!("give {name} an agent_module of its own"));
            }
        }
    }

    fn module_ids(&mut self, pool: &RawPool, raw: &RawFile) {
        for at in [&pool.agent_module, &raw.defaults.agent_module, &pool.workload_module].into_iter().flatten() {
            if !is_device_id(&at.value) || at.value.starts_with('$') {
                self.complain(&at.origin, format!("{:?} is no module id", at.value), DEVICE_ID_HINT);
            }
        }
    }

    fn members(&mut self, key: &dyn Fn(&str) -> String, pool: &RawPool) -> Option<Members> {
        match (&pool.members, &pool.select) {
            (Some(_), Some(select)) => {
                self.complain(&select.origin, "members is given as well", "keep one of the two");
                None
            }
            (None, None) => {
                let hint = "members = [\"edge-a\", \"edge-b\"], or select = \"tags.site = 'm1'\"";
                self.complain(&pool.name.origin, "the pool has no members", hint);
                None
            }
            (Some(listed), None) => self.listed(key, listed),
            (None, Some(select)) => {
                if select.value.trim().is_empty() || select.value.len() > 4_000 || select.value.contains(';') {
                    self.complain(&select.origin, "this is no query condition", "such as tags.site = 'm1'");
                }
                let condition = self.note(&key("select"), select, select.value.trim().to_owned());
                Some(Members::Selected(condition))
            }
        }
    }

    fn listed(&mut self, key: &dyn Fn(&str) -> String, listed: &At<Vec<At<String>>>) -> Option<Members> {
        if listed.value.is_empty() {
            self.complain(&listed.origin, "the pool has no members", "list the device ids, in the order of priority");
            return None;
        }
        let mut ids: Vec<MemberId> = Vec::new();
        for at in &listed.value {
            let id = MemberId::new(at.value.clone());
            if !is_device_id(&at.value) {
                self.complain(&at.origin, format!("{:?} is no device id", at.value), DEVICE_ID_HINT);
            } else if ids.contains(&id) {
                self.complain(&at.origin, format!("{id} is there already"), "each member once");
            } else {
                ids.push(id);
            }
        }
        Some(Members::Listed(self.note(&key("members"), listed, ids)))
    }

    fn timings(&mut self, key: &dyn Fn(&str) -> String, own: &RawTimings, all: &RawTimings, pool: &Origin) -> Timings {
        let mut usual = Timings::default();
        if self.hears_events {
            usual.evidence = SWEEP;
        }
        let mut span = |name: &str, at: [&Option<At<u64>>; 2], usual: Millis| {
            self.span(&key(&format!("timings.{name}")), &at, usual)
        };
        let mut timings = Timings {
            ttl: span("ttl_ms", [&own.ttl_ms, &all.ttl_ms], usual.ttl),
            renew: span("renew_ms", [&own.renew_ms, &all.renew_ms], usual.renew),
            call_timeout: span("call_timeout_ms", [&own.call_timeout_ms, &all.call_timeout_ms], usual.call_timeout),
            retry: span("retry_ms", [&own.retry_ms, &all.retry_ms], usual.retry),
            stop: span("stop_ms", [&own.stop_ms, &all.stop_ms], usual.stop),
            standby_hold: span("standby_hold_ms", [&own.standby_hold_ms, &all.standby_hold_ms], usual.standby_hold),
            anchor_read: span("anchor_read_ms", [&own.anchor_read_ms, &all.anchor_read_ms], usual.anchor_read),
            evidence: span("evidence_ms", [&own.evidence_ms, &all.evidence_ms], usual.evidence),
            rate: usual.rate,
        };
        let ppm = [&own.clock_rate_ppm, &all.clock_rate_ppm];
        let rate = self.number(&key("timings.clock_rate_ppm"), &ppm, usual.rate.0.into(), 1..=100_000);
        timings.rate = RateBound(u32::try_from(rate).unwrap_or(100_000));
        for bad in timings.check() {
            let reason = bad.to_string();
            let origin = timing_named(own, &reason).or_else(|| timing_named(all, &reason));
            let origin = origin.or_else(|| any_timing(own)).or_else(|| any_timing(all)).unwrap_or_else(|| pool.clone());
            self.complain(&origin, reason, "raise ttl_ms or lower the others; `estimate` shows what a choice costs");
        }
        timings
    }

    fn policy(&mut self, key: &dyn Fn(&str) -> String, own: &RawPolicy, all: &RawPolicy, timings: Timings) -> Policy {
        let usual = Policy::default();
        let after = [&own.failback_after_ms, &all.failback_after_ms];
        let after = self.span(&key("policy.failback_after_ms"), &after, Millis(600_000));
        let failback = [&own.failback, &all.failback];
        let failback = match self.word(&key("policy.failback"), &failback, ["manual", "automatic"]) {
            "automatic" => Failback::Automatic { after },
            _ => Failback::Manual,
        };
        let max = [&own.max_failovers, &all.max_failovers];
        let max = self.number(&key("policy.max_failovers"), &max, usual.flap_guard.max.into(), 1..=FLAPS_MAX.into());
        let window = [&own.failover_window_ms, &all.failover_window_ms];
        let window = self.span(&key("policy.failover_window_ms"), &window, usual.flap_guard.window);
        let failing = [&own.on_workload_failure, &all.on_workload_failure];
        let on_workload_failure = match self.word(&key("policy.on_workload_failure"), &failing, ["switch", "stay"]) {
            "stay" => OnWorkloadFailure::Stay,
            _ => OnWorkloadFailure::Switch,
        };
        let on_drift = match self.word(&key("policy.drift"), &[&own.drift, &all.drift], ["warn", "block", "ignore"]) {
            "block" => OnDrift::Block,
            "ignore" => OnDrift::Ignore,
            _ => OnDrift::Warn,
        };
        let flap_guard = FlapGuard { max: u32::try_from(max).unwrap_or(FLAPS_MAX), window };
        Policy { timings, failback, flap_guard, on_workload_failure, on_drift, ..usual }
    }

    pub(super) fn word<'w, const N: usize>(
        &mut self,
        key: &str,
        given: &[&Option<At<String>>],
        words: [&'w str; N],
    ) -> &'w str {
        let said = self.value(key, given, words[0].to_owned());
        if let Some(word) = words.into_iter().find(|word| *word == said) {
            return word;
        }
        let origin = first_origin(given);
        let name = key.rsplit('.').next().unwrap_or(key);
        let known = words.map(|word| format!("{word:?}")).join(", ");
        self.complain(&origin, format!("{name} = {said:?} is none of {known}"), "choose one of them");
        words[0]
    }

    pub(super) fn text(&mut self, key: &str, given: &Option<At<String>>, usual: &str) -> String {
        self.value(key, &[given], usual.to_owned())
    }

    pub(super) fn span(&mut self, key: &str, given: &[&Option<At<u64>>], usual: Millis) -> Millis {
        Millis(self.number(key, given, usual.0, 1..=SPAN_MAX))
    }

    pub(super) fn number(
        &mut self,
        key: &str,
        given: &[&Option<At<u64>>],
        usual: u64,
        range: std::ops::RangeInclusive<u64>,
    ) -> u64 {
        let value = self.value(key, given, usual);
        if !range.contains(&value) {
            let name = key.rsplit('.').next().unwrap_or(key);
            let reason = format!("{name} = {value} is outside {}..={}", range.start(), range.end());
            self.complain(&first_origin(given), reason, format!("the default is {usual}"));
            return usual;
        }
        value
    }

    /// The first value given, noted with its origin.
    pub(super) fn value<T: Clone + Serialize>(&mut self, key: &str, given: &[&Option<At<T>>], usual: T) -> T {
        match given.iter().find_map(|at| at.as_ref()) {
            Some(at) => self.note(key, at, at.value.clone()),
            None => self.default(key, usual),
        }
    }

    pub(super) fn default<T: Serialize>(&mut self, key: &str, value: T) -> T {
        self.keep(key, &value, "default".to_owned());
        value
    }

    pub(super) fn note<T, V: Serialize>(&mut self, key: &str, at: &At<T>, value: V) -> V {
        let origin = self.source.origin(&at.origin);
        self.keep(key, &value, origin);
        value
    }

    fn keep(&mut self, key: &str, value: &impl Serialize, origin: String) {
        let value = serde_json::to_value(value).unwrap_or_default();
        self.settings.push(Setting { key: key.to_owned(), value, origin });
    }

    pub(super) fn complain(&mut self, origin: &Origin, reason: impl Into<String>, hint: impl Into<String>) {
        let problem = Problem::of(self.source, origin, reason, hint);
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    /// Relative paths are meant from the configuration file.
    fn beside(&self, path: &str) -> PathBuf {
        self.source.path.parent().unwrap_or(Path::new("")).join(path)
    }

    fn default_state_dir(&self) -> PathBuf {
        match std::env::var_os("STATE_DIRECTORY") {
            Some(given) if !given.is_empty() => PathBuf::from(given),
            _ => self.beside("iotedge-ha-state"),
        }
    }
}

pub(super) const DEVICE_ID_HINT: &str = "1 to 128 of ASCII letters, digits and - : . + % _ # * ? ! ( ) , = @ ; $ '";

pub(super) fn is_device_id(id: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-:.+%_#*?!(),=@;$'".contains(c);
    (1..=128).contains(&id.len()) && id.chars().all(allowed)
}

fn first_origin<T>(given: &[&Option<At<T>>]) -> Origin {
    given.iter().find_map(|at| at.as_ref()).map_or(Origin::File(0..0), |at| at.origin.clone())
}

/// The timing whose name a complaint begins with.
fn timing_named(timings: &RawTimings, reason: &str) -> Option<Origin> {
    let named = |(name, at): (&str, &Option<At<u64>>)| {
        reason.starts_with(name).then(|| at.as_ref().map(|at| at.origin.clone())).flatten()
    };
    listed_timings(timings).into_iter().find_map(named)
}

fn any_timing(timings: &RawTimings) -> Option<Origin> {
    listed_timings(timings).into_iter().find_map(|(_, at)| at.as_ref().map(|at| at.origin.clone()))
}

fn listed_timings(timings: &RawTimings) -> [(&'static str, &Option<At<u64>>); 9] {
    [
        ("ttl_ms", &timings.ttl_ms),
        ("renew_ms", &timings.renew_ms),
        ("call_timeout_ms", &timings.call_timeout_ms),
        ("retry_ms", &timings.retry_ms),
        ("stop_ms", &timings.stop_ms),
        ("standby_hold_ms", &timings.standby_hold_ms),
        ("anchor_read_ms", &timings.anchor_read_ms),
        ("evidence_ms", &timings.evidence_ms),
        ("clock_rate_ppm", &timings.clock_rate_ppm),
    ]
}

fn host_name() -> String {
    let said = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let said = said.trim();
    if said.is_empty() { "controller".to_owned() } else { said.to_owned() }
}
