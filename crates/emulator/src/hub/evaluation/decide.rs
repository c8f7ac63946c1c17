//! What every twin should hold, from the configurations and the twins alone.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use super::super::Id;
use super::super::configuration::{Claim, Content, Target, module_names};
use super::Status;

/// A configuration as evaluation sees it.
#[derive(Debug, Clone)]
pub(in crate::hub) struct Rule<'a> {
    pub(in crate::hub) id: &'a str,
    pub(in crate::hub) priority: i64,
    pub(in crate::hub) created: Timestamp,
    pub(in crate::hub) target: Target,
    pub(in crate::hub) content: Content,
}

/// What one twin should hold.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Wanted {
    /// The weakest first.
    pub(super) claims: Vec<Claim>,
    /// Every configuration that targets it.
    pub(super) statuses: BTreeMap<String, Status>,
}

/// By twin. A module that is not there yet is to be made.
pub(super) type Decision = BTreeMap<Id, Wanted>;

/// Decides for all twins. Rules of one rank do not exist: priority, then the newer, then the id.
pub(super) fn decide(rules: &[Rule<'_>], devices: &[(Id, Value)], modules: &[(Id, Value)]) -> Decision {
    let mut ranked: Vec<&Rule<'_>> = rules.iter().collect();
    ranked.sort_by_key(|rule| (rule.priority, rule.created, rule.id));
    let mut decision = Decision::new();
    for (id, row) in devices {
        let matching: Vec<&Rule<'_>> = ranked.iter().copied().filter(|rule| rule.target.holds(row)).collect();
        if row["capabilities"]["iotEdge"] == true {
            deploy(&id.device, &matching, &mut decision);
        }
        let of_devices = |content: &Content| match content {
            Content::Device(claims) => Some(claims.clone()),
            _ => None,
        };
        configure(id, &matching, of_devices, &mut decision);
    }
    for (id, row) in modules {
        // The runtime's own modules are the deployments' alone.
        if id.module.as_ref().is_some_and(|name| name.starts_with('$')) {
            continue;
        }
        let matching: Vec<&Rule<'_>> = ranked.iter().copied().filter(|rule| rule.target.holds(row)).collect();
        let of_modules = |content: &Content| match content {
            Content::Module(claims) => Some(claims.clone()),
            _ => None,
        };
        configure(id, &matching, of_modules, &mut decision);
    }
    decision
}

/// One base, the highest there is, and over it every layer of a higher priority.
fn deploy(device: &str, matching: &[&Rule<'_>], decision: &mut Decision) {
    let deployments: Vec<(&Rule<'_>, &BTreeMap<String, Vec<Claim>>)> = matching
        .iter()
        .filter_map(|rule| match &rule.content {
            Content::Edge(modules) => Some((*rule, modules)),
            _ => None,
        })
        .collect();
    if deployments.is_empty() {
        return;
    }
    let base = deployments.iter().rfind(|(rule, _)| !rule.content.is_layer()).map(|(rule, _)| *rule);
    let in_force = |rule: &Rule<'_>| {
        base.is_some_and(|base| rule.id == base.id || (rule.content.is_layer() && rule.priority > base.priority))
    };
    let mut merged: BTreeMap<String, Vec<Claim>> = BTreeMap::new();
    for (rule, modules) in deployments.iter().filter(|(rule, _)| in_force(rule)) {
        for (module, claims) in *modules {
            merged.entry(module.clone()).or_default().extend(claims.iter().cloned());
            wanted(decision, device, module).statuses.insert(rule.id.to_owned(), Status::Applied);
        }
    }
    for name in module_names(&merged) {
        merged.entry(name).or_default();
    }
    for (module, claims) in merged {
        wanted(decision, device, &module).claims = claims;
    }
    let agent = wanted(decision, device, "$edgeAgent");
    for (rule, _) in deployments {
        let status = if in_force(rule) { Status::Applied } else { Status::Targeted };
        agent.statuses.insert(rule.id.to_owned(), status);
    }
}

/// Device and module configurations are merged, the higher over the lower; one of which nothing is left is not in force.
fn configure(id: &Id, matching: &[&Rule<'_>], pick: impl Fn(&Content) -> Option<Vec<Claim>>, decision: &mut Decision) {
    let chosen: Vec<(&str, Vec<Claim>)> =
        matching.iter().filter_map(|rule| Some((rule.id, pick(&rule.content)?))).collect();
    for (rank, (rule, claims)) in chosen.iter().enumerate() {
        let higher = || chosen[rank + 1..].iter().flat_map(|(_, claims)| claims);
        let left = |claim: &Claim| !higher().any(|other| other.covers(claim));
        let status = if claims.iter().any(left) { Status::Applied } else { Status::Targeted };
        let wanted = decision.entry(id.clone()).or_default();
        wanted.claims.extend(claims.iter().cloned());
        wanted.statuses.insert((*rule).to_owned(), status);
    }
}

fn wanted<'a>(decision: &'a mut Decision, device: &str, module: &str) -> &'a mut Wanted {
    decision.entry(Id::module(device, module)).or_default()
}
