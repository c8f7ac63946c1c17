//! A record from JSON.

use std::collections::BTreeMap;

use ha_core::anchor::{
    Anchor, FOLLOWERS_MAX, HISTORY_MAX, Mark, OperatorRequest, Reason, Settled, Transition, UNPLANNED_MAX, Verb,
};
use ha_core::ids::{ControlId, Epoch, FollowerId, MemberId, RequestId, Term};
use ha_core::time::Millis;
use serde_json::Value;

use super::bounded::{BY_MAX, FOLLOWER_MAX, REFUSED_MAX, SAID_MAX, STATUS_MAX};
use super::words::{self, is_request_id};
use super::{Decoded, MAINTENANCE_MAX, REQUESTS_MAX};
use crate::HA;
use crate::error::Error;
use crate::read::{Fields, Kind, NAME_MAX, Reader, flag, member, name, number, pool, sentence, time, version, word};

const HINT: &str = "put it right, or remove the key ha and let the controller build the record anew";
const REQUEST_HINT: &str = "this request is ignored; ask again";

/// The record in a device's tags, if there is one. An error lists everything that is wrong with it.
///
/// Requests are read on their own: a nonsensical one holds up no pool.
pub fn decode(tags: &Value) -> Result<Option<Decoded>, Error> {
    let Some(document) = tags.get(HA).filter(|ha| !ha.is_null()) else { return Ok(None) };
    let reader = Reader::new(HINT);
    let anchor = reader.root(HA, document).and_then(|fields| read_anchor(&fields));
    let mut anchor = reader.finish(anchor)?;
    let reader = Reader::new(REQUEST_HINT);
    if let Some(fields) = reader.root(HA, document).and_then(|fields| fields.inner("requests")) {
        anchor.requests = read_requests(&fields);
    }
    Ok(Some(Decoded { anchor, nonsense: reader.into_problems() }))
}

fn read_anchor(fields: &Fields<'_>) -> Option<Anchor> {
    fields.need("v", &version());
    fields.need("kind", &word(&[("pool", ())]));
    let pool = fields.need("pool", &pool());
    let control = fields.need("control", &name(NAME_MAX)).map(ControlId::new);
    let holder = fields.take("holder", &member());
    let term = fields.need("term", &number()).map(Term);
    let ttl = fields.need("ttl_ms", &number()).map(Millis);
    let epoch = fields.need("epoch", &number()).map(Epoch);
    let since = fields.need("since", &time());
    let status = fields.take("status", &sentence(STATUS_MAX));
    let paused = fields.inner("paused").and_then(|inner| read_mark(&inner));
    let maintenance = fields.list("maintenance", MAINTENANCE_MAX, |entry| {
        let member = entry.need("member", &member());
        let mark = read_mark(entry);
        Some((member?, mark?))
    });
    let history = fields.list("history", HISTORY_MAX, read_transition);
    let settled = fields.list("settled", HISTORY_MAX, read_settled);
    let unplanned = fields.list("unplanned", UNPLANNED_MAX, |entry| entry.need("at", &time()));
    let followed = fields.list("followed", FOLLOWERS_MAX, |entry| {
        let by = entry.need("by", &name(FOLLOWER_MAX)).map(FollowerId::new);
        let through = entry.need("through", &number()).map(Term);
        Some((by?, through?))
    });
    let mut anchor = Anchor::vacant(pool?, control?, term?, ttl?, epoch?, since?);
    anchor.holder = holder;
    anchor.status = status;
    anchor.paused = paused;
    anchor.maintenance = maintenance?.into_iter().collect();
    anchor.history = history?;
    anchor.settled = settled?;
    anchor.unplanned = unplanned?;
    anchor.followed = followed?.into_iter().collect();
    Some(anchor)
}

fn read_mark(fields: &Fields<'_>) -> Option<Mark> {
    let by = fields.need("by", &sentence(BY_MAX));
    let at = fields.need("at", &time());
    Some(Mark { by: by?, at: at? })
}

fn read_settled(fields: &Fields<'_>) -> Option<Settled> {
    let request = fields.need("request", &request_id());
    let at = fields.need("at", &time());
    let refused = fields.take("refused", &sentence(REFUSED_MAX));
    Some(Settled { request: request?, at: at?, refused })
}

