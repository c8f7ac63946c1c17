#![no_main]
//! Bytes of a stranger, from the first one on.

use iotedge_ha_fuzz::World;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    World::get().send(bytes);
});
