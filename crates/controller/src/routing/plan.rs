//! What is left to do until the hub's routes are as wanted.

use std::fmt;

use ha_core::ids::PoolName;
use ha_iothub::management::{Hub, Route};
use serde::Serialize;

use super::condition::{CHARS_MAX, belongs};

/// What is to be done, in the order of the configuration; nothing where all is as wanted.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Plan {
    /// Each route that has to change.
    pub steps: Vec<Step>,
}

/// One route that has to change.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Step {
    /// As it is; `None`: it is not there.
    pub before: Option<Route>,
    /// As it has to be; `None`: it has to go.
    pub after: Option<Route>,
}

/// Why the hub is left as it is. Nothing of a pool's is changed unless all of it can be.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case", tag = "problem")]
pub enum Problem {
    /// The name is somebody else's.
    #[error("the route {name} is somebody else's: it leads to {endpoint} if {condition}")]
    Taken {
        /// The route.
        name: String,
        /// Where theirs leads.
        endpoint: String,
        /// Of what.
        condition: String,
    },
    /// The hub has no such endpoint.
    #[error("the hub has no endpoint {endpoint}, which the route {name} leads to; it has {}", there.join(", "))]
    NoEndpoint {
        /// The route.
        name: String,
        /// What it names.
        endpoint: String,
        /// What there is.
        there: Vec<String>,
    },
    /// The hub would have too many routes.
    #[error("the hub would have {would_be} routes; one of its tier may have {max}")]
    TooMany {
        /// How many there would be.
        would_be: usize,
        /// The most there may be.
        max: usize,
    },
    /// The condition is longer than anybody means.
    #[error("the condition of the route {name} has {chars} characters; at most {CHARS_MAX} are written")]
    TooLong {
        /// The route.
        name: String,
        /// How long it is.
        chars: usize,
    },
}

impl Problem {
    /// What to try.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Taken { .. } => {
                "give ours another name in [[pool.routing.route]], or take theirs over: `iotedge-ha route apply POOL --adopt`"
            }
            Self::NoEndpoint { .. } => "name one that is there, or make it first: `az iot hub message-endpoint create`",
            Self::TooMany { .. } => "remove routes that nobody needs: `az iot hub message-route list` shows them",
            Self::TooLong { .. } => "say it shorter, or let the consumer filter",
        }
    }
}

/// Compares. `wanted` are all routes of `pool`; with `adopt`, routes of these names are taken over whoever made them.
pub fn plan(hub: &Hub, pool: &PoolName, wanted: &[Route], adopt: bool) -> Result<Plan, Problem> {
    let endpoints = hub.endpoints();
    let mut steps = Vec::new();
    for route in wanted {
        check(route, &endpoints)?;
        let before = hub.route(&route.name);
        match before {
            Some(before) if before == *route => {}
            Some(before) if !adopt && !belongs(&before.condition, pool) => return Err(taken(before)),
            before => steps.push(Step { before, after: Some(route.clone()) }),
        }
    }
    let would_be = hub.routes().len() + steps.iter().filter(|step| step.before.is_none()).count();
    if steps.iter().any(|step| step.before.is_none()) && would_be > hub.routes_max() {
        return Err(Problem::TooMany { would_be, max: hub.routes_max() });
    }
    Ok(Plan { steps })
}

fn check(route: &Route, endpoints: &[String]) -> Result<(), Problem> {
    let chars = route.condition.chars().count();
    if chars > CHARS_MAX {
        return Err(Problem::TooLong { name: route.name.clone(), chars });
    }
    let there = |endpoint: &String| endpoints.iter().any(|known| known.eq_ignore_ascii_case(endpoint));
    match route.endpoint_names.iter().find(|endpoint| !there(endpoint)) {
        Some(endpoint) => {
            Err(Problem::NoEndpoint { name: route.name.clone(), endpoint: endpoint.clone(), there: endpoints.to_vec() })
        }
        None => Ok(()),
    }
}

fn taken(route: Route) -> Problem {
    let Route { name, condition, endpoint_names, .. } = route;
    Problem::Taken { name, endpoint: endpoint_names.join(", "), condition }
}

impl Plan {
    /// Whether all is as wanted.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Does it to a copy of the resource.
    pub fn apply(&self, hub: &mut Hub) {
        for step in &self.steps {
            match (&step.before, &step.after) {
                (_, Some(after)) => hub.set_route(after),
                (Some(before), None) => hub.remove_route(&before.name),
                (None, None) => {}
            }
        }
    }
}

/// As a diff: what goes with `-`, what comes with `+`.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.after.as_ref().or(self.before.as_ref()).map(|route| route.name.as_str());
        write!(f, "route {}", name.unwrap_or_default())?;
        let lines = |route: &Route| {
            [
                format!("source     {}", route.source),
                format!("condition  {}", route.condition),
                format!("endpoint   {}", route.endpoint_names.join(", ")),
                format!("enabled    {}", route.is_enabled),
            ]
        };
        let (before, after) = (self.before.as_ref().map(lines), self.after.as_ref().map(lines));
        for at in 0..4 {
            let (old, new) = (before.as_ref().map(|lines| &lines[at]), after.as_ref().map(|lines| &lines[at]));
            match (old, new) {
                (Some(old), Some(new)) if old == new => write!(f, "\n    {old}")?,
                (old, new) => {
                    for (sign, line) in [('-', old), ('+', new)] {
                        if let Some(line) = line {
                            write!(f, "\n  {sign} {line}")?;
                        }
                    }
                }
            }
        }
        Ok(())
    }
}
