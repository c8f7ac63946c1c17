//! What the client's errors mean to the controller.

use ha_core::seen::CallFailure;
use ha_iothub::Error as Client;

use crate::hub::{Error, NotWritten, chain};

/// As an error of ours.
pub(crate) fn error(e: &Client) -> Error {
    let said = chain(e);
    match e {
        Client::NotFound(refusal) => Error::NotFound(refusal.what.trim_start_matches("get ").to_owned()),
        Client::Unauthorised(_) => Error::Unauthorised(said),
        Client::NoToken { source, .. } if !source.is_retryable() => Error::Unauthorised(said),
        Client::Throttled(_) | Client::QuotaExceeded(_) | Client::OutOfTime { .. } => Error::Throttled(said),
        Client::Server(_) | Client::Unreachable { .. } | Client::NoAnswer { .. } | Client::NoToken { .. } => {
            Error::Unreachable(said)
        }
        _ => Error::Refused(said),
    }
}

/// As the end of a compare-and-swap.
pub(super) fn not_written(e: &Client) -> NotWritten {
    match e {
        e if e.outcome_unknown() => NotWritten::Unsure(error(e)),
        Client::PreconditionFailed(_) | Client::Conflict(_) => NotWritten::Conflict,
        e => NotWritten::Failed(error(e)),
    }
}

/// As a reason why a call brought no answer.
pub(super) fn call_failure(e: &Client) -> CallFailure {
    match e {
        Client::DeviceNotOnline(_) => CallFailure::Offline,
        Client::MethodTimeout(_) | Client::NoAnswer { .. } => CallFailure::TimedOut,
        Client::BadAnswer { .. } => CallFailure::BadAnswer(chain(e)),
        e => error(e).as_call_failure(),
    }
}
