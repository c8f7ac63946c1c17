//! The hub as a resource of Azure, and a pool's routes there.

use std::collections::BTreeMap;

use ha_core::ids::PoolName;
use ha_iothub::Cloud;

use super::{At, Members, Origin, RawFile, RawPool, Resolver};
use crate::config::HubAccess;
use crate::config::file::RawHub;
use crate::config::routing::{RawRoute, RawRouting, ResourceConfig};
use crate::routing::{CHARS_MAX, Mode, RouteConfig, RoutingConfig, SOURCES, default_name, holder, is_route_name};

const NAMES_HINT: &str = "`az iot hub show --name NAME --query id` prints all three";

impl Resolver<'_> {
    pub(super) fn resource(&mut self, hub: &RawHub, access: &HubAccess, cloud: Cloud) -> Option<ResourceConfig> {
        let raw = &hub.resource;
        let given = [&raw.subscription, &raw.group, &raw.name, &raw.endpoint];
        let first = given.iter().find_map(|at| at.as_ref())?.origin.clone();
        let mut part = |key: &str, at: &Option<At<String>>| match at {
            Some(at) if is_part(&at.value) => self.note(&format!("hub.resource.{key}"), at, at.value.clone()),
            Some(at) => {
                self.complain(&at.origin, format!("{:?} is no {key} of Azure", at.value), NAMES_HINT);
                String::new()
            }
            None => {
                self.complain(&first, format!("hub.resource has no {key}"), NAMES_HINT);
                String::new()
            }
        };
        let subscription = part("subscription", &raw.subscription);
        let group = part("group", &raw.group);
        let name = part("name", &raw.name);
        let usual = cloud.resource_manager();
        let endpoint = self.text("hub.resource.endpoint", &raw.endpoint, usual).trim_end_matches('/').to_owned();
        if matches!(access, HubAccess::ConnectionString { management: None, .. }) {
            let hint = "add [hub.identity] with a source; with a connection string it is used for Azure Resource Manager alone";
            self.complain(&first, "Azure Resource Manager takes no connection string", hint);
        }
        Some(ResourceConfig { subscription, group, name, endpoint })
    }

    pub(super) fn routing(
        &mut self,
        file: &RawFile,
        name: &PoolName,
        pool: &RawPool,
        members: &Members,
        seen: &mut BTreeMap<String, Origin>,
    ) -> Option<RoutingConfig> {
        let raw = pool.routing.as_ref()?;
        let key = |rest: &str| format!("pool.{name}.routing.{rest}");
        let mode = match self.word(&key("mode"), &[&raw.mode], ["standing", "rules"]) {
            "rules" => Mode::Rules,
            _ => Mode::Standing,
        };
        if raw.route.value.is_empty() {
            self.complain(
                &raw.route.origin,
                "there is no route",
                "add one: [[pool.routing.route]] with endpoint = \"events\"",
            );
        }
        if mode == Mode::Rules {
            self.rules(raw, members, file.hub.resource.subscription.is_some());
        }
        let mut routes: Vec<RouteConfig> = Vec::new();
        for (n, route) in raw.route.value.iter().enumerate() {
            let place = format!("pool.{name}.routing.route.{n}");
            let made = self.route(&place, name, route, mode);
            // No member's name begins with a slash.
            let known = seen.insert(format!("/{}", made.name.to_ascii_lowercase()), route.endpoint.origin.clone());
            if let Some(first) = known {
                let reason = format!("a route {} is there already, at {}", made.name, self.source.origin(&first));
                self.complain(&route.endpoint.origin, reason, "give each a `name` of its own");
            }
            routes.push(made);
        }
        Some(RoutingConfig { mode, routes })
    }

    /// The controller writes these itself, at any time.
    fn rules(&mut self, raw: &RawRouting, members: &Members, has_resource: bool) {
        let origin = raw.mode.as_ref().map_or(Origin::File(0..0), |at| at.origin.clone());
        if !has_resource {
            let hint = "say where the hub is in Azure: [hub.resource] with subscription, group and name";
            self.complain(&origin, "the controller cannot rewrite routes of a hub that it cannot find", hint);
        }
        let Members::Listed(listed) = members else { return };
        if let Some(odd) = listed.iter().find(|member| !holder(member)) {
            let reason = format!("{odd} cannot stand in the condition of a route");
            self.complain(&origin, reason, "a device id with a quote needs mode = \"standing\"");
        }
    }

    fn route(&mut self, place: &str, pool: &PoolName, raw: &RawRoute, mode: Mode) -> RouteConfig {
        let key = |rest: &str| format!("{place}.{rest}");
        let endpoint = self.note(&key("endpoint"), &raw.endpoint, raw.endpoint.value.clone());
        if !is_route_name(&endpoint) {
            let hint = "the name of a routing endpoint, or \"events\" for the built-in one";
            self.complain(&raw.endpoint.origin, format!("{endpoint:?} is no endpoint's name"), hint);
        }
        let source = self.text(&key("source"), &raw.source, SOURCES[0]);
        if let Some(at) = raw.source.as_ref().filter(|at| !SOURCES.contains(&at.value.as_str())) {
            let reason = format!("source = {:?} is nothing that routes take from", at.value);
            self.complain(&at.origin, reason, format!("one of {}", SOURCES.join(", ")));
        } else if let (Some(at), Mode::Rules) = (&raw.source, mode)
            && source != SOURCES[0]
        {
            let reason = format!("with mode = \"rules\" a route takes from DeviceMessages, not from {source}");
            self.complain(&at.origin, reason, "take mode = \"standing\"");
        }
        let name = self.text(&key("name"), &raw.name, &default_name(pool, &endpoint));
        if !is_route_name(&name) {
            let origin = raw.name.as_ref().unwrap_or(&raw.endpoint).origin.clone();
            let hint = "1 to 64 letters, digits, '.', '_' or '-'";
            self.complain(&origin, format!("{name:?} is no route's name"), hint);
        }
        let condition = raw.condition.as_ref().map(|at| self.note(&key("condition"), at, at.value.trim().to_owned()));
        if let (Some(at), Some(text)) = (&raw.condition, &condition)
            && (text.is_empty() || text.chars().count() > CHARS_MAX)
        {
            let hint = format!("1 to {CHARS_MAX} characters, such as level = 'high'");
            self.complain(&at.origin, "this is no condition", hint);
        }
        RouteConfig { name, endpoint, source, condition }
    }
}

/// What may stand in an address of Azure Resource Manager: resource groups are the most liberal (Microsoft docs: naming rules).
fn is_part(text: &str) -> bool {
    let fits = |c: char| c.is_alphanumeric() || "-._()".contains(c);
    (1..=90).contains(&text.len()) && text.chars().all(fits)
}
