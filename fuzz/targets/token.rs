#![no_main]
//! Bearer tokens and the key sets they are verified with.

use ha_emulator::Authority;
use iotedge_ha_fuzz::World;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = Authority::new("https://issuer/", text);
    let hub = World::get().hub();
    for header in [text, &format!("Bearer {text}")] {
        if let Ok(id) = hub.check_bearer_token(header) {
            panic!("a forged token is taken as {id}");
        }
    }
});
