use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// A hub's resource as it came, and the few parts of it that this client reads or edits.
#[derive(Debug, Clone, PartialEq)]
pub struct Hub(Value);

/// A route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Route {
    /// 1 to 64 letters, digits, `.`, `_` or `-`; unique in any case.
    pub name: String,
    /// What it takes from, such as `DeviceMessages`.
    pub source: String,
    /// Which of that; nothing means all.
    #[serde(default = "always")]
    pub condition: String,
    /// Where it leads: exactly one endpoint, `events` being the built-in one.
    pub endpoint_names: Vec<String>,
    /// Whether it is on.
    pub is_enabled: bool,
}

/// What becomes of messages of devices that no route takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fallback {
    /// They go to the built-in endpoint.
    On,
    /// They are dropped.
    Off,
}

fn always() -> String {
    "true".to_owned()
}

impl Route {
    pub(super) fn to_json(&self) -> Value {
        json!({
            "name": self.name,
            "source": self.source,
            "condition": self.condition,
            "endpointNames": self.endpoint_names,
            "isEnabled": self.is_enabled,
        })
    }
}

impl Hub {
    /// A resource as Azure shows it.
    ///
    /// # Errors
    /// What is missing or not as expected: without an entity tag, or with routes of a form that is not known, nothing may be edited.
    pub fn from_json(resource: Value) -> Result<Self, String> {
        let hub = Hub(resource);
        if hub.etag().is_empty() {
            return Err("it has no etag".to_owned());
        }
        let routing = &hub.0["properties"]["routing"];
        if !(routing.is_object() || routing.is_null()) {
            return Err("properties.routing is no object".to_owned());
        }
        let routes = &routing["routes"];
        if !(routes.is_array() || routes.is_null()) {
            return Err("properties.routing.routes is no list".to_owned());
        }
        for (n, route) in hub.listed().iter().enumerate() {
            Route::deserialize(route).map_err(|error| format!("properties.routing.routes[{n}]: {error}"))?;
        }
        Ok(hub)
    }

    /// The whole resource.
    pub fn as_json(&self) -> &Value {
        &self.0
    }

    /// The entity tag, which every write moves.
    pub fn etag(&self) -> &str {
        self.0["etag"].as_str().unwrap_or_default()
    }

    /// The pricing tier, such as `S1`.
    pub fn sku(&self) -> &str {
        self.0["sku"]["name"].as_str().unwrap_or_default()
    }

    /// The most routes that a hub of this tier may have (ARM swagger, `RoutingProperties.routes`).
    pub fn routes_max(&self) -> usize {
        if self.sku() == "F1" { 5 } else { 100 }
    }

    /// What Azure is doing with it, in Azure's words.
    pub fn state(&self) -> String {
        let said = |key: &str| self.0["properties"][key].as_str().unwrap_or("unknown").to_owned();
        let (state, provisioning) = (said("state"), said("provisioningState"));
        if state == "Active" { provisioning } else { state }
    }

    /// Whether no write goes on.
    pub fn is_settled(&self) -> bool {
        let is = |key: &str, word: &str| self.0["properties"][key].as_str().is_none_or(|said| said == word);
        is("state", "Active") && is("provisioningState", "Succeeded")
    }

    /// The routes, in order.
    pub fn routes(&self) -> Vec<Route> {
        // Each was looked at when the resource was taken in.
        self.listed().iter().filter_map(|route| Route::deserialize(route).ok()).collect()
    }

    /// The route of that name, whatever its case.
    pub fn route(&self, name: &str) -> Option<Route> {
        self.routes().into_iter().find(|route| route.name.eq_ignore_ascii_case(name))
    }

    /// What becomes of messages of devices that no route takes.
    pub fn fallback(&self) -> Fallback {
        let on = self.0["properties"]["routing"]["fallbackRoute"]["isEnabled"] == true;
        if on { Fallback::On } else { Fallback::Off }
    }

    /// Turns the fallback route off, or on where there is none yet with the one that the portal makes.
    pub fn set_fallback(&mut self, fallback: Fallback) {
        let on = fallback == Fallback::On;
        let route = &mut self.routing_mut()["fallbackRoute"];
        if route.is_object() {
            route["isEnabled"] = json!(on);
        } else if on {
            *route = json!({"name": "$fallback", "source": "DeviceMessages", "condition": "true", "endpointNames": ["events"],
                "isEnabled": true});
        }
    }

    /// The endpoints that routes may lead to, the built-in one first.
    pub fn endpoints(&self) -> Vec<String> {
        let lists = self.0["properties"]["routing"]["endpoints"].as_object().into_iter().flat_map(Map::values);
        let named = lists.filter_map(Value::as_array).flatten().filter_map(|endpoint| endpoint["name"].as_str());
        std::iter::once("events").chain(named).map(str::to_owned).collect()
    }

