//! What the members of a pool are told to run, and what they report to run.
//!
//! A deployment's life in types: [`Manifest`] is what somebody wrote, [`Runs`] is what twins say of one member, in a canonical
//! form that has a [`Digest`], and [`diff`] is how two of them differ, by module and key. Everything is handed in: this crate
//! opens no socket and reads no clock. What comes from outside is hostile until it has been read.
#![warn(missing_docs)]

mod cause;
mod create_options;
pub mod diff;
mod digest;
mod error;
mod ignore;
pub mod manifest;
mod member;
pub mod release;
mod runs;
pub mod template;

pub use self::cause::{Applied, Cause, cause};
pub use self::digest::Digest;
pub use self::error::{Error, Problem};
pub use self::ignore::{Ignore, Told};
pub use self::manifest::{Manifest, Sections, claims_of};
pub use self::member::{Member, Module, Uptake};
pub use self::runs::{Place, Runs, Settings};

/// The module that starts and stops the others.
pub const EDGE_AGENT: &str = "$edgeAgent";
/// The module that all others talk through.
pub const EDGE_HUB: &str = "$edgeHub";
