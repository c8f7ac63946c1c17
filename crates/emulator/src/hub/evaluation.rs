//! Evaluation of configurations: who is targeted, what stands in their twins, what the metrics count.
//!
//! [`decide`] says what should be; [`Hub::evaluate`] makes it so and touches nothing that is so already. What people
//! change in a place that a configuration owns is put back; what no configuration names stays, also when a device is no
//! longer targeted or a configuration is deleted.

mod decide;
#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub(super) use decide::Rule;

use super::configuration::{Claim, settle};
use super::limits;
use super::query::{Query, Source};
use super::refusal::Refusal;
use super::{Hub, Id};
use decide::{Decision, decide};

/// How a configuration stands with a twin, as twins show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Status {
    /// The condition holds, but another configuration has its place.
    Targeted,
    /// It is in force.
    Applied,
}

/// What an evaluation did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Evaluated {
    /// Module identities made.
    pub modules_made: usize,
    /// Twins whose desired properties were written.
    pub twins_written: usize,
    /// Twins in which a configuration's status changed.
    pub statuses_changed: usize,
}

type Rows = Vec<(Id, Value)>;

impl Hub {
    /// Whether configurations changed since the last evaluation.
    pub fn evaluation_due(&self) -> bool {
        self.evaluation_due
    }

    /// Brings twins and metrics in line with the configurations. A second run in a row changes nothing.
    pub fn evaluate(&mut self, now: Timestamp) -> Evaluated {
        self.evaluation_due = false;
        let mut done = Evaluated::default();
        let mut decision = self.decide();
        done.modules_made = self.make_decided(&decision, now);
        if done.modules_made > 0 {
            // Conditions over module twins see the new ones.
            decision = self.decide();
        }
        self.give_up_misfits(&mut decision);
        for (id, wanted) in &mut decision {
            match self.settle_desired(id, &wanted.claims, now) {
                Ok(written) => done.twins_written += usize::from(written),
                Err(refusal) => {
                    tracing::warn!(%id, %refusal, "a configuration does not fit a twin");
                    wanted.statuses.values_mut().for_each(|status| *status = Status::Targeted);
                }
            }
        }
        done.statuses_changed = self.set_statuses(&decision, now);
        self.refresh_metrics();
        done
    }

    /// All twins of a kind as queries show them, without the index's lag.
    fn all_rows(&self, modules: bool) -> Rows {
        self.live_rows(modules, None).map(|(id, row)| (id, row.into_owned())).collect()
    }

    fn decide(&self) -> Decision {
        let rules: Vec<Rule<'_>> =
            self.configurations.iter().filter_map(|(id, configuration)| configuration.rule(id)).collect();
        if rules.is_empty() {
            return Decision::new();
        }
        decide(&rules, &self.all_rows(false), &self.all_rows(true))
    }

    /// Makes the modules that deployments name.
    fn make_decided(&mut self, decision: &Decision, now: Timestamp) -> usize {
        let mut names: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for id in decision.keys() {
            if let Some(module) = &id.module {
                names.entry(&id.device).or_default().push(module.clone());
            }
        }
        let mut made = 0;
        for (device, names) in names {
            match self.make_modules(device, &names, now) {
                Ok(count) => made += count,
                Err(refusal) => tracing::warn!(device, %refusal, "a deployment does not fit a device"),
            }
        }
        made
    }

    /// A device that cannot take all that its deployments want keeps what it has, and none of them is in force there.
    fn give_up_misfits(&self, decision: &mut Decision) {
        let misfits: BTreeSet<String> = decision
            .iter()
            .filter(|(id, wanted)| id.module.is_some() && !self.fits(id, &wanted.claims))
            .map(|(id, _)| id.device.clone())
            .collect();
        decision.retain(|id, wanted| {
            if misfits.contains(&id.device) && id.module.is_some() {
                wanted.claims.clear();
                wanted.statuses.values_mut().for_each(|status| *status = Status::Targeted);
            }
            self.exists(id)
        });
    }

    fn fits(&self, id: &Id, claims: &[Claim]) -> bool {
        let section = self.desired(id).map(|current| settle(current, claims));
        section.is_ok_and(|section| limits::check_size(&section, limits::PROPERTIES_CHARS_MAX).is_ok())
    }

    /// Makes those modules that are not there; all of them or none.
    pub(super) fn make_modules(&mut self, device: &str, names: &[String], now: Timestamp) -> Result<usize, Refusal> {
        let known = &self.find(device)?.modules;
        let own: BTreeSet<&String> = known.keys().filter(|name| !name.starts_with('$')).collect();
        let missing: Vec<&String> = names.iter().filter(|name| !known.contains_key(*name)).collect();
        if !missing.is_empty() && own.len() + missing.len() > super::module::MODULES_MAX {
            return Err(Refusal::too_many_modules());
        }
        let missing: Vec<String> = missing.into_iter().cloned().collect();
        for name in &missing {
            self.ensure_module(device, name, now);
        }
        Ok(missing.len())
    }

    /// Writes what the claims want unless it is so.
    fn settle_desired(&mut self, id: &Id, claims: &[Claim], now: Timestamp) -> Result<bool, Refusal> {
        let current = self.desired(id)?;
        let target = settle(current, claims);
        if target == *current {
            return Ok(false);
        }
        if claims.iter().any(Claim::is_whole) {
            self.impose_desired(id, target, now)?;
        } else {
            let patch = difference(current, &target);
            self.merge_desired(id, patch, now)?;
        }
        Ok(true)
    }

    fn set_statuses(&mut self, decision: &Decision, now: Timestamp) -> usize {
        let devices = self.devices.iter();
        let ids: Vec<Id> = devices
            .flat_map(|(name, device)| {
                let modules = device.modules.keys().map(move |module| Id::module(name, module));
                std::iter::once(Id::device(name)).chain(modules)
            })
            .collect();
        let nothing = BTreeMap::new();
        let mut changed = 0;
        for id in ids {
            let statuses = decision.get(&id).map_or(&nothing, |wanted| &wanted.statuses);
            changed += usize::from(self.set_configurations(&id, statuses, now));
        }
        changed
    }

    fn refresh_metrics(&mut self) {
        if self.configurations.is_empty() {
            return;
        }
        let (devices, modules) = (self.all_rows(false), self.all_rows(true));
        let found = |query: &Query| count(query, &devices, &modules);
        let mut changed = false;
        for (id, configuration) in &mut self.configurations {
            changed |= configuration.refresh_metrics(id, found);
        }
        self.revision += u64::from(changed);
    }
}

fn count(query: &Query, devices: &Rows, modules: &Rows) -> usize {
    let rows = match query.source {
        Source::Devices => devices,
        Source::Modules => modules,
        Source::Jobs => return 0,
    };
    rows.iter().filter(|(_, row)| query.admits(row)).count()
}

/// The patch that makes `target` of `current`.
fn difference(current: &Map<String, Value>, target: &Map<String, Value>) -> Map<String, Value> {
    let mut patch = Map::new();
    for (key, value) in target {
        match (current.get(key), value) {
            (Some(old), new) if old == new => {}
            (Some(Value::Object(old)), Value::Object(new)) => {
                patch.insert(key.clone(), Value::Object(difference(old, new)));
            }
            (_, new) => {
                patch.insert(key.clone(), new.clone());
            }
        }
    }
    for key in current.keys().filter(|key| !target.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    patch
}
