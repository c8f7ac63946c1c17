use std::fmt;
use std::time::Duration;

use serde_json::Value;

/// Why a call to Azure Resource Manager failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no token to come with.
    #[error("there is no token for Azure Resource Manager")]
    Token(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The token is not accepted (401): expired, of another tenant, or for another audience.
    #[error("{0}")]
    Unauthorised(Box<Refusal>),
    /// The token's principal may not do this (403).
    #[error("{0}")]
    Forbidden(Box<Refusal>),
    /// No such subscription, resource group, hub or operation (404).
    #[error("{0}")]
    NotFound(Box<Refusal>),
    /// Somebody else wrote since the resource was read (412). Read it again.
    #[error("{0}")]
    Raced(Box<Refusal>),
    /// Another write goes on (409, "not in active state"). Wait, and read again.
    #[error("{0}")]
    Busy(Box<Refusal>),
    /// Too many calls for now (429).
    #[error("{0}")]
    Throttled(Box<Refusal>),
    /// Azure is in trouble (5xx, 408).
    #[error("{0}")]
    Server(Box<Refusal>),
    /// The call is refused as it stands.
    #[error("{0}")]
    Refused(Box<Refusal>),
    /// The write was accepted and then came to nothing.
    #[error("the write was accepted and then ended as {status}{}", said(.code, .message))]
    OperationFailed {
        /// `Failed` or `Canceled`.
        status: String,
        /// Azure's code, if it gave one.
        code: String,
        /// Azure's words.
        message: String,
    },
    /// Something did not end in time. A write that was accepted may still come into force.
    #[error("{what} has not ended in time; its last word was {state:?}")]
    Stuck {
        /// What.
        what: String,
        /// The last that was heard of it.
        state: String,
    },
    /// No connection, or it broke before the answer came.
    #[error("{what}: Azure Resource Manager cannot be reached")]
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
    /// The answer makes no sense to this client.
    #[error("{what}: the answer is not understood: {reason}")]
    BadAnswer {
        /// What was being done.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The client cannot be set up like this.
    #[error("cannot set up the client for Azure Resource Manager: {0}")]
    Setup(String),
}

/// What Azure said when it refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What was being done.
    pub what: String,
    /// The HTTP status.
    pub status: u16,
    /// Azure's code, such as `AuthorizationFailed`.
    pub code: String,
    /// Azure's words.
    pub message: String,
    /// What Microsoft's support asks for.
    pub request_id: Option<String>,
    /// How long Azure asks to wait.
    pub retry_after: Option<Duration>,
    /// Whether a write may have happened all the same.
    pub outcome_unknown: bool,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: Azure answered {}{}", self.what, self.status, said(&self.code, &self.message))?;
        match &self.request_id {
            Some(id) => write!(f, ", request id {id}"),
            None => Ok(()),
        }
    }
}

fn said(code: &str, message: &str) -> String {
    let code = if code.is_empty() { String::new() } else { format!(" {code}") };
    let message = if message.is_empty() { String::new() } else { format!(" ({message})") };
    code + &message
}

impl Error {
    /// Whether a write may have happened although the call failed. Read again before repeating it.
    pub fn outcome_unknown(&self) -> bool {
        match self {
            Error::Unreachable { outcome_unknown, .. } | Error::NoAnswer { outcome_unknown, .. } => *outcome_unknown,
            Error::Server(refusal) => refusal.outcome_unknown,
            _ => false,
        }
    }

    /// Whether the same may succeed later without anybody mending anything.
    pub fn is_transient(&self) -> bool {
        matches!(self, Error::Raced(_) | Error::Busy(_) | Error::Throttled(_) | Error::Server(_) | Error::Stuck { .. })
            || matches!(self, Error::Unreachable { .. } | Error::NoAnswer { .. } | Error::Token(_))
    }

    /// What Azure said, if it refused.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Error::Unauthorised(refusal)
            | Error::Forbidden(refusal)
            | Error::NotFound(refusal)
            | Error::Raced(refusal)
            | Error::Busy(refusal)
            | Error::Throttled(refusal)
            | Error::Server(refusal)
            | Error::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }

    pub(super) fn from_refusal(refusal: Refusal) -> Self {
        // Azure's words vary ("is not currently in Active state", "not in active state"); its code is a bare 409002 or `Conflict`.
        let busy = refusal.message.to_ascii_lowercase().contains("active state");
        let kind: fn(Box<Refusal>) -> Error = match refusal.status {
            401 => Error::Unauthorised,
            403 => Error::Forbidden,
            404 => Error::NotFound,
            409 if busy => Error::Busy,
            412 => Error::Raced,
            429 => Error::Throttled,
            408 | 500.. => Error::Server,
            _ => Error::Refused,
        };
        kind(Box::new(refusal))
    }
}

/// Code and message out of either envelope: `{"error": {"code", "message"}}` of the manager, `{"code", "message"}` of the provider. What
/// is neither is shown by its beginning.
pub(super) fn code_and_message(body: &[u8]) -> (String, String) {
    let parsed: Value = serde_json::from_slice(body).unwrap_or_default();
    let inner = if parsed["error"].is_object() { &parsed["error"] } else { &parsed };
    let text = |key: &str| match &inner[key] {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    let (code, message) = (text("code"), text("message"));
    if code.is_empty() && message.is_empty() {
        let beginning: String = String::from_utf8_lossy(body).chars().take(200).collect();
        return (code, beginning.trim().to_owned());
    }
    (code, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, body: &str) -> Error {
        let (code, message) = code_and_message(body.as_bytes());
        let what = "write the hub h".to_owned();
        Error::from_refusal(Refusal {
            what,
            status,
            code,
            message,
            request_id: None,
            retry_after: None,
            outcome_unknown: false,
        })
    }

    #[test]
    fn both_envelopes_are_read() {
        let manager = refused(403, r#"{"error":{"code":"AuthorizationFailed","message":"The client 'x' may not."}}"#);
        let text = "write the hub h: Azure answered 403 AuthorizationFailed (The client 'x' may not.)";
        assert_eq!((manager.to_string().as_str(), matches!(manager, Error::Forbidden(_))), (text, true));
        let provider = refused(400, r#"{"code":400124,"httpStatusCode":"BadRequest","message":"no","details":null}"#);
        assert_eq!(provider.to_string(), "write the hub h: Azure answered 400 400124 (no)");
        let neither = refused(502, "<html>Bad gateway</html>");
        assert_eq!(neither.to_string(), "write the hub h: Azure answered 502 (<html>Bad gateway</html>)");
        assert_eq!(refused(500, "").to_string(), "write the hub h: Azure answered 500");
    }

    #[test]
    fn a_write_that_goes_on_is_told_apart_from_other_conflicts() {
        let says = |message: &str| refused(409, &format!(r#"{{"code":"409002","message":"{message}"}}"#));
        assert!(matches!(says("h is not currently in Active state. Try again."), Error::Busy(_)));
        assert!(matches!(says("IotHub 'h' is not in active state"), Error::Busy(_)));
        assert!(matches!(says("the hub cannot be moved"), Error::Refused(_)));
        assert!(matches!(refused(412, "{}"), Error::Raced(_)));
    }
}
