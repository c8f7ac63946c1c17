//! The controller at the emulator: one hub for each test, on free ports of loopback.

mod bench;
mod faults;
mod operate;
mod records;
mod story;
