//! Runs on a device: keeps the lease, opens and closes the gate, watches the workload, reports.
//!
//! What to do is decided by `ha_core`'s holder. This crate is the shell around it: the line to the hub, the
//! gate with its keeper, the probes and the clocks. It refuses to know why a member holds a lease.

mod args;
pub mod clock;
mod credentials;
mod error;
pub mod gate;
pub mod keeper;
pub mod link;
pub mod probe;
mod run;
pub mod settings;

pub use self::args::AgentArgs;
pub use self::error::Error;
pub use self::run::run;

/// The agent's version, as it reports it.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// An error and all its causes, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
