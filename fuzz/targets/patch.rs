#![no_main]
//! JSON Patches of a digital twin.

use ha_emulator::hub::Expect;
use iotedge_ha_fuzz::pure_hub;
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value, json};

fuzz_target!(|bytes: &[u8]| {
    let Ok(operations) = serde_json::from_slice::<Value>(bytes) else { return };
    let (mut hub, now) = pure_hub();
    let reported = json!({"speed": {"value": 1, "ac": 200, "av": 1}, "arm": {"__t": "c", "reach": 2}});
    let reported: Map<String, Value> = reported.as_object().cloned().unwrap_or_default();
    hub.report(&ha_emulator::hub::Id::device("d"), &reported, now).expect("a report");
    let before = hub.digital_twin("d").expect("a digital twin");
    match hub.patch_digital_twin("d", &operations, &Expect::Nothing, now) {
        Ok(etag) => {
            let after = hub.digital_twin("d").expect("a digital twin");
            assert_eq!(after.etag, etag);
            // What was asked for is there: a second time changes nothing.
            let again = hub.patch_digital_twin("d", &operations, &Expect::Nothing, now);
            if let Ok(etag) = again {
                let twice = hub.digital_twin("d").expect("a digital twin");
                assert_eq!(twice.etag, etag);
            }
        }
        Err(_) => {
            let after = hub.digital_twin("d").expect("a digital twin");
            assert_eq!((after.body, after.etag), (before.body, before.etag), "a refused patch left a trace");
        }
    }
});
