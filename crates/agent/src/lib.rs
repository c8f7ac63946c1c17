//! Runs on a device: keeps the lease, opens and closes the gate, watches the workload, reports.

pub mod clock;
pub mod keeper;
