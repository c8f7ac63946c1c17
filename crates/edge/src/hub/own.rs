//! What edgeHub does in its own name: routes from its twin, its clients in its reports, its methods.

use std::time::{Duration, Instant};

use ha_wire::Map;
use ha_wire::topics::{Filter, FromDevice, RequestId};
use serde_json::{Value, json};

use super::route::{Passing, Route, Sink};
use super::{EdgeHub, Effect, Now, UpstreamOrder};
use crate::id::Id;
use crate::timings::Timings;

/// The configuration of edgeHub, and its counters.
#[derive(Debug)]
pub(super) struct Own {
    routes: Vec<Route>,
    ttl: Duration,
    ttl_default: Duration,
    applied: Option<u64>,
    cleared: bool,
    messages: u64,
    pub(super) cleanup_at: Instant,
}

impl Own {
    pub(super) fn new(timings: &Timings, now: Instant) -> Self {
        Self {
            routes: all_upstream(),
            ttl: timings.message_ttl,
            ttl_default: timings.message_ttl,
            applied: None,
            cleared: false,
            messages: 0,
            cleanup_at: now + timings.message_cleanup,
        }
    }

    pub(super) fn next_message(&mut self) -> u64 {
        self.messages += 1;
        self.messages
    }

    /// Where a message goes, each place once, by the route that goes first.
    pub(super) fn ways(&self, message: &Passing<'_>) -> Vec<(Sink, u8, Duration)> {
        let mut ways: Vec<(Sink, u8, Duration)> = Vec::new();
        for route in self.routes.iter().filter(|route| route.takes(message)) {
            let way = (route.sink.clone(), route.priority, route.ttl.unwrap_or(self.ttl));
            match ways.iter_mut().find(|(sink, ..)| *sink == route.sink) {
                Some(known) if known.1 <= way.1 => {}
                Some(known) => *known = way,
                None => ways.push(way),
            }
        }
        ways
    }

    /// Takes over a desired section; all of it or, with a reason, nothing.
    fn apply(&mut self, desired: &Map) -> Result<(), (u32, String)> {
        match desired.get("schemaVersion").and_then(Value::as_str) {
            None | Some("1.0" | "1.1" | "1.2" | "1.3") => {}
            Some(other) => return Err((412, format!("schema version {other} is not supported"))),
        }
        let routes = match desired.get("routes") {
            None => all_upstream(),
            Some(Value::Object(routes)) => {
                let named = routes.iter().filter(|(_, route)| !route.is_null());
                let read = named.map(|(name, route)| {
                    Route::read(route).map_err(|reason| (400, format!("route {name:?}: {reason}")))
                });
                read.collect::<Result<_, _>>()?
            }
            Some(_) => return Err((400, "`routes` is no object".to_owned())),
        };
        let ttl = desired.get("storeAndForwardConfiguration").and_then(|c| c.get("timeToLiveSecs"));
        self.ttl = match ttl {
            None => self.ttl_default,
            Some(ttl) => {
                let seconds = ttl.as_u64().ok_or((400, "timeToLiveSecs is no number".to_owned()))?;
                Duration::from_secs(seconds)
            }
        };
        self.routes = routes;
        Ok(())
    }
}

/// Where no deployment says anything, everything goes upstream.
fn all_upstream() -> Vec<Route> {
    Route::read(&json!("FROM /messages/* INTO $upstream")).into_iter().collect()
}

/// What edgeHub calls itself.
pub(crate) fn version() -> Value {
    json!({"version": concat!("iotedge-ha-edge ", env!("CARGO_PKG_VERSION")), "build": "0", "commit": ""})
}

/// A client's name in the reports: names of properties hold neither dot, dollar nor space.
fn client_name(id: &Id) -> String {
    id.to_string().replace('.', "%2E").replace('$', "%24").replace(' ', "%20")
}

