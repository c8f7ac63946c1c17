use std::time::Duration;

use clap::ValueEnum;
use ha_controller::operate::{Setting, apply};
use ha_iothub::management::{Fallback, Progress};
use serde_json::json;
use tokio::time::Instant;

use super::Site;
use super::plan::{plan, warn};
use crate::commands::common::ConfigArgs;
use crate::commands::request::confirmed;
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::printer::Printer;

/// Set the hub's routes so that messages follow the active device, and wait until they are in force.
///
/// Only the pool's own routes are changed; the rest of the hub is written back as it is. A second run has nothing to do.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  iotedge-ha route apply press_1 --dry-run
  iotedge-ha route apply press_1 --yes --json")]
pub(super) struct Args {
    pool: String,

    /// Change the hub without waiting for a yes
    #[arg(short, long)]
    yes: bool,

    /// Show what would change, and stop there
    #[arg(short = 'n', long, conflicts_with = "yes")]
    dry_run: bool,

    /// Take over routes of our names whoever made them
    #[arg(long)]
    adopt: bool,

    /// Turn the fallback route on or off in the same write; it concerns all devices of the hub
    #[arg(long, value_enum, value_name = "STATE")]
    fallback: Option<OnOff>,

    /// How long to wait until Azure has done it
    #[arg(long, value_name = "SECONDS", default_value_t = 1800)]
    timeout_s: u64,

    #[command(flatten)]
    config: ConfigArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OnOff {
    On,
    Off,
}

impl From<OnOff> for Fallback {
    fn from(wanted: OnOff) -> Self {
        match wanted {
            OnOff::On => Self::On,
            OnOff::Off => Self::Off,
        }
    }
}

pub(super) async fn run(args: Args, printer: &Printer) -> Result<Exit> {
    let site = Site::open(&args.config, &args.pool)?;
    let look = site.look().await?;
    let plan = plan(&site, &look, args.adopt).await?;
    let fallback = args.fallback.map(Fallback::from).filter(|wanted| *wanted != look.resource.fallback());
    for step in &plan.steps {
        printer.note(step);
    }
    if let Some(wanted) = fallback {
        printer
            .note(format_args!("the fallback route is turned {}", if wanted == Fallback::On { "on" } else { "off" }));
    }
    let idle = plan.is_empty() && fallback.is_none();
    if idle {
        printer.note("nothing is to be done: the routes are as they should be");
    } else {
        warn(&look, printer);
    }
    if args.dry_run {
        return Ok(Exit::Ok);
    }
    if !idle && !args.yes && !confirmed()? {
        return Err(Failure::says(Exit::Refused, "nothing was changed"));
    }
    let until = Instant::now() + Duration::from_secs(args.timeout_s);
    let setting = Setting { adopt: args.adopt, fallback };
    let told = |progress| tell(&progress, printer);
    let changed = apply(site.management()?, site.pool()?, &look, setting, until, &told).await;
    let changed = changed.map_err(|error| site.failure(error))?;
    if changed.written {
        printer.note("the routes are in force");
    }
    if printer.wants_json() {
        printer.json_pretty(&json!({ "pool": args.pool, "written": changed.written, "routes": look.wanted }));
    }
    Ok(Exit::Ok)
}

fn tell(progress: &Progress, printer: &Printer) {
    match progress {
        Progress::Busy(state) => printer.note(format_args!("another write on the hub goes on ({state}); waiting")),
        Progress::Raced => printer.note("somebody else wrote first; the change is made again on what they wrote"),
        Progress::Accepted => printer.note("Azure has taken it in; waiting until it is in force"),
        Progress::Running(state) => printer.detail(format_args!("the write goes on ({state})")),
    }
}
