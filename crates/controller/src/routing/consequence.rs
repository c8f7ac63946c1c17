//! What routes do to messages that nobody thought of.

use std::fmt;

use ha_iothub::management::{Fallback, Hub, Route};
use serde::Serialize;

/// The built-in endpoint.
const BUILT_IN: &str = "events";
const MESSAGES: &str = "DeviceMessages";

/// Something that follows from the routes and is easily overlooked (Microsoft docs: fallback route, built-in endpoint).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Consequence {
    /// What no route takes goes to the built-in endpoint: messages of members that are not active, too.
    StandbysFallBack,
    /// What a route takes goes nowhere else: readers of the built-in endpoint lose the active member.
    ActiveLeavesBuiltIn,
    /// What no route takes is dropped: messages of other devices, too.
    OthersDropped,
}

impl fmt::Display for Consequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::StandbysFallBack => {
                "the fallback route is on: messages of members that are not active go to the built-in endpoint (events); \
                 --fallback off ends that, for all devices that no route takes messages of"
            }
            Self::ActiveLeavesBuiltIn => {
                "messages of the active member leave the built-in endpoint (events), for what a route takes does not fall back; \
                 add a route to events if somebody reads there"
            }
            Self::OthersDropped => {
                "the fallback route is off: messages that no route takes are dropped, those of devices outside the pool too"
            }
        })
    }
}

/// What follows once `hub` has these routes.
pub fn consequences(hub: &Hub, wanted: &[Route]) -> Vec<Consequence> {
    if !wanted.iter().any(|route| route.source == MESSAGES) {
        return Vec::new();
    }
    let leads_to_built_in = |route: &Route| {
        let there = route.endpoint_names.iter().any(|endpoint| endpoint.eq_ignore_ascii_case(BUILT_IN));
        route.source == MESSAGES && route.is_enabled && there
    };
    match hub.fallback() {
        Fallback::Off => vec![Consequence::OthersDropped],
        Fallback::On if wanted.iter().any(leads_to_built_in) => vec![Consequence::StandbysFallBack],
        Fallback::On => vec![Consequence::StandbysFallBack, Consequence::ActiveLeavesBuiltIn],
    }
}
