//! What `run` and `tick` share: a controller from its configuration.

use std::sync::Arc;

use ha_controller::clock::Clock;
use ha_controller::config::Override;
use ha_controller::hub::chain;
use ha_controller::hub::iot::IotHub;
use ha_controller::run::{Hints, Setup};
use ha_controller::store::{Error as StoreError, Recorder, set_aside};

use super::common::{ConfigArgs, open_hub};
use crate::failure::Result;

#[derive(clap::Args)]
pub(crate) struct ControllerArgs {
    /// What this controller calls itself in records and logs [default: from the configuration, else the host's name]
    #[arg(long)]
    name: Option<String>,

    /// Move a history that cannot be read out of the way and begin a new one
    #[arg(long)]
    set_aside_history: bool,
}

pub(crate) fn setup(config: &ConfigArgs, args: &ControllerArgs) -> Result<Setup<IotHub>> {
    let name = args.name.as_ref().map(|name| Override::flag("controller.name", name, "--name"));
    let config = config.load(name.into_iter().collect())?;
    let hub = Arc::new(open_hub(&config)?);
    let clock = Clock::start();
    let (state_dir, days, now) = (&config.controller.state_dir, config.controller.history_days, clock.now().wall);
    let mut opened = Recorder::open(state_dir, days, now);
    if let (true, Err(StoreError::Damaged { .. })) = (args.set_aside_history, &opened) {
        let aside = set_aside(state_dir, now)?;
        tracing::warn!(aside = %aside.display(), "the history was damaged and has been set aside");
        opened = Recorder::open(state_dir, days, now);
    }
    // The long history is worth a warning, not a pool.
    let recorder = opened.unwrap_or_else(|error| {
        tracing::warn!(error = chain(&error), "no long history is kept");
        Recorder::absent()
    });
    Ok(Setup { config, hub, recorder, clock, hints: Hints::default() })
}
