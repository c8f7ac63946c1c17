//! One member as its twins in the hub show it.

use std::collections::BTreeMap;

use ha_wire::Twin;
use ha_wire::twin::Section;
use serde_json::Value;

use crate::diff::{Difference, diff};
use crate::manifest::Sections;
use crate::runs::Runs;
use crate::{EDGE_AGENT, EDGE_HUB, release};

/// What a member is told and what it reports.
#[derive(Clone, PartialEq, Debug)]
pub struct Member {
    /// The desired properties that tell it, by module.
    pub sections: Sections,
    /// What it is told to run.
    pub told: Runs,
    /// What it reports to run; `None`: it has never reported.
    pub reported: Option<Runs>,
    /// How far `$edgeAgent` is.
    pub agent: Uptake,
    /// How far `$edgeHub` is.
    pub hub: Uptake,
    /// The deployments that apply to it, and whether each is `Targeted` or `Applied`.
    pub deployments: BTreeMap<String, String>,
    /// Each module as last reported.
    pub modules: BTreeMap<String, Module>,
}

/// How far a part of the runtime is with what it is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Uptake {
    /// It reports nothing of it.
    Unknown,
    /// It has taken up the newest version.
    Taken,
    /// It has not yet.
    Behind {
        /// The version it is told.
        told: u64,
        /// The version it has taken up.
        taken: u64,
    },
    /// It could not.
    Refused {
        /// The status, as in HTTP: 400 for bad content, 412 for an unknown schema version, 500 for an operation that failed.
        code: i64,
        /// What it says, shortened.
        said: String,
    },
}

/// A module as `$edgeAgent` reported it last.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Module {
    /// `running`, `backoff`, `failed`, …; `unknown` after a clean stop.
    pub status: String,
    /// What the engine says of it, shortened.
    pub said: String,
    /// Its last exit code.
    pub exit_code: Option<i64>,
    /// How often it was restarted.
    pub restarts: u64,
}

/// A clean stop of `$edgeAgent`, or one that has not run yet: it says nothing of the content.
const NOT_RUNNING: i64 = 406;

impl Member {
    /// Reads the twins of `$edgeAgent`, of `$edgeHub`, and of those other modules that are to count.
    pub fn read<'a>(agent: &Twin, hub: Option<&Twin>, others: impl IntoIterator<Item = (&'a str, &'a Twin)>) -> Self {
        let told = |twin: &Twin| twin.properties.desired.without_system_fields();
        let mut sections: Sections = others.into_iter().map(|(name, twin)| (name.to_owned(), told(twin))).collect();
        sections.insert(EDGE_AGENT.to_owned(), told(agent));
        sections.extend(hub.map(|hub| (EDGE_HUB.to_owned(), told(hub))));
        let reported = &agent.properties.reported;
        let has_reported = reported.get("modules").is_some() || reported.get("systemModules").is_some();
        Self {
            told: Runs::told(&sections),
            sections,
            reported: has_reported.then(|| Runs::reported(&reported.0)),
            agent: uptake(agent),
            hub: hub.map_or(Uptake::Unknown, uptake),
            deployments: deployments(agent),
            modules: modules(reported),
        }
    }

    /// Whether anything is told to it.
    pub fn is_told(&self) -> bool {
        !self.told.modules.is_empty()
    }

    /// Each setting that it reports otherwise than it is told.
    pub fn differences(&self) -> Vec<Difference> {
        self.reported.as_ref().map(|reported| diff(&self.told.modules, &reported.modules)).unwrap_or_default()
    }

    /// In what it does not run what it is told, in one sentence; `None`: it does, or is told nothing.
    pub fn astray(&self) -> Option<String> {
        if !self.is_told() {
            return None;
        }
        if self.reported.is_none() {
            return Some(format!("{EDGE_AGENT} has never reported"));
        }
        for (name, uptake) in [(EDGE_AGENT, &self.agent), (EDGE_HUB, &self.hub)] {
            if let Some(said) = uptake.trouble() {
                return Some(format!("{name} {said}"));
            }
        }
        let differences = self.differences();
        let (first, more) = (differences.first()?, differences.len() - 1);
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        Some(format!("{}{more}", first.place))
    }

    /// The pool's own deployments that apply to it, in one word; `None`: none does.
    pub fn release(&self, pool: &str) -> Option<String> {
        let ours: Vec<&str> =
            self.deployments.keys().map(String::as_str).filter(|id| release::is_of_pool(id, pool)).collect();
        (!ours.is_empty()).then(|| ours.join(" "))
    }
}

impl Uptake {
    /// What is wrong, for the end of a sentence about who it is.
    pub fn trouble(&self) -> Option<String> {
        match self {
            Self::Unknown | Self::Taken => None,
            Self::Behind { told, taken } => Some(format!("is at version {taken} of its properties, {told} is told")),
            Self::Refused { code, said } if said.is_empty() => Some(format!("answers with status {code}")),
            Self::Refused { code, said } => Some(format!("answers with status {code}: {said}")),
        }
    }
}

fn uptake(twin: &Twin) -> Uptake {
    let reported = &twin.properties.reported;
    let (Some(told), Some(taken)) =
        (twin.properties.desired.version(), reported.get("lastDesiredVersion").and_then(Value::as_u64))
    else {
        return Uptake::Unknown;
    };
    let status = reported.get("lastDesiredStatus");
    let code = status.and_then(|status| status.get("code")).and_then(Value::as_i64).unwrap_or(200);
    match code {
        _ if taken != told => Uptake::Behind { told, taken },
        200 => Uptake::Taken,
        NOT_RUNNING => Uptake::Unknown,
        code => {
            let said = status.and_then(|status| status.get("description")).and_then(Value::as_str).unwrap_or_default();
            Uptake::Refused { code, said: shortened(said) }
        }
    }
}

fn deployments(twin: &Twin) -> BTreeMap<String, String> {
    let status = |value: &Value| value.get("status").and_then(Value::as_str).unwrap_or("unknown").to_owned();
    twin.configurations.iter().flatten().map(|(id, value)| (id.clone(), status(value))).collect()
}

fn modules(reported: &Section) -> BTreeMap<String, Module> {
    let group = |name: &str| reported.get(name).and_then(Value::as_object).into_iter().flatten();
    let system = group("systemModules").map(|(name, entry)| (format!("${name}"), entry));
    let own = group("modules").map(|(name, entry)| (name.clone(), entry));
    system.chain(own).map(|(name, entry)| (name, module(entry))).collect()
}

fn module(entry: &Value) -> Module {
    let text = |key: &str| shortened(entry.get(key).and_then(Value::as_str).unwrap_or_default());
    Module {
        status: entry.get("runtimeStatus").map_or_else(|| "unknown".to_owned(), |_| text("runtimeStatus")),
        said: text("statusDescription"),
        exit_code: entry.get("exitCode").and_then(Value::as_i64),
        restarts: entry.get("restartCount").and_then(Value::as_u64).unwrap_or(0),
    }
}

/// What a device wrote, for one line.
fn shortened(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect();
    line.trim().to_owned()
}

#[cfg(test)]
mod tests;
