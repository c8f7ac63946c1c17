//! The hub as a resource of Azure's control plane: its document, what follows from it, and operations that take their time.
//!
//! No clock of its own: every call takes the time, and an operation that is due by then is completed first.

pub(crate) mod certificates;
mod control_plane;
mod document;
mod failure;
mod in_force;
mod kept;
mod operation;
mod policies;
mod secret;
mod state;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

pub use control_plane::ControlPlane;
pub(crate) use failure::Failure;
pub(crate) use in_force::InForce;
pub(crate) use operation::Progress;
pub(crate) use state::Beginning;

use self::control_plane::{PAIRED_LOCATION, same_region};
use self::state::{Pending, State, Then, etag};
use crate::hub::Key;
use crate::throttle::Size;

/// Whether it can name what lies below the resource: 1 to `max` letters, digits, dots, underscores and hyphens.
pub(crate) fn is_name(text: &str, max: usize) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=max).contains(&text.len()) && text.bytes().all(fits)
}

/// Under what name the resource is kept beside the hub.
pub(crate) const KEPT_AS: &str = "resource";

/// The resource.
#[derive(Debug)]
pub(crate) struct Management {
    control_plane: ControlPlane,
    hub: String,
    host: String,
    beginning: Beginning,
    state: Mutex<State>,
}

/// A write that was accepted: what to ask about, and the document as it will be.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) operation: String,
    pub(crate) resource: Value,
}

impl Management {
    /// A hub as its creator leaves it, or as it was `kept`.
    ///
    /// # Errors
    /// When routes do not compile, or what was kept makes no sense.
    pub(crate) fn new(
        control_plane: ControlPlane,
        host: String,
        beginning: Beginning,
        kept: Option<Value>,
        now: Timestamp,
    ) -> Result<Self, String> {
        let hub = control_plane.hub.clone().unwrap_or_else(|| document::name_of(&host));
        let state = match kept {
            None => State::fresh(&control_plane, &beginning, now).map_err(|failure| failure.message)?,
            Some(kept) => State::resume(kept, &control_plane, &beginning, now)?,
        };
        Ok(Self { control_plane, hub, host, beginning, state: Mutex::new(state) })
    }

    /// As a new hub, given the same at its start.
    pub(crate) fn begin_again(&self, now: Timestamp) {
        match State::fresh(&self.control_plane, &self.beginning, now) {
            Ok(fresh) => *self.settled(now) = fresh,
            Err(failure) => tracing::error!(reason = %failure, "the resource is not as at the start"),
        }
    }

    /// Everything that must outlive the process.
    pub(crate) fn keep(&self, now: Timestamp) -> Value {
        self.settled(now).keep()
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

    /// What the hub goes by.
    pub(crate) fn in_force(&self, now: Timestamp) -> Arc<InForce> {
        Arc::clone(&self.settled(now).in_force)
    }

    /// A hub of another size, at once; routes that are too many for it stay.
    pub(crate) fn resize(&self, size: Size, now: Timestamp) {
        let mut state = self.settled(now);
        if document::size(&state.document).is_ok_and(|current| current == size) {
            return;
        }
        document::set_size(&mut state.document, size);
        state.etag += 1;
        let resized = |in_force: &InForce| Arc::new(InForce { size, ..in_force.clone() });
        state.in_force = resized(&state.in_force);
        if let Some(Pending { then: Then::Obey(next), .. }) = &mut state.pending {
            *next = resized(next);
        }
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
        for local in &self.beginning.local {
            if !names.iter().any(|name| name.eq_ignore_ascii_case(local)) {
                names.push(local.clone());
            }
        }
        names
    }

    /// `PUT`: the whole document, taken in at once and in force when the operation is over.
    pub(crate) fn put(
        &self,
        body: Value,
        if_match: Option<&str>,
        fresh_key: impl FnMut() -> Key,
        now: Timestamp,
    ) -> Result<Accepted, Failure> {
        let mut state = self.writable(now)?;
        state.check_etag(if_match)?;
        let Value::Object(mut document) = body else {
            return Err(Failure::bad_request("a JSON object is expected"));
        };
        document::check(&document, &self.control_plane.location)?;
        secret::restore(&mut document, &state.document)?;
        let current = state.policies.as_ref().unwrap_or(&self.beginning.policies);
        let written = policies::take(&mut document, current, fresh_key)?;
        let policies = written.as_ref().unwrap_or(current).clone();
        document.insert("systemData".into(), state.document["systemData"].clone());
        document::complete(&mut document);
        let next = InForce::read(&document, policies, &self.beginning.local)?;
        state.document = document;
        state.policies = written.or(state.policies.take());
        state.etag += 1;
        let operation = self.begin(&mut state, Then::Obey(Arc::new(next)), now);
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
        self.settled(now).operations.progress(operation, now)
    }

    fn begin(&self, state: &mut State, then: Then, now: Timestamp) -> String {
        let takes = SignedDuration::try_from(self.control_plane.takes).unwrap_or(SignedDuration::MAX);
        let due = now.checked_add(takes).unwrap_or(Timestamp::MAX);
        state.pending = Some(Pending { due, then });
        state.operations.begin(&self.control_plane.location, now, due)
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
            Some(Then::Obey(_)) => ("Transitioning", "Transitioning"),
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
                Then::Obey(next) => state.in_force = next,
                Then::FailOver => state.failed_over = !state.failed_over,
            }
        }
        state
    }
}

#[cfg(test)]
mod tests;