    /// Puts a route in the place of the one with its name, or at the end. Fields of the old one that are not known here stay.
    pub fn set_route(&mut self, route: &Route) {
        let Value::Object(fields) = route.to_json() else { return };
        let routes = self.listed_mut();
        let same = |listed: &&mut Value| listed["name"].as_str().is_some_and(|n| n.eq_ignore_ascii_case(&route.name));
        match routes.iter_mut().find(same).and_then(Value::as_object_mut) {
            Some(listed) => listed.extend(fields),
            None => routes.push(Value::Object(fields)),
        }
    }

    /// Takes a route away.
    pub fn remove_route(&mut self, name: &str) {
        let other = |listed: &Value| !listed["name"].as_str().is_some_and(|n| n.eq_ignore_ascii_case(name));
        self.listed_mut().retain(other);
    }

    fn listed(&self) -> &[Value] {
        self.0["properties"]["routing"]["routes"].as_array().map_or(&[], Vec::as_slice)
    }

    fn routing_mut(&mut self) -> &mut Value {
        let mut at = &mut self.0;
        for key in ["properties", "routing"] {
            at = &mut at[key];
            if at.is_null() {
                *at = json!({});
            }
        }
        at
    }

    fn listed_mut(&mut self) -> &mut Vec<Value> {
        let routes = &mut self.routing_mut()["routes"];
        if !routes.is_array() {
            *routes = json!([]);
        }
        match routes {
            Value::Array(routes) => routes,
            _ => unreachable!("it has just been made a list"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource() -> Value {
        json!({
            "etag": "AAAA", "sku": {"name": "S1", "later": 1}, "tags": {"a": "b"},
            "properties": {
                "state": "Active", "provisioningState": "Succeeded", "newerThanUs": {"x": [1, 2]},
                "routing": {
                    "endpoints": {"eventHubs": [{"name": "alarms", "connectionString": "…;SharedAccessKey=****"}], "new": null},
                    "routes": [
                        {"name": "Other", "source": "DeviceMessages", "endpointNames": ["alarms"], "isEnabled": true, "extra": 1},
                    ],
                    "fallbackRoute": {"name": "$fallback", "isEnabled": true},
                },
            },
        })
    }

    fn route(name: &str, condition: &str) -> Route {
        Route {
            name: name.into(),
            source: "DeviceMessages".into(),
            condition: condition.into(),
            endpoint_names: vec!["events".into()],
            is_enabled: true,
        }
    }

    #[test]
    fn an_edit_changes_one_route_and_nothing_else() {
        let mut hub = Hub::from_json(resource()).unwrap();
        assert_eq!((hub.endpoints(), hub.fallback()), (vec!["events".into(), "alarms".into()], Fallback::On));
        hub.set_route(&route("mine", "a = 'b'"));
        hub.set_route(&route("OTHER", "c = 'd'"));
        let mut expected = resource();
        let changed = json!({"name": "OTHER", "source": "DeviceMessages", "endpointNames": ["events"], "isEnabled": true,
            "extra": 1, "condition": "c = 'd'"});
        expected["properties"]["routing"]["routes"] = json!([changed, route("mine", "a = 'b'").to_json()]);
        assert_eq!(hub.as_json(), &expected);
        hub.remove_route("Mine");
        assert_eq!(hub.routes(), [route("OTHER", "c = 'd'")]);
    }

    #[test]
    fn a_route_goes_into_a_hub_that_has_no_routing_yet() {
        let mut hub = Hub::from_json(json!({"etag": "A", "properties": {"routing": null}})).unwrap();
        assert_eq!((hub.routes(), hub.fallback()), (vec![], Fallback::Off));
        hub.set_route(&route("mine", "true"));
        assert_eq!(hub.route("MINE"), Some(route("mine", "true")));
        for fallback in [Fallback::On, Fallback::Off, Fallback::On] {
            hub.set_fallback(fallback);
            assert_eq!(hub.fallback(), fallback);
        }
    }

    #[test]
    fn what_is_not_understood_is_not_edited() {
        let mut odd = resource();
        odd["properties"]["routing"]["routes"][0]["endpointNames"] = json!("alarms");
        for (resource, expected) in [
            (json!({}), "no etag"),
            (json!({"etag": "A", "properties": {"routing": []}}), "properties.routing is no object"),
            (json!({"etag": "A", "properties": {"routing": {"routes": 1}}}), "routes is no list"),
            (odd, "routes[0]: invalid type"),
        ] {
            let said = Hub::from_json(resource).unwrap_err();
            assert!(said.contains(expected), "{said}");
        }
    }

    #[test]
    fn a_write_that_goes_on_is_seen() {
        let state = |state: &str, provisioning: &str| {
            let properties = json!({"state": state, "provisioningState": provisioning});
            let hub = Hub::from_json(json!({"etag": "A", "properties": properties})).unwrap();
            (hub.is_settled(), hub.state())
        };
        assert_eq!(state("Active", "Succeeded"), (true, "Succeeded".to_owned()));
        assert_eq!(state("Active", "Transitioning"), (false, "Transitioning".to_owned()));
        assert_eq!(state("FailingOver", "Succeeded"), (false, "FailingOver".to_owned()));
    }
}
