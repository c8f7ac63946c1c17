//! An IoT Hub in one process: its service REST API, MQTT over TLS and over WebSocket, direct methods, twins.
//!
//! Meant for tests, demos and development without an Azure account. It checks credentials and ETags as the hub does,
//! and it breaks on request ([`faults`]). What is faithful, simplified or absent is listed in
//! `docs/reference/emulator/fidelity.md`. This crate knows nothing of pools, leases or agents.
//!
//! Start it with [`Emulator::start`]; [`Options::default`] takes free ports on loopback and keeps nothing.

mod access;
mod clock;
mod doors;
mod emulator;
mod error;
mod evaluation;
mod event_grid;
mod events;
pub mod faults;
mod files;
mod fleet;
pub mod hub;
mod jobs;
mod journal;
mod listen;
mod management;
pub mod meters;
mod mqtt;
mod options;
mod rest;
mod routing;
mod running;
mod script;
mod secrets;
mod seeds;
mod shell;
mod snapshot;
pub mod throttle;
mod tls;
mod transfers;
mod uploads;
mod webhook;

pub use access::{Authority, Entra, Principal, Role};
pub use doors::Restart;
pub use emulator::Emulator;
pub use error::Error;
pub use event_grid::{EventSubscription, Schema};
pub use fleet::{export, import};
pub use management::ControlPlane;
pub use options::{ConnectRate, EventOptions, Options, Seed, Strangers};
pub use routing::{Endpoint, Sink};
pub use running::Running;
pub use shell::{Connection, Message};
