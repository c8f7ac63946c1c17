use ha_iothub::Error;
use ha_wire::IfMatch;
use ha_wire::twin::TwinPatch;

use super::{Check, Outcome, patience};
use crate::hub::chain;
use crate::hub::iot::IotHub;

pub(super) const CHECK: Check =
    Check { id: "rights", description: "the credentials may read and write identities and twins, and call methods" };

/// A device that nobody has: whoever has the right is told that it is not there.
const NOBODY: &str = "ha-check-nobody-has-this-name";

pub(super) async fn check(hub: &IotHub) -> Outcome {
    let client = hub.client();
    let read = client.device(NOBODY, &patience()).await.err();
    let write = client.delete_device(NOBODY, &IfMatch::Any, &patience()).await.err();
    let twin = client.patch_twin(NOBODY, None, &TwinPatch::default(), None, &patience()).await.err();
    let rights = [("registry read", read), ("registry write", write), ("service connect", twin)];
    let missing: Vec<&str> = rights
        .iter()
        .filter(|(_, error)| matches!(error, Some(Error::Unauthorised(_))))
        .map(|(right, _)| *right)
        .collect();
    if !missing.is_empty() {
        let found = format!("the policy lacks: {}", missing.join(", "));
        return Outcome::error(found, "use a policy with all three, or iothubowner");
    }
    let odd = rights.iter().filter_map(|(_, error)| error.as_ref()).find(|error| !matches!(error, Error::NotFound(_)));
    match odd {
        Some(error) => Outcome::warning(format!("not all could be tried: {}", chain(error)), "try again"),
        None => Outcome::ok("registry read, registry write, service connect"),
    }
}
