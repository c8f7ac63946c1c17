//! The record of a pool: `tags.ha` of the pool's anchor device.
//!
//! Texts that others chose are shortened when they are written; if the whole is still too large, the
//! oldest settled requests go first and then the oldest transitions, for a record that the hub refuses
//! would hold up the pool. Fields of others stay when the record is rewritten, except within lists.

use ha_core::anchor::Anchor;
use ha_core::ids::PoolName;
use serde_json::{Value, json};

use crate::HA;
use crate::error::{Error, Problem};
use crate::merge::{hub_size, remove_vanished};

mod bounded;
mod decode;
mod encode;
mod words;

pub use self::bounded::bounded;
pub use self::decode::decode;

/// The most that the record takes in the hub, as the hub counts; it grants all tags of a device 8 KB.
pub const SIZE_MAX: usize = 7_680;

/// How many requests may wait at once.
pub const REQUESTS_MAX: usize = 8;

/// How many members may be in maintenance at once.
pub const MAINTENANCE_MAX: usize = 8;

/// A record as it was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Decoded {
    /// The record.
    pub anchor: Anchor,
    /// Requests that make no sense. They are left out of the record, and removed when it is next written.
    pub nonsense: Vec<Problem>,
}

/// The device identity that carries a pool's record.
pub fn device_id(pool: &PoolName) -> String {
    format!("{PREFIX}{pool}")
}

/// The pool whose record such a device carries.
pub fn pool_of(device_id: &str) -> Option<PoolName> {
    device_id.strip_prefix(PREFIX).and_then(|name| name.parse().ok())
}

/// The patch of the anchor's tags that turns `old`, the tags as they were read, into the new record.
///
/// With `Value::Null` as `old` it is the whole document.
pub fn patch(old: &Value, new: &Anchor) -> Result<Value, Error> {
    let old = old.get(HA);
    let mut document = encode::document(&bounded(new)?);
    if let Some(old_requests) = old.and_then(|ha| ha.get("requests")).and_then(Value::as_object) {
        let requests = document.entry("requests").or_insert_with(|| json!({}));
        if let Value::Object(requests) = requests {
            for (id, request) in requests.iter_mut() {
                if let Value::Object(request) = request {
                    remove_vanished(old_requests.get(id), request, encode::OPTIONAL_IN_REQUEST);
                }
            }
            remove_vanished(old.and_then(|ha| ha.get("requests")), requests, old_requests.keys().map(String::as_str));
        }
    }
    remove_vanished(old, &mut document, encode::OPTIONAL);
    Ok(json!({ HA: document }))
}

fn size(anchor: &Anchor) -> usize {
    HA.len() + hub_size(&Value::Object(encode::document(anchor)))
}

const PREFIX: &str = "ha-anchor-";

#[cfg(test)]
mod tests;
