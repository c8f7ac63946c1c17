//! Looks whether everything is in place, like `iotedge check`: one file for each check.

mod agents;
mod clock;
mod configuration;
mod control;
mod credentials;
mod deployments;
mod drift;
mod fencing;
mod hooks;
mod keys;
mod members;
mod reach;
mod records;
mod rights;
mod rto;

use std::time::Duration;

use ha_core::ids::MemberId;
use ha_iothub::Call;
use serde::Serialize;

use super::report::{members_of, seat};
use crate::config::{Config, PoolConfig, Refused};
use crate::hub::Seat;
use crate::hub::iot::IotHub;

/// What came of all checks.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Each check, in the order in which they were made.
    pub findings: Vec<Finding>,
}

/// What came of one check on one thing.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Finding {
    /// The check's id, which never changes.
    pub id: &'static str,
    /// What it looks at.
    pub description: &'static str,
    /// On what: a pool, a member; `None`: on everything.
    pub subject: Option<String>,
    /// What came of it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// What came of a check.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum Outcome {
    /// All is well.
    Ok {
        /// What was found.
        found: String,
    },
    /// It works, but not for long or not well.
    Warning {
        /// What was found.
        found: String,
        /// What to try.
        hint: String,
    },
    /// It does not work.
    Error {
        /// What was found.
        found: String,
        /// What to try.
        hint: String,
    },
    /// It could not be looked at, because another check failed.
    Skipped {
        /// Which.
        because: &'static str,
    },
    /// There is nothing to look at.
    NotApplicable {
        /// Why.
        because: String,
    },
}

impl Outcome {
    fn ok(found: impl Into<String>) -> Self {
        Self::Ok { found: found.into() }
    }

    fn warning(found: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Warning { found: found.into(), hint: hint.into() }
    }

    fn error(found: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Error { found: found.into(), hint: hint.into() }
    }

    /// Whether it is an error.
    pub fn is_error(&self) -> bool {
        matches!(self, Self::Error { .. })
    }
}

impl Report {
    /// How many errors there are.
    pub fn errors(&self) -> usize {
        self.findings.iter().filter(|finding| finding.outcome.is_error()).count()
    }

    /// How many warnings there are.
    pub fn warnings(&self) -> usize {
        self.findings.iter().filter(|finding| matches!(finding.outcome, Outcome::Warning { .. })).count()
    }
}

/// A check's name.
#[derive(Clone, Copy)]
struct Check {
    id: &'static str,
    description: &'static str,
}

impl Check {
    fn on(self, subject: impl Into<Option<String>>, outcome: Outcome) -> Finding {
        Finding { id: self.id, description: self.description, subject: subject.into(), outcome }
    }
}

/// Checks everything that `offline` allows. Each finding is also told as it is made.
pub async fn run(config: Result<Config, Refused>, offline: bool, told: impl FnMut(&Finding)) -> Report {
    let mut inspection = Inspection { findings: Vec::new(), told };
    let config = match config {
        Ok(config) => {
            inspection.note(configuration::CHECK.on(None, configuration::taken(&config)));
            config
        }
        Err(refused) => {
            inspection.note(configuration::CHECK.on(None, configuration::refused(&refused)));
            inspection.skip(&ALL_AFTER_CONFIGURATION, configuration::CHECK.id);
            return Report { findings: inspection.findings };
        }
    };
    for pool in &config.pools {
        inspection.note(rto::CHECK.on(Some(pool.name.to_string()), rto::check(pool, &config)));
        inspection.note(fencing::CHECK.on(Some(pool.name.to_string()), fencing::check(pool)));
        for hook in &pool.hooks {
            inspection.note(hooks::CHECK.on(Some(format!("{}/{}", pool.name, hook.name)), hooks::check(hook)));
        }
    }
    let hub = credentials::check(&config);
    let found =
        inspection.note(credentials::CHECK.on(None, hub.as_ref().map_or_else(Clone::clone, |(_, ok)| ok.clone())));
    match hub {
        Ok((hub, _)) if !offline && !found => inspection.online(&hub, &config).await,
        Ok(_) => {}
        Err(_) => inspection.skip(&ALL_ONLINE, credentials::CHECK.id),
    }
    Report { findings: inspection.findings }
}

