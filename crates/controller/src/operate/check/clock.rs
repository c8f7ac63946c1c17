use super::{Check, Outcome, patience};
use crate::clock::wall;
use crate::hub::chain;
use crate::hub::iot::IotHub;

pub(super) const CHECK: Check = Check { id: "clock", description: "this machine's clock agrees with the hub's" };

/// No lease depends on wall clocks; tokens and the history do. IoT Hub bears five minutes.
const SKEW_MS_WARN: i64 = 30_000;
const SKEW_MS_MAX: i64 = 240_000;

pub(super) async fn check(hub: &IotHub) -> Outcome {
    let date = match hub.client().date(&patience()).await {
        Ok(Some(date)) => date,
        Ok(None) => return Outcome::NotApplicable { because: "the hub does not tell its time".to_owned() },
        Err(error) => {
            return Outcome::warning(format!("the hub's time cannot be read: {}", chain(&error)), "try again");
        }
    };
    let Ok(there) = jiff::fmt::rfc2822::parse(&date) else {
        return Outcome::NotApplicable { because: format!("the hub's time is not understood: {date:.40}") };
    };
    let skew = wall().0 - there.timestamp().as_millisecond();
    let found = format!("{} s apart", skew / 1_000);
    let hint = "set the clock by NTP: tokens of a wrong clock are refused";
    match skew.abs() {
        ..SKEW_MS_WARN => Outcome::ok(found),
        SKEW_MS_WARN..SKEW_MS_MAX => Outcome::warning(found, hint),
        _ => Outcome::error(found, hint),
    }
}
