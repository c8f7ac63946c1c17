//! What the HTTPS listener serves.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::record::Recorder;
use crate::shell::Shell;

/// All that an answer may take.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) shell: Arc<Shell>,
    pub(crate) control_token: ControlToken,
    pub(crate) recorder: Option<Arc<Recorder>>,
    pub(crate) stop: CancellationToken,
}

/// What opens the control API.
#[derive(Clone)]
pub(crate) struct ControlToken(Arc<str>);

impl ControlToken {
    pub(crate) fn new(token: &str) -> Self {
        Self(token.into())
    }

    /// In time that depends on the lengths only.
    pub(super) fn is(&self, given: &str) -> bool {
        let (left, right) = (given.as_bytes(), self.0.as_bytes());
        left.len() == right.len() && left.iter().zip(right).fold(0, |acc, (l, r)| acc | (l ^ r)) == 0
    }
}