impl EdgeHub {
    pub(super) fn open_own(&mut self, now: Instant) {
        let id = self.own_id();
        self.client(now, &id);
        self.open_link(&id);
        self.upstream(&id, UpstreamOrder::Subscribe(Filter::DesiredChanges));
        self.upstream(&id, UpstreamOrder::Subscribe(Filter::MethodCalls));
        let mut patch = Map::new();
        patch.insert("schemaVersion".into(), "1.0".into());
        patch.insert("version".into(), version());
        self.client(now, &id).twin.report(now, patch, Duration::ZERO);
    }

    /// Takes over the routes of its twin, and reports how that went.
    pub(super) fn apply_own_desired(&mut self, now: Now) {
        let id = self.own_id();
        let Some(desired) = self.clients.get(&id).and_then(|client| client.twin.desired()).cloned() else { return };
        let version = desired.get("$version").and_then(Value::as_u64);
        if version.is_none() || version == self.own.applied {
            return;
        }
        self.own.applied = version;
        let (code, description) = match self.own.apply(&desired) {
            Ok(()) => (200, String::new()),
            Err((code, reason)) => {
                tracing::warn!(reason, "the configuration of edgeHub is refused; the last one stays");
                (code, reason)
            }
        };
        self.report_own(
            now,
            json!({
                "lastDesiredVersion": version,
                "lastDesiredStatus": {"code": code, "description": description},
            }),
        );
    }

    /// What an earlier life reported as connected is not.
    pub(super) fn forget_clients_of_an_earlier_life(&mut self, now: Now) {
        if std::mem::replace(&mut self.own.cleared, true) {
            return;
        }
        let own = self.clients.get(&self.own_id());
        let reported = own.and_then(|client| client.twin.reported()?.get("clients")?.as_object());
        let here: Vec<String> = self.clients.keys().map(client_name).collect();
        let gone = reported.into_iter().flat_map(Map::keys).filter(|name| !here.contains(name));
        let clients: Map = gone.map(|name| (name.clone(), Value::Null)).collect();
        if !clients.is_empty() {
            self.report_own(now, json!({ "clients": clients }));
        }
    }

    pub(super) fn note_connected(&mut self, now: Now, id: &Id) {
        let entry = json!({"status": "Connected", "lastConnectedTimeUtc": now.wall.to_string()});
        self.report_client(now, id, entry);
    }

    pub(super) fn note_disconnected(&mut self, now: Now, id: &Id) {
        let entry = match id.module {
            Some(_) => json!({"status": "Disconnected", "lastDisconnectedTimeUtc": now.wall.to_string()}),
            None => Value::Null,
        };
        self.report_client(now, id, entry);
    }

    fn report_client(&mut self, now: Now, id: &Id, entry: Value) {
        let clients = Map::from_iter([(client_name(id), entry)]);
        self.report_own(now, json!({ "clients": clients }));
    }

    fn report_own(&mut self, now: Now, patch: Value) {
        let (id, delay) = (self.own_id(), self.timings.reported_sync);
        if let Value::Object(patch) = patch {
            self.client(now.at, &id).twin.report(now.at, patch, delay);
        }
    }

    pub(super) fn own_method(&mut self, id: &Id, name: &str, rid: RequestId, payload: &[u8]) {
        let (status, body) = if name.eq_ignore_ascii_case("RefreshDeviceScopeIdentityCache") {
            let body: Value = serde_json::from_slice(payload).unwrap_or_default();
            match body.get("deviceIds").and_then(Value::as_array) {
                Some(ids) => {
                    let ids = ids.iter().filter_map(Value::as_str).map(str::to_owned).collect();
                    self.effects.push(Effect::RefreshScope(ids));
                    (200, Value::Null)
                }
                None => (400, json!({"message": "deviceIds is missing"})),
            }
        } else {
            (404, json!({"message": format!("method {name} is not supported")}))
        };
        let topic = FromDevice::MethodAnswer { status, rid };
        self.upstream(id, UpstreamOrder::Publish { topic, payload: body.to_string().into_bytes() });
    }
}
