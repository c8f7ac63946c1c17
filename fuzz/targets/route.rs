#![no_main]
//! Routes of an edgeHub, as its twin holds them.

use ha_edge::check_route;
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

fuzz_target!(|text: &str| {
    let plain = check_route(&json!(text));
    if let Ok(value) = serde_json::from_str::<Value>(text) {
        let _ = check_route(&value);
    }
    let rich = check_route(&json!({"route": text, "priority": 9, "timeToLiveSecs": 1}));
    assert_eq!(rich, plain, "an object is another route than its text");
});
