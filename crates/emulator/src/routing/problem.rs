//! What is wrong with a description of routes.

/// A mistake in a description of routes: where, and what.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {reason}")]
pub(crate) struct Problem {
    /// A path in the description, such as `routes[2].condition`.
    pub(crate) place: String,
    /// What is wrong with it.
    pub(crate) reason: String,
}

impl Problem {
    pub(super) fn new(place: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { place: place.into(), reason: reason.into() }
    }
}