const ALL_AFTER_CONFIGURATION: [Check; 11] = [
    credentials::CHECK,
    reach::CHECK,
    rights::CHECK,
    clock::CHECK,
    control::CHECK,
    deployments::CHECK,
    records::CHECK,
    members::CHECK,
    keys::CHECK,
    agents::CHECK,
    drift::CHECK,
];

const ALL_ONLINE: [Check; 10] = {
    let [_, rest @ ..] = ALL_AFTER_CONFIGURATION;
    rest
};

const ALL_AFTER_REACH: [Check; 9] = {
    let [_, rest @ ..] = ALL_ONLINE;
    rest
};

struct Inspection<F> {
    findings: Vec<Finding>,
    told: F,
}

impl<F: FnMut(&Finding)> Inspection<F> {
    /// Whether it is an error.
    fn note(&mut self, finding: Finding) -> bool {
        (self.told)(&finding);
        let is_error = finding.outcome.is_error();
        self.findings.push(finding);
        is_error
    }

    fn skip(&mut self, checks: &[Check], because: &'static str) {
        for check in checks {
            self.note(check.on(None, Outcome::Skipped { because }));
        }
    }

    async fn online(&mut self, hub: &IotHub, config: &Config) {
        if self.note(reach::CHECK.on(None, reach::check(hub).await)) {
            self.skip(&ALL_AFTER_REACH, reach::CHECK.id);
            return;
        }
        self.note(rights::CHECK.on(None, rights::check(hub, config).await));
        self.note(clock::CHECK.on(None, clock::check(hub).await));
        self.note(control::CHECK.on(None, control::check(hub, config).await));
        for pool in &config.pools {
            self.pool(hub, config, pool).await;
        }
    }

    async fn pool(&mut self, hub: &IotHub, config: &Config, pool: &PoolConfig) {
        let name = pool.name.to_string();
        self.note(deployments::CHECK.on(name.clone(), deployments::check(hub, pool).await));
        self.note(records::CHECK.on(name.clone(), records::check(hub, pool, config).await));
        match members_of(hub, pool).await {
            Ok(members) if members.is_empty() => {
                let none = Outcome::error("no device is selected", "look at `select`, and at the devices' tags");
                self.note(members::CHECK.on(name, none));
            }
            Ok(members) => {
                for member in members {
                    self.member(hub, pool, &member).await;
                }
                self.note(drift::CHECK.on(name, drift::check(hub, pool).await));
            }
            Err(error) => {
                let unknown = Outcome::error(crate::hub::chain(&error), "look at `select`");
                self.note(members::CHECK.on(name, unknown));
            }
        }
    }

    async fn member(&mut self, hub: &IotHub, pool: &PoolConfig, member: &MemberId) {
        let seat = seat(pool, member);
        let subject = format!("{}/{member}", pool.name);
        if self.note(members::CHECK.on(subject.clone(), members::check(hub, &seat).await)) {
            let because = members::CHECK.id;
            for check in [keys::CHECK, agents::CHECK] {
                self.note(check.on(subject.clone(), Outcome::Skipped { because }));
            }
            return;
        }
        if seat.told_by_flag().is_some() {
            let because = "it has no agent".to_owned();
            self.note(keys::CHECK.on(subject.clone(), Outcome::NotApplicable { because }));
            self.note(agents::CHECK.on(subject, agents::check(hub, &seat, pool).await));
            return;
        }
        let (keyed, outcome) = keys::check(hub, &seat).await;
        self.note(keys::CHECK.on(subject.clone(), outcome));
        let answers =
            if keyed { agents::check(hub, &seat, pool).await } else { Outcome::Skipped { because: keys::CHECK.id } };
        self.note(agents::CHECK.on(subject, answers));
    }
}

fn patience() -> Call {
    Call::within(Duration::from_secs(15))
}

/// The twin that the controller writes to: the agent module's, or the one with the flag.
async fn own_twin(hub: &IotHub, seat: &Seat) -> Result<ha_wire::Twin, ha_iothub::Error> {
    hub.client().twin(seat.member.as_str(), own_module(seat), &patience()).await
}

fn own_module(seat: &Seat) -> Option<&str> {
    match seat.told_by_flag() {
        Some(flag) => flag.module.as_deref(),
        None => Some(&seat.agent_module),
    }
}

#[cfg(test)]
mod tests;
