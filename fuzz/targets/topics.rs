#![no_main]
//! Topics, filters, log-in names and property bags: what parses is written the same way and read back.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use ha_wire::Properties;
use ha_wire::topics::{ClientId, Filter, FromDevice, ToDevice, Username};
use libfuzzer_sys::fuzz_target;

fn round<T: FromStr + Display + PartialEq + Debug>(text: &str) {
    if let Ok(value) = text.parse::<T>() {
        let written = value.to_string();
        let again = written.parse::<T>().ok();
        assert_eq!(again.as_ref(), Some(&value), "{written:?} is not read back");
    }
}

fuzz_target!(|text: &str| {
    round::<FromDevice>(text);
    round::<ToDevice>(text);
    round::<Filter>(text);
    round::<ClientId>(text);
    round::<Properties>(text);
    let _ = text.parse::<Username>();
});
