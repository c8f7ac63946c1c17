//! Where messages go: routes, their conditions, enrichments and endpoints.

mod endpoint;
mod enrichment;
mod message;
mod problem;
mod table;

pub use endpoint::{Endpoint, Sink};

pub(crate) use endpoint::Endpoints;
pub(crate) use message::{Message, Source};
pub(crate) use table::{Limits, Table};
