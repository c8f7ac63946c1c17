//! One pass at a time in this process; between processes the control lease decides.

use std::time::Duration;

use ha_core::ids::MemberId;
use ha_wire::event_grid::DeviceEvent;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::hub::iot::IotHub;
use crate::run::{Setup, Summary, hold, pass, tick_limit};

pub(super) struct Passes {
    hold: Duration,
    stop: CancellationToken,
    under_way: Mutex<()>,
}

impl Passes {
    pub(super) fn new(hold: Duration, stop: CancellationToken) -> Self {
        Self { hold, stop, under_way: Mutex::new(()) }
    }

    /// Renews for as long as a pass may last.
    pub(super) async fn hold(&self, setup: &Setup<IotHub>) -> Result<String, String> {
        let Ok(_mine) = self.under_way.try_lock() else {
            return Ok("a pass is under way in this process already".to_owned());
        };
        outcome(&hold(setup, self.hold, self.stop.clone()).await)
    }

    /// Looks at all pools once; what the event says is not believed, for it may be hours old.
    pub(super) async fn after_event(&self, setup: &Setup<IotHub>, event: &DeviceEvent) -> Result<String, String> {
        let Ok(_mine) = self.under_way.try_lock() else {
            setup.hints.give(&MemberId::new(event.device.as_str()));
            return Ok(format!("{}: the pass that is under way asks it", event.device));
        };
        outcome(&pass(setup, tick_limit(&setup.config), self.stop.clone()).await)
    }
}

fn outcome(summary: &Summary) -> Result<String, String> {
    if let Some(owner) = &summary.owner {
        return Ok(format!("{owner} is in charge; nothing was done here"));
    }
    if !summary.in_charge {
        let why = summary.trouble.as_deref().unwrap_or("the control lease could not be had in time");
        return Err(format!("not in charge: {why}"));
    }
    let said: Vec<String> = summary.pools.iter().map(|(pool, row)| format!("{pool}: {}", row.sentence)).collect();
    Ok(said.join("; "))
}
