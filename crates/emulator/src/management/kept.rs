//! What of the resource outlives the process, once somebody has written to it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::control_plane::ControlPlane;
use super::document;
use super::in_force::InForce;
use super::operation::Operations;
use super::state::{Beginning, State};
use crate::access::Policies;

/// Everything but what is in force: an operation that was under way is over when the hub comes back.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    document: Map<String, Value>,
    etag: u64,
    policies: Option<Policies>,
    failed_over: bool,
    operations: Operations,
}

impl State {
    /// The state as one value.
    pub(super) fn keep(&self) -> Value {
        json!(Kept {
            document: self.document.clone(),
            etag: self.etag,
            policies: self.policies.clone(),
            failed_over: self.will_have_failed_over(),
            operations: self.operations.clone(),
        })
    }

    /// The state that was kept. Where the hub is, and what the command line insists on, goes by the command line.
    ///
    /// # Errors
    /// When it cannot be read, or no longer makes sense: a route may lead to an endpoint that is not there this time.
    pub(super) fn resume(
        kept: Value,
        control_plane: &ControlPlane,
        beginning: &Beginning,
        now: Timestamp,
    ) -> Result<Self, String> {
        let kept = Kept::deserialize(kept).map_err(|e| format!("the kept resource cannot be read: {e}"))?;
        let Kept { mut document, etag, policies, failed_over, mut operations } = kept;
        document.insert("location".into(), json!(control_plane.location));
        document::check(&document, &control_plane.location)
            .map_err(|failure| format!("the kept resource: {failure}"))?;
        document::complete(&mut document);
        if let Some(routing) = &beginning.routing {
            warn_of_other_routes(&document, routing);
        }
        beginning.impose(&mut document);
        let rules_of = policies.clone().unwrap_or_else(|| beginning.policies.clone());
        let in_force = InForce::read(&document, rules_of, &beginning.local).map_err(|failure| {
            format!(
                "what was written through Resource Manager and kept: {failure}; name what is missing with --endpoint, \
                 or begin with an empty state"
            )
        })?;
        operations.finish(now);
        let in_force = in_force.into();
        Ok(Self { document, etag, policies, in_force, failed_over, pending: None, operations })
    }
}

fn warn_of_other_routes(kept: &Map<String, Value>, routing: &Value) {
    let mut begun = document::with_routing(routing.clone());
    document::complete(&mut begun);
    if kept["properties"]["routing"] != begun["properties"]["routing"] {
        tracing::warn!(
            "routes were written through Resource Manager and kept: they are in force, and --routing is left alone"
        );
    }
}
