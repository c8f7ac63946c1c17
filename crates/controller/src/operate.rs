//! What an operator does with nothing but the hub's credentials.
//!
//! Reading asks the record and the agents themselves; changing writes a request into the record, which
//! whichever controller is in charge picks up. No controller's address is needed.

mod active;
mod ask;
pub mod check;
pub mod deploy;
mod drift;
mod error;
pub mod membership;
mod report;
mod rotate;
mod routes;

pub use self::active::{Active, wait_active};
pub use self::ask::{ask, wait_settled};
pub use self::drift::{DriftReport, Drifted, Kind as DriftKind, MemberDrift, drift};
pub use self::error::{AskError, NotActive};
pub use self::report::{FollowerReport, MemberReport, PoolReport, members_of, report, when};
pub use self::rotate::{KeyChange, NotRotated, key_stage, rotate_key};
pub use self::routes::{Look, RouteError, Setting, Trial, apply, compile, look, try_members};
