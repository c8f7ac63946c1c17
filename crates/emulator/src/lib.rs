//! An IoT Hub in one process: its service REST API, MQTT over TLS and over WebSocket, direct methods, twins.
//!
//! Meant for tests, demos and development without an Azure account. It checks credentials and ETags as the hub does,
//! and it breaks on request ([`faults`]). What is faithful, simplified or absent is listed in
//! `docs/reference/emulator.md`. This crate knows nothing of pools, leases or agents.
//!
//! Start it with [`Emulator::start`]; [`Options::default`] takes free ports on loopback and keeps nothing.

mod access;
mod clock;
mod emulator;
mod error;
pub mod faults;
mod files;
pub mod hub;
mod jobs;
mod listen;
pub mod meters;
mod mqtt;
mod options;
mod rest;
mod running;
mod secrets;
mod shell;
mod snapshot;
pub mod throttle;
mod tls;

pub use access::{Authority, Entra, Principal, Role};
pub use emulator::Emulator;
pub use error::Error;
pub use options::{ConnectRate, Options, Seed, Strangers};
pub use running::Running;
pub use shell::{Connection, Message};
