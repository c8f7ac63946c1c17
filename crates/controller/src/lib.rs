//! The daemon: gathers, decides, carries out; the control lease, the store of decisions.
//!
//! [`config`] says what is wanted, [`hub`] speaks with IoT Hub, [`run`] drives the pure cores of
//! `ha_core`, [`store`] remembers, and [`operate`] is what an operator does with nothing but the hub's
//! credentials. What to do is never decided here: that is core's.

pub mod clock;
pub mod config;
pub mod dashboard;
pub mod function;
mod hook;
pub mod hub;
pub mod operate;
pub mod parents;
pub mod push;
pub mod routing;
pub mod run;
pub mod selection;
pub mod store;
