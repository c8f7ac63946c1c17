//! Why the control plane does not do what it was asked.

/// A refusal, with the status it is answered with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Failure {
    /// The HTTP status.
    pub(crate) status: u16,
    /// A word for programs.
    pub(crate) code: &'static str,
    /// A sentence for people.
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self { status: 400, code: "BadRequest", message: message.into() }
    }

    pub(super) fn precondition(message: impl Into<String>) -> Self {
        Self { status: 412, code: "PreconditionFailed", message: message.into() }
    }

    pub(super) fn not_active(hub: &str) -> Self {
        let message = format!("IotHub '{hub}' is not in active state; wait until the operation on it is over");
        Self { status: 409, code: "Conflict", message }
    }
}
