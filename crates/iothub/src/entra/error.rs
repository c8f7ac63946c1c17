use std::time::Duration;

use azure_core::error::ErrorKind;

/// Why there is no token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no token from {from}{}: {reason}", scope.as_ref().map(|scope| format!(" for {scope}")).unwrap_or_default())]
pub struct Error {
    from: &'static str,
    scope: Option<String>,
    reason: String,
    retryable: bool,
    hint: &'static str,
}

impl Error {
    /// Whether the authority is in trouble or out of reach, as opposed to having refused.
    pub fn is_retryable(&self) -> bool {
        self.retryable
    }

    /// What to try.
    pub fn hint(&self) -> &'static str {
        self.hint
    }

    pub(super) fn setup(from: &'static str, reason: String) -> Self {
        let hint = "look at [hub.identity] in the configuration, and at the files and variables that it names";
        Self { from, scope: None, reason, retryable: false, hint }
    }

    pub(super) fn silent(from: &'static str, scope: &str, waited: Duration) -> Self {
        let reason = format!("no answer within {} s", waited.as_secs());
        Self { from, scope: Some(scope.to_owned()), reason, retryable: true, hint: REACH }
    }

    pub(super) fn of(from: &'static str, hint: &'static str, scope: &str, error: &azure_core::Error) -> Self {
        let retryable = is_trouble(error);
        let hint = if retryable { REACH } else { hint };
        Self { from, scope: Some(scope.to_owned()), reason: words(error), retryable, hint }
    }
}

const REACH: &str = "look at the network, a proxy, and the authority's address; it is asked again by itself";

/// The library wraps what happened in an error of kind `Credential`.
fn is_trouble(error: &azure_core::Error) -> bool {
    match error.kind() {
        ErrorKind::Connection | ErrorKind::Io => true,
        ErrorKind::HttpResponse { status, .. } => matches!(u16::from(*status), 408 | 429 | 500..),
        _ => error.downcast_ref::<azure_core::Error>().is_some_and(is_trouble),
    }
}

/// All that the chain says, each thing once, on one line and without the link to a page about the library.
fn words(error: &azure_core::Error) -> String {
    let mut said = String::new();
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        let text = text.split("\nTo troubleshoot").next().unwrap_or_default();
        let text = text.split_once(" authentication failed. ").map_or(text, |(_, rest)| rest);
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        if !said.contains(&text) {
            said.push_str(if said.is_empty() { "" } else { ": " });
            said.push_str(&text);
        }
        next = error.source();
    }
    said
}
