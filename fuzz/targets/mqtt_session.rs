#![no_main]
//! Bytes of a module that has logged in.

use std::sync::OnceLock;

use iotedge_ha_fuzz::{World, connect};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    static CONNECT: OnceLock<Vec<u8>> = OnceLock::new();
    let world = World::get();
    let connect = CONNECT.get_or_init(|| connect(world.hub()));
    assert_eq!(world.session(connect, bytes), [0x20, 2, 0, 0], "the log-in was not accepted");
});
