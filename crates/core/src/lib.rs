//! Decides: who of a pool may run, and when.
//!
//! Two state machines carry the echo lease. [`holder::Holder`] is the half on a device: it hands out
//! nonces, takes grants and opens and closes the gate. [`pool::Pool`] is the half in the controller: it
//! gathers what was seen, lets [`plan::plan`] decide and keeps, in a [`grantor::Grantor`], the upper
//! bound on how long each holder may still run.
//!
//! Facts and time go in, effects come out. This crate refuses to know clocks, randomness, files,
//! sockets and threads, so that production, a simulator and a model checker run the same code.

#![warn(missing_docs)]

pub mod anchor;
pub mod bounds;
pub mod brake;
pub mod charge;
pub mod drift;
pub mod fitness;
pub mod flag;
pub mod grantor;
pub mod holder;
pub mod ids;
pub mod invariants;
pub mod messages;
pub mod plan;
pub mod policy;
pub mod pool;
#[cfg(test)]
mod script;
pub mod seen;
pub mod time;
