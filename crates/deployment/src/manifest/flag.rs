//! Content that would write our agents' flags anew.

use serde_json::{Map, Value};

use super::claim::Claim;
use crate::EDGE_AGENT;
use crate::error::Problem;

/// The key, in an agent's twin, under which the flag, the term and the key lie.
const HA: &str = "ha";

/// The variable that tells an agent its pool: a module that has it is an agent of ours.
const POOL_VARIABLE: &str = "HA_AGENT_POOL";

/// The hub asserts what a deployment sets again and again. Of an agent's twin it must therefore set nothing.
///
/// `agents` are modules known to be agents, besides those that the manifest itself shows to be one.
pub(super) fn check(claims: &[Claim], agents: &[&str]) -> Vec<Problem> {
    claims.iter().filter_map(|claim| broken(claim, claims, agents)).collect()
}

fn broken(claim: &Claim, claims: &[Claim], agents: &[&str]) -> Option<Problem> {
    let module = claim.module.as_str();
    if module.starts_with('$') {
        return None;
    }
    let names_flag = match claim.path.first() {
        Some(first) => first == HA,
        None => claim.value.get(HA).is_some(),
    };
    let overwrites = claim.is_whole() && (agents.contains(&module) || is_agent(module, claims));
    let what = match (names_flag, overwrites) {
        (true, _) => format!("sets the flag and key of {module}"),
        (false, true) => format!("sets the whole twin of {module}, an agent, and with it its flag and key"),
        (false, false) => return None,
    };
    Some(Problem {
        path: claim.pointer(),
        reason: format!("{what}: IoT Hub would assert that again and again"),
        hint: "leave the agent's twin out of the manifest; its settings belong into its environment or file",
    })
}

fn is_agent(module: &str, claims: &[Claim]) -> bool {
    claims.iter().filter(|claim| claim.module == EDGE_AGENT).any(|claim| {
        let mut section = Map::new();
        claim.settle(&mut section);
        let env = section.get("modules").and_then(|modules| modules.get(module)).and_then(|entry| entry.get("env"));
        env.and_then(Value::as_object).is_some_and(|env| env.contains_key(POOL_VARIABLE))
    })
}
