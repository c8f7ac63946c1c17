//! What the controller and the agents say to each other, and what lies in the hub under the key `ha`.
//!
//! Encodes and decodes, no more: this crate refuses to know files, sockets, clocks and randomness.
//! The shapes are written out by hand and apart from core's own types, so that either may change
//! without the other. What is read is hostile until it has been read: unknown fields are left alone,
//! everything else that makes no sense is refused with its path, what was expected and what to try.

#![warn(missing_docs)]

pub mod anchor;
pub mod control;
pub mod guard;
pub mod key;
pub mod method;
pub mod rotation;
pub mod twin;

#[cfg(test)]
mod arbitrary;
mod error;
mod merge;
mod read;
mod state;
mod text;

pub use self::error::{Error, Problem};

/// The version of every shape written by this crate.
pub const VERSION: u64 = 1;

/// The one key, in tags and twins, under which everything of ours lies.
pub const HA: &str = "ha";