fn read_transition(fields: &Fields<'_>) -> Option<Transition> {
    let term = fields.need("term", &number()).map(Term);
    let holder = fields.need("holder", &member());
    let from = fields.take("from", &member());
    let at = fields.need("at", &time());
    let reason = read_reason(fields);
    Some(Transition { term: term?, holder: holder?, from, at: at?, reason: reason? })
}

fn read_reason(fields: &Fields<'_>) -> Option<Reason> {
    type Read = fn(&Fields<'_>) -> Option<Reason>;
    let reasons: [(&'static str, Read); 11] = [
        (words::FIRST, |_| Some(Reason::First)),
        (words::HOLDER_SILENT, |_| Some(Reason::HolderSilent)),
        (words::HOLDER_LEAVING, |_| Some(Reason::HolderLeaving)),
        (words::HOLDER_IN_MAINTENANCE, |_| Some(Reason::HolderInMaintenance)),
        (words::HOLDER_DISABLED, |_| Some(Reason::HolderDisabled)),
        (words::HOLDER_REMOVED, |_| Some(Reason::HolderRemoved)),
        (words::WORKLOAD_FAILING, |fields| {
            fields.need("said", &sentence(SAID_MAX)).map(|said| Reason::WorkloadFailing { said })
        }),
        (words::TERM_SPENT, |_| Some(Reason::TermSpent)),
        (words::FAILBACK, |_| Some(Reason::Failback)),
        (words::ASKED, |fields| {
            let by = fields.need("by", &sentence(BY_MAX));
            let request = fields.need("request", &request_id());
            let fenced = fields.need("fenced", &flag());
            Some(Reason::Asked { by: by?, request: request?, fenced: fenced? })
        }),
        (words::REBUILT, |_| Some(Reason::Rebuilt)),
    ];
    fields.need("why", &word(&reasons)).and_then(|read| read(fields))
}

fn read_requests(fields: &Fields<'_>) -> BTreeMap<RequestId, OperatorRequest> {
    let mut requests = BTreeMap::new();
    for id in fields.names() {
        if !is_request_id(id) {
            fields.refuse_name(id, request_id().expected());
        } else if requests.len() == REQUESTS_MAX {
            fields.refuse(id, format!("at most {REQUESTS_MAX} requests"));
        } else if let Some(request) = fields.inner(id).and_then(|inner| read_request(&inner)) {
            requests.insert(RequestId::new(id), request);
        }
    }
    requests
}

fn read_request(fields: &Fields<'_>) -> Option<OperatorRequest> {
    let verb = read_verb(fields);
    let by = fields.need("by", &sentence(BY_MAX));
    let at = fields.need("at", &time());
    Some(OperatorRequest { verb: verb?, by: by?, at: at? })
}

fn read_verb(fields: &Fields<'_>) -> Option<Verb> {
    type Read = fn(&Fields<'_>) -> Option<Verb>;
    let verbs: [(&'static str, Read); 5] = [
        (words::SWITCHOVER, |fields| Some(Verb::Switchover { to: target(fields)? })),
        (words::FAILOVER, |fields| {
            let fenced = fields.need("fenced", &flag());
            Some(Verb::Failover { to: target(fields)?, fenced: fenced? })
        }),
        (words::PAUSE, |_| Some(Verb::Pause)),
        (words::RESUME, |_| Some(Verb::Resume)),
        (words::MAINTENANCE, |fields| {
            let member = fields.need("member", &member());
            let on = fields.need("on", &flag());
            Some(Verb::Maintenance { member: member?, on: on? })
        }),
    ];
    fields.need("verb", &word(&verbs)).and_then(|read| read(fields))
}

/// A target that makes no sense must not become "whoever is best".
fn target(fields: &Fields<'_>) -> Option<Option<MemberId>> {
    match fields.value("to") {
        None => Some(None),
        Some(_) => fields.take("to", &member()).map(Some),
    }
}

fn request_id() -> Kind<RequestId> {
    Kind::of_text("a request id ([a-z0-9]{1,32})", |t| is_request_id(t).then(|| RequestId::new(t)))
}
