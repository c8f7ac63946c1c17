use std::fmt;
use std::time::Duration;

use ha_wire::{ErrorCode, HubError};

/// Why a call failed.
///
/// Three questions matter to a caller, and each has a method: may the same call succeed if repeated
/// ([`Error::is_retryable`]; the client has already done so inside its time), may a write have happened after all
/// ([`Error::outcome_unknown`]), and what did the hub say ([`Error::refusal`]).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No such device, module, twin or configuration.
    #[error("{0}")]
    NotFound(Box<Refusal>),
    /// The entity tag was stale: somebody else wrote first. Read again before deciding anything.
    #[error("{0}")]
    PreconditionFailed(Box<Refusal>),
    /// It is there already, or its state forbids the change.
    #[error("{0}")]
    Conflict(Box<Refusal>),
    /// The key, its policy's rights or this machine's clock is wrong. Module calls on a missing device say this too.
    #[error("{0}")]
    Unauthorised(Box<Refusal>),
    /// Too many calls, still so when the time was up.
    #[error("{0}")]
    Throttled(Box<Refusal>),
    /// The day's messages are used up, until midnight UTC.
    #[error("{0}")]
    QuotaExceeded(Box<Refusal>),
    /// The device (or module) is not connected, or not listening for methods. It got nothing.
    #[error("{0}")]
    DeviceNotOnline(Box<Refusal>),
    /// The device did not answer the method in time. It may have carried it out.
    #[error("{0}")]
    MethodTimeout(Box<Refusal>),
    /// The hub refuses the call as it stands: bad argument, forbidden, too large.
    #[error("{0}")]
    Refused(Box<Refusal>),
    /// The hub is in trouble (5xx, 408).
    #[error("{0}")]
    Server(Box<Refusal>),
    /// No connection to the hub, so nothing was sent; or the connection broke before the answer came.
    #[error("{what}: the hub cannot be reached")]
    Unreachable {
        /// What was being done.
        what: String,
        /// Whether a write may have happened.
        outcome_unknown: bool,
        /// The cause.
        #[source]
        source: reqwest::Error,
    },
    /// No answer in time.
    #[error("{what}: no answer within {} ms", waited.as_millis())]
    NoAnswer {
        /// What was being done.
        what: String,
        /// How long the attempt was given.
        waited: Duration,
        /// Whether a write may have happened.
        outcome_unknown: bool,
    },
    /// There is no token of Entra ID to prove oneself with; nothing was sent.
    #[error("{what}: nothing to prove oneself with")]
    NoToken {
        /// What was being done.
        what: String,
        /// Why there is none.
        #[source]
        source: crate::entra::Error,
    },
    /// The rate budget left no room before the deadline.
    #[error("{what}: out of time waiting for the hub's rate limit on {operation}; nothing was sent")]
    OutOfTime {
        /// What was being done.
        what: String,
        /// The kind of operation.
        operation: crate::Operation,
    },
    /// The hub said yes in words this client does not understand.
    #[error("{what}: the answer is not understood: {reason}")]
    BadAnswer {
        /// What was being done.
        what: String,
        /// What is wrong with it.
        reason: String,
        /// Whether a write happened whose result is not known.
        outcome_unknown: bool,
    },
    /// The call breaks a limit of IoT Hub and was not sent.
    #[error("{what}: not a call that IoT Hub allows")]
    Invalid {
        /// What was asked for.
        what: String,
        /// What is wrong with it.
        #[source]
        source: ha_wire::Error,
    },
    /// The client cannot be set up like this.
    #[error("cannot set up the hub client: {reason}")]
    Setup {
        /// What is wrong.
        reason: &'static str,
    },
    /// TLS or the HTTP client cannot be set up.
    #[error("cannot set up the hub client's TLS")]
    Tls(#[source] reqwest::Error),
}

/// What the hub said when it refused.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    /// What was being done.
    pub what: String,
    /// The HTTP status.
    pub status: u16,
    /// The hub's code, where it is one we know.
    pub code: Option<ErrorCode>,
    /// The hub's code as it came, known or not.
    pub code_text: Option<String>,
    /// The hub's words.
    pub message: String,
    /// What Microsoft's support asks for.
    pub tracking_id: Option<String>,
    /// How long the hub asks to wait.
    pub retry_after: Option<Duration>,
    /// Whether a write may have happened all the same.
    pub outcome_unknown: bool,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: the hub answered {}", self.what, self.status)?;
        if let Some(code) = &self.code_text {
            write!(f, " {code}")?;
        }
        if !self.message.is_empty() {
            write!(f, " ({})", self.message)?;
        }
        match &self.tracking_id {
            Some(id) => write!(f, ", tracking id {id}"),
            None => Ok(()),
        }
    }
}

impl Error {
    /// Whether the same call may succeed later. True for trouble of the hub and the network, never for what needs a fresh
    /// read, other arguments or other rights. For a write see [`Error::outcome_unknown`] first.
    pub fn is_retryable(&self) -> bool {
        self.is_unreachable()
            || matches!(self, Error::NoToken { source, .. } if source.is_retryable())
            || matches!(self, Error::Throttled(_) | Error::Server(_) | Error::OutOfTime { .. })
            || matches!(self, Error::MethodTimeout(_) | Error::DeviceNotOnline(_))
    }

    /// Whether a write may have happened although the call failed: its answer was lost. Read again before acting on it, and
    /// never repeat it blindly. Always false for reads, and for writes that the hub certainly refused.
    pub fn outcome_unknown(&self) -> bool {
        match self {
            Error::Unreachable { outcome_unknown, .. }
            | Error::NoAnswer { outcome_unknown, .. }
            | Error::BadAnswer { outcome_unknown, .. } => *outcome_unknown,
            _ => self.refusal().is_some_and(|refusal| refusal.outcome_unknown),
        }
    }

