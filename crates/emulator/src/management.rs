//! The hub as a resource of Azure's control plane: its document, its routes, and operations that take their time.
//!
//! No clock of its own: every call takes the time, and an operation that is due by then is completed first.

mod document;
mod failure;
mod secret;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

pub(crate) use failure::Failure;

use crate::routing::Table;

/// Finished operations that can still be asked about.
const OPERATIONS_MAX: usize = 100;

/// How the control plane shows the hub, and how slow it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlPlane {
    /// The subscription's id.
    pub subscription: String,
    /// The resource group.
    pub resource_group: String,
    /// The hub's name. Default: the first label of its first host name, else `emulator`.
    pub hub: Option<String>,
    /// Its region.
    pub location: String,
    /// How long a write takes. In Azure: minutes.
    pub takes: Duration,
    /// What `Retry-After` says to those who wait. Azure says 15.
    pub retry_after_s: u64,
}

impl Default for ControlPlane {
    fn default() -> Self {
        Self {
            subscription: "00000000-0000-0000-0000-000000000000".to_owned(),
            resource_group: "emulator".to_owned(),
            hub: None,
            location: "local".to_owned(),
            takes: Duration::from_secs(2),
            retry_after_s: 1,
        }
    }
}

/// The region that a failover leads to.
pub(crate) const PAIRED_LOCATION: &str = "local paired";

/// The resource.
#[derive(Debug)]
pub(crate) struct Management {
    control_plane: ControlPlane,
    hub: String,
    host: String,
    /// Endpoints that routes may name though the document does not describe them.
    local: Vec<String>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    document: Map<String, Value>,
    etag: u64,
    routes: Arc<Table>,
    failed_over: bool,
    pending: Option<Pending>,
    operations: VecDeque<Operation>,
    next_operation: u64,
}

#[derive(Debug)]
struct Pending {
    due: Timestamp,
    then: Then,
}

#[derive(Debug)]
enum Then {
    Route(Arc<Table>),
    FailOver,
}

#[derive(Debug)]
struct Operation {
    id: String,
    started: Timestamp,
    due: Timestamp,
}

/// How an operation is getting on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) started: Timestamp,
    /// When it was over, if it is.
    pub(crate) ended: Option<Timestamp>,
}

/// A write that was accepted: what to ask about, and the document as it will be.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) operation: String,
    pub(crate) resource: Value,
}

impl Management {
    /// A hub as its creator leaves it, with `routing` in place of the routes a new hub has.
    ///
    /// # Errors
    /// When the routes do not compile.
    pub(crate) fn new(
        control_plane: ControlPlane,
        host: String,
        local: Vec<String>,
        routing: Option<Value>,
        now: Timestamp,
    ) -> Result<Self, String> {
        let hub = control_plane.hub.clone().unwrap_or_else(|| document::name_of(&host));
        let mut document = document::fresh(&control_plane.location, now);
        if let Some(routing) = routing {
            document::set_routing(&mut document, routing);
        }
        document::complete(&mut document);
        let routes = document::compile(&document, &local).map_err(|problem| problem.to_string())?;
        let state = State {
            document,
            etag: 1,
            routes: Arc::new(routes),
            failed_over: false,
            pending: None,
            operations: VecDeque::new(),
            next_operation: 1,
        };
        Ok(Self { control_plane, hub, host, local, state: Mutex::new(state) })
    }

    /// The hub's name.
    pub(crate) fn hub_name(&self) -> &str {
        &self.hub
    }

    /// How the control plane was set up.
    pub(crate) fn control_plane(&self) -> &ControlPlane {
        &self.control_plane
    }

    /// The resource's id.
    pub(crate) fn id(&self) -> String {
        let ControlPlane { subscription, resource_group, .. } = &self.control_plane;
        let hub = &self.hub;
        format!(
            "/subscriptions/{subscription}/resourceGroups/{resource_group}/providers/Microsoft.Devices/IotHubs/{hub}"
        )
    }

    /// The routes in force.
    pub(crate) fn routes(&self, now: Timestamp) -> Arc<Table> {
        Arc::clone(&self.settled(now).routes)
    }

    /// The resource as `GET` shows it.
    pub(crate) fn show(&self, now: Timestamp) -> Value {
        let state = self.settled(now);
        self.shown(&state)
    }

    /// Names of the endpoints that routes may lead to, the built-in one left out.
    pub(crate) fn endpoint_names(&self, now: Timestamp) -> Vec<String> {
        let state = self.settled(now);
        let mut names = document::endpoint_names(&state.document);
        for local in &self.local {
            if !names.iter().any(|name| name.eq_ignore_ascii_case(local)) {
                names.push(local.clone());
            }
        }
        names
    }

    /// `PUT`: the whole document, taken in at once and in force when the operation is over.
    pub(crate) fn put(&self, body: Value, if_match: Option<&str>, now: Timestamp) -> Result<Accepted, Failure> {
        let mut state = self.writable(now)?;
        state.check_etag(if_match)?;
        let Value::Object(mut document) = body else {
            return Err(Failure::bad_request("a JSON object is expected"));
        };
        document::check(&document, &self.control_plane.location)?;
        secret::restore(&mut document, &state.document)?;
        document.insert("systemData".into(), state.document["systemData"].clone());
        document::complete(&mut document);
        let routes = document::compile(&document, &self.local).map_err(|e| Failure::bad_request(e.to_string()))?;
        state.document = document;
        state.etag += 1;
        let operation = self.begin(&mut state, Then::Route(Arc::new(routes)), now);
        let resource = self.shown(&state);
        Ok(Accepted { operation, resource })
    }

