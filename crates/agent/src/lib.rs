//! Runs on a device: keeps the lease, opens and closes the gate, watches the workload, reports.

pub mod clock;
pub mod gate;
pub mod keeper;
pub mod link;

/// An error and all its causes, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
