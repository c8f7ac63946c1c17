//! The controller at the emulator: one hub for each test, on free ports of loopback.

mod bench;
mod dashboard;
mod deployments;
mod faults;
mod flag;
mod membership;
mod operate;
mod parents;
mod records;
mod rotation;
mod routes;
mod story;
