#![no_main]
//! Patches of a twin, by the back end and by the device.

use ha_emulator::hub::{Expect, Id};
use iotedge_ha_fuzz::pure_hub;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|bytes: &[u8]| {
    let Ok(body) = serde_json::from_slice::<Value>(bytes) else { return };
    let (mut hub, now) = pure_hub();
    let id = Id::device("d");
    for replace in [false, true] {
        let before = hub.twin(&id).expect("a twin");
        let written = match replace {
            false => hub.patch_twin(&id, &body, &Expect::Nothing, now),
            true => hub.replace_twin(&id, &body, &Expect::Nothing, now),
        };
        let after = hub.twin(&id).expect("a twin");
        match written {
            Ok(shown) => assert_eq!(shown, after),
            Err(_) => assert_eq!(before, after, "a refused write left a trace"),
        }
        assert!(after["version"].as_u64() >= before["version"].as_u64(), "the version went back");
    }
    if let Value::Object(patch) = &body {
        let _ = hub.report(&id, patch, now);
        let twin = hub.twin(&id).expect("a twin");
        let text = twin.to_string();
        assert_eq!(serde_json::from_str::<Value>(&text).ok().as_ref(), Some(&twin), "not the same after JSON");
    }
});
