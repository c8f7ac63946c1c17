//! The service REST API, the WebSocket door for MQTT, and the control API, on one listener.

mod answer;
mod app;
mod arm;
mod blob;
mod bound;
mod call;
mod control;
mod device;
mod digital_twin;
mod entra;
mod events;
mod jobs;
mod metering;
mod methods;
mod page;
mod query;
mod record;
mod serve;
mod service;
mod upload;

pub(crate) use app::{App, ControlToken};
pub(crate) use methods::carry;
pub(crate) use record::Recorder;
pub(crate) use serve::accept;
