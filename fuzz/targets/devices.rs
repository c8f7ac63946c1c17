#![no_main]
//! Lines of `devices.txt`, into a hub that has a device already; what one hub exports another takes.

use ha_emulator::hub::{Dice, Hub};
use ha_emulator::{export, import};
use iotedge_ha_fuzz::pure_hub;
use jiff::SignedDuration;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let (mut hub, now) = pure_hub();
    let imported = import(&mut hub, text, now);
    if let Err(reason) = &imported {
        assert!(reason.starts_with("line "), "a mistake without its place: {reason}");
    }
    let lines = export(&hub);
    let mut second = Hub::new(Dice::new([8; 32]), SignedDuration::ZERO);
    let taken = import(&mut second, &lines, now);
    assert_eq!(taken, Ok(lines.lines().count()), "an export is not taken: {lines}");
    assert_eq!(second.identities(), hub.identities());
});
