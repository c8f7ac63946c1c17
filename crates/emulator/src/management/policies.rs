//! Shared access policies as a `PUT` brings them.

use serde_json::{Map, Value};

use super::failure::Failure;
use crate::access::{Policies, Policy, Rights};
use crate::hub::Key;

const POLICIES_MAX: usize = 16;
const PLACE: &str = "properties.authorizationPolicies";

/// Takes the policies out of a document, for their keys are shown by `listkeys` alone; `None` leaves them as they are.
/// A policy that comes without keys keeps those it has, or gets fresh ones: clients change one by sending all.
pub(super) fn take(
    document: &mut Map<String, Value>,
    current: &Policies,
    mut fresh_key: impl FnMut() -> Key,
) -> Result<Option<Policies>, Failure> {
    let properties = document.get_mut("properties").and_then(Value::as_object_mut);
    let list = match properties.and_then(|properties| properties.shift_remove("authorizationPolicies")) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Array(list)) => list,
        Some(_) => return Err(Failure::bad_request(format!("{PLACE} must be a list"))),
    };
    if list.len() > POLICIES_MAX {
        return Err(Failure::bad_request(format!("{PLACE}: a hub has at most {POLICIES_MAX} policies")));
    }
    let mut policies: Vec<Policy> = Vec::new();
    for (n, described) in list.iter().enumerate() {
        let place = format!("{PLACE}[{n}]");
        let policy = read(described, &place, current, &mut fresh_key)?;
        if policies.iter().any(|other| other.name == policy.name) {
            return Err(Failure::bad_request(format!("{place}.keyName: there are two policies '{}'", policy.name)));
        }
        policies.push(policy);
    }
    Ok(Some(Policies::of(policies)))
}

fn read(
    described: &Value,
    place: &str,
    current: &Policies,
    fresh_key: &mut impl FnMut() -> Key,
) -> Result<Policy, Failure> {
    let text = |name: &str| described.get(name).and_then(Value::as_str);
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.+%#*?!()@$:".contains(c);
    let name = text("keyName").filter(|name| (1..=64).contains(&name.len()) && name.chars().all(fits));
    let wanted = "a name has 1 to 64 letters, digits and any of -_.+%#*?!()@$:";
    let name = name.ok_or_else(|| Failure::bad_request(format!("{place}.keyName: {wanted}")))?;
    let rights = Rights::try_from(text("rights").unwrap_or_default().to_owned());
    let rights = rights.map_err(|reason| Failure::bad_request(format!("{place}.rights: {reason}")))?;
    let known = current.find(name).map(Policy::keys);
    let mut key = |field: &str, at: usize| match text(field) {
        // What the key is does not belong into an answer.
        Some(given) => Key::parse(given)
            .ok_or_else(|| Failure::bad_request(format!("{place}.{field}: a key is base64 of 16 to 64 bytes"))),
        None => Ok(known.map_or_else(&mut *fresh_key, |keys| keys[at].clone())),
    };
    let (primary, secondary) = (key("primaryKey", 0)?, key("secondaryKey", 1)?);
    Ok(Policy { name: name.to_owned(), primary, secondary, rights: Some(rights) })
}
