//! The routes of a hub, compiled: which message goes where.

use ha_condition::{Condition, Subject, Verdict};
use serde::Deserialize;
use serde_json::Value;

use super::enrichment::{self, Enrichment};
use super::message::{BUILT_IN, Message, Source};
use super::problem::Problem;
use crate::throttle::Sku;

/// How many of each a hub may have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) routes: usize,
    pub(crate) endpoints: usize,
    pub(crate) enrichments: usize,
}

impl Limits {
    /// Those of a pricing tier.
    pub(crate) fn of(sku: Sku) -> Self {
        match sku {
            Sku::F1 => Self { routes: 5, endpoints: 1, enrichments: 2 },
            _ => Self { routes: 100, endpoints: 10, enrichments: 10 },
        }
    }
}

/// Compiled routes, fallback route and enrichments.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table {
    routes: Vec<Route>,
    fallback: Option<Route>,
    enrichments: Vec<Enrichment>,
}

/// A route, compiled.
#[derive(Debug, Clone)]
struct Route {
    source: Source,
    condition: Condition,
    endpoint: String,
    /// As it was described.
    described: Value,
}

/// A message on its way to an endpoint.
#[derive(Debug)]
pub(crate) struct Routed {
    pub(crate) endpoint: String,
    pub(crate) message: Message,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Described {
    endpoints: Value,
    routes: Vec<Value>,
    fallback_route: Option<Value>,
    enrichments: Vec<enrichment::Described>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct DescribedRoute {
    #[serde(default)]
    name: String,
    source: Source,
    condition: Option<String>,
    endpoint_names: Vec<String>,
    is_enabled: bool,
}

impl Table {
    /// Compiles `properties.routing` of a hub. `local` are endpoints that exist without being described there.
    pub(crate) fn compile(routing: &Value, local: &[String], limits: Limits) -> Result<Self, Problem> {
        let described = if routing.is_null() { &Value::Object(serde_json::Map::new()) } else { routing };
        let described = Described::deserialize(described).map_err(|e| Problem::new("routing", e.to_string()))?;
        let named = endpoint_names(&described.endpoints)?;
        check_count("routing.endpoints", named.len(), limits.endpoints)?;
        check_count("routing.routes", described.routes.len(), limits.routes)?;
        check_count("routing.enrichments", described.enrichments.len(), limits.enrichments)?;
        let known = |name: &str| {
            let same = |other: &String| other.eq_ignore_ascii_case(name);
            name.eq_ignore_ascii_case(BUILT_IN) || named.iter().any(same) || local.iter().any(same)
        };
        let mut routes = Vec::new();
        let mut names: Vec<String> = Vec::new();
        for (n, route) in described.routes.iter().enumerate() {
            let place = format!("routing.routes[{n}]");
            let (name, compiled) = Route::compile(route, &place, known)?;
            check_name(&name, &place)?;
            if names.contains(&name.to_ascii_lowercase()) {
                return Err(Problem::new(format!("{place}.name"), format!("there are two routes '{name}'")));
            }
            names.push(name.to_ascii_lowercase());
            routes.extend(compiled);
        }
        let fallback = match described.fallback_route.filter(|route| !route.is_null()) {
            Some(route) => Route::compile(&route, "routing.fallbackRoute", known)?.1,
            None => None,
        };
        let mut enrichments = Vec::new();
        for (n, described) in described.enrichments.into_iter().enumerate() {
            enrichments.push(Enrichment::compile(described, &format!("routing.enrichments[{n}]"), known)?);
        }
        Ok(Self { routes, fallback, enrichments })
    }

    /// Whether routing a message from this source takes a look at its sender's twin.
    pub(crate) fn needs_twin(&self, source: Source) -> bool {
        let mut routes = self.routes.iter().chain(&self.fallback).filter(|route| route.source == source);
        routes.any(|route| route.condition.needs_twin()) || self.enrichments.iter().any(Enrichment::needs_twin)
    }

    /// Where the message goes, once to each endpoint.
    pub(crate) fn route(&self, message: &Message, twin: Option<&Value>, hub: &str) -> Vec<Routed> {
        let subject = message.subject(twin);
        let mut endpoints: Vec<&str> = Vec::new();
        for route in self.matching(message, &subject) {
            if !endpoints.iter().any(|known| known.eq_ignore_ascii_case(&route.endpoint)) {
                endpoints.push(&route.endpoint);
            }
        }
        let routed = |endpoint: &str| {
            let mut message = message.clone();
            for (key, value) in self.enrichments.iter().filter_map(|e| e.property(endpoint, &subject, hub)) {
                message.application.retain(|(known, _)| !known.eq_ignore_ascii_case(&key));
                message.application.push((key, value));
            }
            Routed { endpoint: endpoint.to_owned(), message }
        };
        endpoints.into_iter().map(routed).collect()
    }

    /// The routes that take the message, as they were described.
    pub(crate) fn matched(&self, message: &Message, twin: Option<&Value>) -> Vec<Value> {
        let subject = message.subject(twin);
        self.matching(message, &subject).into_iter().map(|route| route.described.clone()).collect()
    }

    fn matching(&self, message: &Message, subject: &Subject<'_>) -> Vec<&Route> {
        let takes = |route: &&Route| route.source == message.source && route.condition.ask(subject) == Verdict::True;
        let mut matching: Vec<&Route> = self.routes.iter().filter(takes).collect();
        if matching.is_empty() {
            matching.extend(self.fallback.iter().filter(takes));
        }
        matching
    }
}

impl Route {
    /// The route's name, and the route unless it is switched off.
    fn compile(route: &Value, place: &str, known: impl Fn(&str) -> bool) -> Result<(String, Option<Self>), Problem> {
        let described = DescribedRoute::deserialize(route).map_err(|e| Problem::new(place, e.to_string()))?;
        let [endpoint] = &described.endpoint_names[..] else {
            return Err(Problem::new(format!("{place}.endpointNames"), "exactly one endpoint is expected"));
        };
        if !known(endpoint) {
            return Err(Problem::new(format!("{place}.endpointNames"), format!("there is no endpoint '{endpoint}'")));
        }
        let text = described.condition.as_deref().filter(|text| !text.trim().is_empty()).unwrap_or("true");
        let condition =
            Condition::compile(text).map_err(|e| Problem::new(format!("{place}.condition"), e.to_string()))?;
        let compiled =
            Self { source: described.source, condition, endpoint: endpoint.clone(), described: route.clone() };
        Ok((described.name, described.is_enabled.then_some(compiled)))
    }
}

impl Message {
    /// What conditions are asked about.
    pub(crate) fn subject<'a>(&'a self, twin: Option<&'a Value>) -> Subject<'a> {
        Subject { application: &self.application, system: &self.system, body: self.json(), twin }
    }
}

fn endpoint_names(endpoints: &Value) -> Result<Vec<String>, Problem> {
    let mut names = Vec::new();
    for (kind, list) in endpoints.as_object().into_iter().flatten() {
        for (n, endpoint) in list.as_array().into_iter().flatten().enumerate() {
            let place = format!("routing.endpoints.{kind}[{n}].name");
            let name = endpoint.get("name").and_then(Value::as_str).unwrap_or_default();
            check_name(name, &place)?;
            if name.eq_ignore_ascii_case(BUILT_IN)
                || names.iter().any(|known: &String| known.eq_ignore_ascii_case(name))
            {
                return Err(Problem::new(place, format!("the name '{name}' is taken")));
            }
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

/// As the control plane's schema has it: `^[A-Za-z0-9-._]{1,64}$`.
fn check_name(name: &str, place: &str) -> Result<(), Problem> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    if (1..=64).contains(&name.len()) && name.chars().all(fits) {
        return Ok(());
    }
    Err(Problem::new(place, "a name has 1 to 64 letters, digits, '.', '_' or '-'"))
}

fn check_count(place: &str, count: usize, most: usize) -> Result<(), Problem> {
    if count > most {
        return Err(Problem::new(place, format!("{count} are too many; this pricing tier allows {most}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn table(routing: &Value) -> Result<Table, Problem> {
        Table::compile(routing, &["local".to_owned()], Limits::of(Sku::S1))
    }

    fn route(name: &str, condition: &str, endpoint: &str) -> Value {
        json!({"name": name, "source": "DeviceMessages", "condition": condition,
            "endpointNames": [endpoint], "isEnabled": true})
    }

    fn message(role: &str) -> Message {
        Message::trial(Source::DeviceMessages, vec![("role".into(), role.into())], Vec::new(), bytes::Bytes::new())
    }

    fn endpoints(table: &Table, message: &Message, twin: Option<&Value>) -> Vec<String> {
        table.route(message, twin, "hub").into_iter().map(|routed| routed.endpoint).collect()
    }

    #[test]
    fn a_message_goes_once_to_each_endpoint_and_falls_back_only_if_no_route_takes_it() {
        let fallback = json!({"source": "DeviceMessages", "endpointNames": ["events"], "isEnabled": true});
        let routes = json!([
            route("a", "role = 'active'", "local"),
            route("b", "true AND role = 'active'", "LOCAL"),
            route("c", "$twin.tags.x = 1", "events"),
        ]);
        let with = table(&json!({"routes": routes, "fallbackRoute": fallback})).expect("compiles");
        let without = table(&json!({"routes": routes})).expect("compiles");
        let twin = json!({"tags": {"X": 1}});
        assert_eq!(endpoints(&with, &message("active"), None), ["local"]);
        assert_eq!(endpoints(&with, &message("active"), Some(&twin)), ["local", "events"]);
        assert_eq!(endpoints(&with, &message("standby"), None), ["events"]);
        assert_eq!(endpoints(&without, &message("standby"), None), [""; 0]);
        assert!(with.needs_twin(Source::DeviceMessages) && !with.needs_twin(Source::TwinChangeEvents));
    }

    #[test]
    fn a_route_that_is_off_or_of_another_source_takes_nothing() {
        let mut off = route("off", "true", "local");
        off["isEnabled"] = json!(false);
        let mut other = route("other", "true", "local");
        other["source"] = json!("TwinChangeEvents");
        let table = table(&json!({"routes": [off, other]})).expect("compiles");
        assert_eq!(endpoints(&table, &message("x"), None), [""; 0]);
    }

    #[test]
    fn enrichments_belong_to_endpoints_and_replace() {
        let table = table(&json!({
            "routes": [route("a", "true", "local"), route("b", "true", "events")],
            "enrichments": [
                {"key": "role", "value": "$twin.tags.role", "endpointNames": ["local"]},
                {"key": "hub", "value": "$iothubname", "endpointNames": ["local", "events"]},
                {"key": "missing", "value": "$twin.tags.no", "endpointNames": ["local"]},
                {"key": "plain", "value": "v", "endpointNames": ["local"]},
            ],
        }))
        .expect("compiles");
        let twin = json!({"tags": {"role": "from the twin"}});
        let routed = table.route(&message("own"), Some(&twin), "myhub");
        let pairs = |n: usize| -> Vec<(&str, &str)> {
            let properties = &routed[n].message.application;
            properties.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect()
        };
        let first = [("role", "from the twin"), ("hub", "myhub"), ("missing", "$twin.tags.no"), ("plain", "v")];
        assert_eq!(pairs(0), first);
        assert_eq!(pairs(1), [("role", "own"), ("hub", "myhub")]);
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        let endpoints = |names: &[&str]| -> Value { names.iter().map(|name| json!({"name": name})).collect() };
        let many: Vec<Value> = (0..101).map(|n| route(&format!("r{n}"), "true", "events")).collect();
        for (routing, expected) in [
            (json!({"routes": [route("a", "x = ", "events")]}), "routing.routes[0].condition: a value is expected"),
            (json!({"routes": [route("a", "true", "nowhere")]}), "there is no endpoint 'nowhere'"),
            (json!({"routes": [route("a b", "true", "events")]}), "a name has 1 to 64"),
            (json!({"routes": [route("a", "true", "events"), route("A", "true", "events")]}), "two routes 'A'"),
            (
                json!({"routes": [{"name": "a", "source": "Nothing", "endpointNames": ["events"], "isEnabled": true}]}),
                "routing.routes[0]: unknown variant `Nothing`",
            ),
            (
                json!({"routes": [{"name": "a", "source": "DeviceMessages", "endpointNames": [], "isEnabled": true}]}),
                "exactly one endpoint",
            ),
            (json!({"endpoints": {"eventHubs": endpoints(&["x", "X"])}}), "eventHubs[1].name: the name 'X' is taken"),
            (json!({"endpoints": {"eventHubs": endpoints(&["events"])}}), "the name 'events' is taken"),
            (
                json!({"enrichments": [{"key": "k", "value": "$twin.x", "endpointNames": ["events"]}]}),
                "routing.enrichments[0].value: 'tags' or 'properties' is expected",
            ),
            (json!({"routes": many}), "routing.routes: 101 are too many"),
            (json!({"routes": "none"}), "routing: invalid type"),
        ] {
            let problem = table(&routing).expect_err(expected).to_string();
            assert!(problem.contains(expected), "{problem} / {expected}");
        }
    }
}