    /// `PATCH`: tags and nothing else.
    pub(crate) fn patch(&self, body: &Value, now: Timestamp) -> Result<Value, Failure> {
        let mut state = self.writable(now)?;
        let fields = body.as_object().ok_or_else(|| Failure::bad_request("a JSON object is expected"))?;
        if let Some(other) = fields.keys().find(|key| *key != "tags") {
            return Err(Failure::bad_request(format!(
                "only tags can be patched, not '{other}'; PUT the whole resource"
            )));
        }
        let tags = fields.get("tags").filter(|tags| tags.is_object()).cloned().unwrap_or_else(|| json!({}));
        state.document.insert("tags".into(), tags);
        state.etag += 1;
        Ok(self.shown(&state))
    }

    /// `POST …/failover`
    pub(crate) fn fail_over(&self, region: &str, now: Timestamp) -> Result<String, Failure> {
        let mut state = self.writable(now)?;
        let (_, secondary) = self.locations(&state);
        if !same_region(region, secondary) {
            return Err(Failure::bad_request(format!("failoverRegion must be the secondary region, '{secondary}'")));
        }
        Ok(self.begin(&mut state, Then::FailOver, now))
    }

    /// How an operation is getting on; `None` if it is unknown or long over.
    pub(crate) fn progress(&self, operation: &str, now: Timestamp) -> Option<Progress> {
        let state = self.settled(now);
        let found = state.operations.iter().find(|known| known.id == operation)?;
        Some(Progress { started: found.started, ended: Some(found.due).filter(|due| *due <= now) })
    }

    /// What a pricing tier and its units allow in a day.
    pub(crate) fn daily_messages(&self, now: Timestamp) -> u64 {
        document::daily_messages(&self.settled(now).document)
    }

    fn begin(&self, state: &mut State, then: Then, now: Timestamp) -> String {
        let takes = SignedDuration::try_from(self.control_plane.takes).unwrap_or(SignedDuration::MAX);
        let due = now.checked_add(takes).unwrap_or(Timestamp::MAX);
        let region = &self.control_plane.location;
        let id = STANDARD.encode(format!("id=os_ih_{:032x};region={region}", state.next_operation));
        state.next_operation += 1;
        state.operations.push_back(Operation { id: id.clone(), started: now, due });
        if state.operations.len() > OPERATIONS_MAX {
            state.operations.pop_front();
        }
        state.pending = Some(Pending { due, then });
        id
    }

    fn shown(&self, state: &State) -> Value {
        let mut shown = Map::new();
        shown.insert("id".into(), json!(self.id()));
        shown.insert("name".into(), json!(self.hub));
        shown.insert("type".into(), json!("Microsoft.Devices/IotHubs"));
        let mut document = state.document.clone();
        secret::mask(&mut document);
        shown.extend(document);
        shown.insert("etag".into(), json!(etag(state.etag)));
        let (primary, secondary) = self.locations(state);
        let (going, going_on) = match state.pending.as_ref().map(|pending| &pending.then) {
            None => ("Active", "Succeeded"),
            Some(Then::Route(_)) => ("Transitioning", "Transitioning"),
            Some(Then::FailOver) => ("FailingOver", "FailingOver"),
        };
        let properties = &mut shown["properties"];
        properties["state"] = json!(going);
        properties["provisioningState"] = json!(going_on);
        properties["hostName"] = json!(self.host);
        properties["locations"] =
            json!([{"location": primary, "role": "primary"}, {"location": secondary, "role": "secondary"}]);
        document::complete_events(&mut properties["eventHubEndpoints"]["events"], &self.hub);
        Value::Object(shown)
    }

    fn locations(&self, state: &State) -> (&str, &str) {
        let here = self.control_plane.location.as_str();
        if state.failed_over { (PAIRED_LOCATION, here) } else { (here, PAIRED_LOCATION) }
    }

    fn writable(&self, now: Timestamp) -> Result<MutexGuard<'_, State>, Failure> {
        let state = self.settled(now);
        if state.pending.is_some() {
            return Err(Failure::not_active(&self.hub));
        }
        Ok(state)
    }

    fn settled(&self, now: Timestamp) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pending) = state.pending.take_if(|pending| pending.due <= now) {
            match pending.then {
                Then::Route(routes) => state.routes = routes,
                Then::FailOver => state.failed_over = !state.failed_over,
            }
        }
        state
    }
}

impl State {
    fn check_etag(&self, if_match: Option<&str>) -> Result<(), Failure> {
        let Some(given) = if_match.map(|given| given.trim().trim_matches('"')).filter(|given| !given.is_empty()) else {
            return Err(Failure::precondition("an update of a hub that exists needs If-Match with its etag"));
        };
        if given == "*" || given == etag(self.etag) {
            return Ok(());
        }
        Err(Failure::precondition("the etag in If-Match is not the hub's; read it again"))
    }
}

/// Base64 of a big-endian counter, as in `AAAAAAFD6M4=`.
fn etag(counter: u64) -> String {
    STANDARD.encode(counter.to_be_bytes())
}

/// `West US` and `westus` are one.
pub(crate) fn same_region(left: &str, right: &str) -> bool {
    let bare = |text: &str| text.replace(' ', "").to_ascii_lowercase();
    bare(left) == bare(right)
}

#[cfg(test)]
mod tests;
