//! A record as JSON.

use ha_core::anchor::{Anchor, Mark, OperatorRequest, Reason, Settled, Transition, Verb};
use ha_core::ids::{FollowerId, MemberId, Term};
use serde_json::{Map, Value, json};

use super::words;
use crate::VERSION;
use crate::text::from_wall;

/// Fields of the record that are not always there.
pub(super) const OPTIONAL: [&str; 6] = ["holder", "paused", "status", "requests", "unplanned", "followed"];

/// Fields of a request that are not always there.
pub(super) const OPTIONAL_IN_REQUEST: [&str; 4] = ["to", "fenced", "member", "on"];

pub(super) fn document(anchor: &Anchor) -> Map<String, Value> {
    let mut document = Object::new()
        .with("v", VERSION)
        .with("kind", "pool")
        .with("pool", anchor.pool.as_str())
        .with("control", anchor.control.as_str())
        .with_some("holder", anchor.holder.as_ref().map(MemberId::as_str))
        .with("term", anchor.term.0)
        .with("ttl_ms", anchor.ttl.0)
        .with("epoch", anchor.epoch.0)
        .with("since", from_wall(anchor.since))
        .with_some("status", anchor.status.as_deref())
        .with_some("paused", anchor.paused.as_ref().map(|mark| marked(mark, Object::new())));
    if !anchor.requests.is_empty() {
        let requests = anchor.requests.iter().map(|(id, asked)| (id.as_str().to_owned(), request(asked)));
        document = document.with("requests", Value::Object(requests.collect()));
    }
    let maintenance = anchor.maintenance.iter();
    let maintenance = maintenance.map(|(member, mark)| marked(mark, Object::new().with("member", member.as_str())));
    document
        .with("maintenance", maintenance.collect::<Value>())
        .with("history", anchor.history.iter().map(transition).collect::<Value>())
        .with("settled", anchor.settled.iter().map(settled).collect::<Value>())
        .with_some("unplanned", (!anchor.unplanned.is_empty()).then(|| unplanned(anchor)))
        .with_some("followed", (!anchor.followed.is_empty()).then(|| followed(anchor)))
        .0
}

fn unplanned(anchor: &Anchor) -> Value {
    anchor.unplanned.iter().map(|at| Object::new().with("at", from_wall(*at)).value()).collect()
}

fn followed(anchor: &Anchor) -> Value {
    let entry =
        |(by, through): (&FollowerId, &Term)| Object::new().with("by", by.as_str()).with("through", through.0).value();
    anchor.followed.iter().map(entry).collect()
}

fn marked(mark: &Mark, object: Object) -> Value {
    object.with("by", mark.by.as_str()).with("at", from_wall(mark.at)).value()
}

fn request(request: &OperatorRequest) -> Value {
    let object = Object::new();
    let object = match &request.verb {
        Verb::Switchover { to } => object.with("verb", words::SWITCHOVER).with_some("to", member(to.as_ref())),
        Verb::Failover { to, fenced } => {
            object.with("verb", words::FAILOVER).with_some("to", member(to.as_ref())).with("fenced", *fenced)
        }
        Verb::Pause => object.with("verb", words::PAUSE),
        Verb::Resume => object.with("verb", words::RESUME),
        Verb::Maintenance { member, on } => {
            object.with("verb", words::MAINTENANCE).with("member", member.as_str()).with("on", *on)
        }
    };
    object.with("by", request.by.as_str()).with("at", from_wall(request.at)).value()
}

fn settled(settled: &Settled) -> Value {
    Object::new()
        .with("request", settled.request.as_str())
        .with("at", from_wall(settled.at))
        .with_some("refused", settled.refused.as_deref())
        .value()
}

fn transition(transition: &Transition) -> Value {
    let object = Object::new()
        .with("term", transition.term.0)
        .with("holder", transition.holder.as_str())
        .with_some("from", member(transition.from.as_ref()))
        .with("at", from_wall(transition.at));
    match &transition.reason {
        Reason::First => object.with("why", words::FIRST),
        Reason::HolderSilent => object.with("why", words::HOLDER_SILENT),
        Reason::HolderLeaving => object.with("why", words::HOLDER_LEAVING),
        Reason::HolderInMaintenance => object.with("why", words::HOLDER_IN_MAINTENANCE),
        Reason::HolderDisabled => object.with("why", words::HOLDER_DISABLED),
        Reason::HolderRemoved => object.with("why", words::HOLDER_REMOVED),
        Reason::WorkloadFailing { said } => object.with("why", words::WORKLOAD_FAILING).with("said", said.as_str()),
        Reason::TermSpent => object.with("why", words::TERM_SPENT),
        Reason::Failback => object.with("why", words::FAILBACK),
        Reason::Asked { by, request, fenced } => object
            .with("why", words::ASKED)
            .with("by", by.as_str())
            .with("request", request.as_str())
            .with("fenced", *fenced),
        Reason::Rebuilt => object.with("why", words::REBUILT),
    }
    .value()
}

fn member(member: Option<&MemberId>) -> Option<&str> {
    member.map(MemberId::as_str)
}

struct Object(Map<String, Value>);

impl Object {
    fn new() -> Self {
        Self(Map::new())
    }

    fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    /// Absent rather than null: within lists the hub refuses nulls.
    fn with_some(self, name: &str, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    fn value(self) -> Value {
        json!(self.0)
    }
}
