//! An async client for the IoT Hub service REST API: identities, twins, queries, direct methods, configurations.
//!
//! Every call takes a [`Call`], which says until when its result is wanted, how long one attempt may take and how urgent
//! it is. Inside that time the client retries what is safe to retry and waits for the hub's rate limits, renewals first.
//! A write whose answer was lost is **not** repeated: [`Error::outcome_unknown`] says so, and the caller reads again.
//!
//! The client knows nothing of pools, leases or terms.
#![warn(missing_docs)]

pub mod budget;
mod call;
mod client;
mod cloud;
mod credential;
pub mod entra;
mod error;
mod exchange;
pub mod management;
mod retry;
mod sku;

pub use budget::Urgency;
pub use call::Call;
pub use client::{Client, Options, Page, Query};
pub use cloud::Cloud;
pub use credential::ReadStrings;
pub use entra::Entra;
pub use error::{Error, Refusal};
pub use retry::Backoff;
pub use sku::{Limits, Operation, Sku};
