#![no_main]
//! Query text.

use iotedge_ha_fuzz::pure_hub;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let (mut hub, now) = pure_hub();
    let first = hub.query(text, 100, None, now).ok().map(|page| page.rows);
    let again = hub.query(text, 100, None, now).ok().map(|page| page.rows);
    assert_eq!(first, again, "asking changed something");
});
