//! The demonstration: a hub, three devices and a controller on this machine, stories of failure, and a plant that keeps the record.

pub(crate) mod plant;
mod record;
mod timeline;
