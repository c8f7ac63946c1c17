//! Makes a record fit into the hub.

use ha_core::anchor::{Anchor, FOLLOWERS_MAX, HISTORY_MAX, Mark, Reason, UNPLANNED_MAX};

use super::words::is_request_id;
use super::{MAINTENANCE_MAX, REQUESTS_MAX, SIZE_MAX, size};
use crate::error::Error;
use crate::text;

/// Bytes of an operator's name.
pub(super) const BY_MAX: usize = 64;
/// Bytes of what a failing workload's probe said.
pub(super) const SAID_MAX: usize = 80;
/// Bytes of why a request was refused.
pub(super) const REFUSED_MAX: usize = 160;
/// Bytes of a follower's name.
pub(super) const FOLLOWER_MAX: usize = 48;
/// Bytes of what the pool waits for.
pub(super) const STATUS_MAX: usize = 400;

/// The record as [`super::patch`] writes it.
///
/// Fails only on what cannot be shortened: too many requests or members in maintenance, or a number that
/// no twin can carry.
pub fn bounded(anchor: &Anchor) -> Result<Anchor, Error> {
    Error::check_number("ha.term", anchor.term.0)?;
    Error::check_number("ha.epoch", anchor.epoch.0)?;
    Error::check_number("ha.ttl_ms", anchor.ttl.0)?;
    check_count("the list of requests", anchor.requests.len(), REQUESTS_MAX)?;
    check_count("the list of members in maintenance", anchor.maintenance.len(), MAINTENANCE_MAX)?;
    check_count("the list of followers", anchor.followed.len(), FOLLOWERS_MAX)?;
    if let Some(id) = anchor.requests.keys().find(|id| !is_request_id(id.as_str())) {
        return Err(Error::BadRequestId { id: text::bounded(id.as_str(), 40) });
    }
    let mut anchor = anchor.clone();
    shorten_texts(&mut anchor);
    anchor.followed.retain(|follower, _| (1..=FOLLOWER_MAX).contains(&follower.as_str().len()));
    keep_latest(&mut anchor.settled, HISTORY_MAX);
    keep_latest(&mut anchor.history, HISTORY_MAX);
    keep_latest(&mut anchor.unplanned, UNPLANNED_MAX);
    let mut taken = size(&anchor);
    while taken > SIZE_MAX {
        if !anchor.settled.is_empty() {
            anchor.settled.remove(0);
        } else if !anchor.history.is_empty() {
            anchor.history.remove(0);
        } else {
            return Err(Error::TooLarge { what: "the pool's record", size: taken, max: SIZE_MAX });
        }
        taken = size(&anchor);
    }
    Ok(anchor)
}

fn check_count(what: &'static str, count: usize, max: usize) -> Result<(), Error> {
    if count > max { Err(Error::TooMany { what, count, max }) } else { Ok(()) }
}

fn shorten_texts(anchor: &mut Anchor) {
    let shorten = |text: &mut String, max: usize| *text = text::bounded(text, max);
    let shorten_mark = |mark: &mut Mark| shorten(&mut mark.by, BY_MAX);
    anchor.status.iter_mut().for_each(|status| shorten(status, STATUS_MAX));
    anchor.paused.iter_mut().for_each(shorten_mark);
    anchor.maintenance.values_mut().for_each(shorten_mark);
    anchor.requests.values_mut().for_each(|request| shorten(&mut request.by, BY_MAX));
    for refused in anchor.settled.iter_mut().filter_map(|settled| settled.refused.as_mut()) {
        shorten(refused, REFUSED_MAX);
    }
    for transition in &mut anchor.history {
        match &mut transition.reason {
            Reason::WorkloadFailing { said } => shorten(said, SAID_MAX),
            Reason::Asked { by, .. } => shorten(by, BY_MAX),
            _ => {}
        }
    }
}

fn keep_latest<T>(list: &mut Vec<T>, max: usize) {
    let surplus = list.len().saturating_sub(max);
    list.drain(..surplus);
}
