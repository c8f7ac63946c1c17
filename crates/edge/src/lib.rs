//! IoT Edge on a device, as a stand-in: edgeHub, edgeAgent and the workload API in one process.
//!
//! It stands between modules and an IoT Hub, ours or a real one, and treats both as the real runtime does: twins answered
//! from a copy while the cloud is away, reports acknowledged before it has them, methods never stored. It knows nothing of
//! pools, leases or terms.
#![warn(missing_docs)]

mod access;
mod agent;
mod authority;
mod cut;
mod device;
mod doors;
mod error;
mod hub;
mod id;
mod mqtt;
mod options;
mod outflow;
mod patch;
mod registry;
mod shell;
mod store;
mod timings;
mod twin;
mod upstream;
mod workload;

pub use cut::Cut;
pub use device::{Running, start};
pub use error::Error;
pub use id::Id;
pub use options::{Images, Options};
pub use timings::Timings;
