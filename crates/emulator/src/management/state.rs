//! What there is to know of the resource, and what it begins with.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::control_plane::ControlPlane;
use super::document;
use super::failure::Failure;
use super::in_force::InForce;
use super::operation::Operations;
use crate::access::Policies;
use crate::throttle::Size;

/// What the hub is given at its start.
#[derive(Debug, Clone)]
pub(crate) struct Beginning {
    /// In place of the routes that a new hub has.
    pub(crate) routing: Option<Value>,
    /// Endpoints that routes may name though the document does not describe them.
    pub(crate) local: Vec<String>,
    /// Its size, if somebody insists on one.
    pub(crate) size: Option<Size>,
    /// Whether signatures of policies are turned off whatever the document says.
    pub(crate) disable_local_auth: bool,
    /// Where devices upload files to, whatever the document says.
    pub(crate) upload_container: Option<String>,
    /// The policies of a new hub.
    pub(crate) policies: Policies,
}

/// The resource at a moment.
#[derive(Debug)]
pub(super) struct State {
    pub(super) document: Map<String, Value>,
    pub(super) etag: u64,
    /// Those that were written here; otherwise the hub has those of its beginning.
    pub(super) policies: Option<Policies>,
    pub(super) in_force: Arc<InForce>,
    pub(super) failed_over: bool,
    pub(super) pending: Option<Pending>,
    pub(super) operations: Operations,
}

/// A write that is not over.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) due: Timestamp,
    pub(super) then: Then,
}

/// What it ends with.
#[derive(Debug)]
pub(super) enum Then {
    Obey(Arc<InForce>),
    FailOver,
}

impl Beginning {
    /// Writes what the command line insists on into a document.
    pub(super) fn impose(&self, document: &mut Map<String, Value>) {
        if let Some(size) = self.size {
            document::set_size(document, size);
        }
        if self.disable_local_auth {
            document["properties"]["disableLocalAuth"] = json!(true);
        }
        if let Some(container) = &self.upload_container {
            document["properties"]["storageEndpoints"]["$default"]["containerName"] = json!(container);
        }
    }
}

impl State {
    /// A hub as its creator leaves it.
    pub(super) fn fresh(control_plane: &ControlPlane, beginning: &Beginning, now: Timestamp) -> Result<Self, Failure> {
        let mut document = document::fresh(&control_plane.location, now);
        if let Some(routing) = &beginning.routing {
            document["properties"]["routing"] = routing.clone();
        }
        document::complete(&mut document);
        beginning.impose(&mut document);
        let in_force = InForce::read(&document, beginning.policies.clone(), &beginning.local)?;
        Ok(Self {
            document,
            etag: 1,
            policies: None,
            in_force: Arc::new(in_force),
            failed_over: false,
            pending: None,
            operations: Operations::default(),
        })
    }

    /// In which of its regions it is, or will be.
    pub(super) fn will_have_failed_over(&self) -> bool {
        let failing = matches!(self.pending, Some(Pending { then: Then::FailOver, .. }));
        self.failed_over != failing
    }

    /// A write must name the etag that it was made from, or `*`.
    pub(super) fn check_etag(&self, if_match: Option<&str>) -> Result<(), Failure> {
        check_if_match("hub", self.etag, if_match)
    }
}

/// A change of `what` must name the etag that it was made from, or `*`.
pub(super) fn check_if_match(what: &str, counter: u64, if_match: Option<&str>) -> Result<(), Failure> {
    let Some(given) = if_match.map(|given| given.trim().trim_matches('"')).filter(|given| !given.is_empty()) else {
        let message = format!("an update of a {what} that exists needs If-Match with its etag");
        return Err(Failure::precondition(message));
    };
    if given == "*" || given == etag(counter) {
        return Ok(());
    }
    Err(Failure::precondition(format!("the etag in If-Match is not the {what}'s; read it again")))
}

/// Base64 of a big-endian counter, as in `AAAAAAFD6M4=`.
pub(super) fn etag(counter: u64) -> String {
    STANDARD.encode(counter.to_be_bytes())
}