    /// Whether the hub could not be talked to at all, as opposed to having refused.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Error::Unreachable { .. } | Error::NoAnswer { .. })
    }

    /// What the hub said, if it refused.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Error::NotFound(refusal)
            | Error::PreconditionFailed(refusal)
            | Error::Conflict(refusal)
            | Error::Unauthorised(refusal)
            | Error::Throttled(refusal)
            | Error::QuotaExceeded(refusal)
            | Error::DeviceNotOnline(refusal)
            | Error::MethodTimeout(refusal)
            | Error::Refused(refusal)
            | Error::Server(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// The hub's error code, if it named one we know.
    pub fn code(&self) -> Option<ErrorCode> {
        self.refusal().and_then(|refusal| refusal.code)
    }

    /// The HTTP status, if the hub answered with an error.
    pub fn status(&self) -> Option<u16> {
        self.refusal().map(|refusal| refusal.status)
    }

    /// What Microsoft's support asks for, if the hub named it.
    pub fn tracking_id(&self) -> Option<&str> {
        self.refusal().and_then(|refusal| refusal.tracking_id.as_deref())
    }

    pub(crate) fn from_refusal(refusal: Refusal) -> Self {
        let kind: fn(Box<Refusal>) -> Error = match (refusal.status, refusal.code) {
            (_, Some(ErrorCode::DeviceNotOnline)) => Error::DeviceNotOnline,
            (_, Some(ErrorCode::GatewayTimeout)) => Error::MethodTimeout,
            (_, Some(ErrorCode::IotHubQuotaExceeded)) => Error::QuotaExceeded,
            (401, _) => Error::Unauthorised,
            (404, _) => Error::NotFound,
            (409, _) => Error::Conflict,
            (412, _) => Error::PreconditionFailed,
            (429, _) => Error::Throttled,
            (408 | 500.., _) => Error::Server,
            _ => Error::Refused,
        };
        kind(Box::new(refusal))
    }

    /// An earlier attempt of the same call may have happened, whatever became of this one.
    pub(crate) fn after_unknown(mut self, unknown: bool) -> Self {
        match &mut self {
            Error::Unreachable { outcome_unknown, .. }
            | Error::NoAnswer { outcome_unknown, .. }
            | Error::BadAnswer { outcome_unknown, .. } => *outcome_unknown |= unknown,
            Error::NotFound(refusal)
            | Error::PreconditionFailed(refusal)
            | Error::Conflict(refusal)
            | Error::Unauthorised(refusal)
            | Error::Throttled(refusal)
            | Error::QuotaExceeded(refusal)
            | Error::DeviceNotOnline(refusal)
            | Error::MethodTimeout(refusal)
            | Error::Refused(refusal)
            | Error::Server(refusal) => refusal.outcome_unknown |= unknown,
            _ => {}
        }
        self
    }
}

impl Refusal {
    pub(crate) fn new(what: &str, status: u16, said: HubError, retry_after: Option<Duration>, write: bool) -> Self {
        Refusal {
            what: what.to_owned(),
            status,
            code: said.code,
            code_text: said.code_text,
            message: said.message,
            tracking_id: said.tracking_id,
            retry_after,
            outcome_unknown: write && matches!(status, 408 | 500..),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, code: Option<ErrorCode>) -> Error {
        let said = HubError { code, ..HubError::default() };
        Error::from_refusal(Refusal::new("patch twin d", status, said, None, true))
    }

    #[test]
    fn kinds_follow_the_code_and_then_the_status() {
        assert!(matches!(refused(404, Some(ErrorCode::DeviceNotOnline)), Error::DeviceNotOnline(_)));
        assert!(matches!(refused(404, None), Error::NotFound(_)));
        assert!(matches!(refused(403, Some(ErrorCode::IotHubQuotaExceeded)), Error::QuotaExceeded(_)));
        assert!(matches!(refused(403, None), Error::Refused(_)));
        assert!(matches!(refused(504, Some(ErrorCode::GatewayTimeout)), Error::MethodTimeout(_)));
        assert!(matches!(refused(503, None), Error::Server(_)));
        assert!(matches!(refused(412, None), Error::PreconditionFailed(_)));
    }

    #[test]
    fn only_lost_answers_leave_a_write_in_doubt() {
        for (status, unknown) in
            [(408, true), (500, true), (503, true), (504, true), (412, false), (429, false), (404, false)]
        {
            assert_eq!(refused(status, None).outcome_unknown(), unknown, "{status}");
        }
        assert!(refused(404, None).after_unknown(true).outcome_unknown());
        let read = Refusal::new("get twin d", 503, HubError::default(), None, false);
        assert!(!Error::from_refusal(read).outcome_unknown());
    }

    #[test]
    fn what_needs_a_fresh_read_is_not_retryable() {
        for status in [400, 401, 403, 404, 409, 412] {
            assert!(!refused(status, None).is_retryable(), "{status}");
        }
        assert!(refused(429, None).is_retryable() && refused(500, None).is_retryable());
    }

    #[test]
    fn says_what_failed() {
        let said = HubError::decode(
            Some("DeviceNotFound"),
            br#"{"Message":"ErrorCode:DeviceNotFound;d","ExceptionMessage":"Tracking ID:x"}"#,
        );
        let error = Error::from_refusal(Refusal::new("get twin d", 404, said, None, false));
        assert_eq!(error.to_string(), "get twin d: the hub answered 404 DeviceNotFound (d), tracking id x");
    }
}
