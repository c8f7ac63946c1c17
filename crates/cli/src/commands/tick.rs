use ha_controller::run::{Summary, tick, tick_limit};

use crate::commands::common::ConfigArgs;
use crate::commands::controller::{self, stop_signal};
use crate::exit::Exit;
use crate::failure::Result;
use crate::printer::Printer;

/// Make one pass over the pools and leave, for cron and functions on a timer.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  iotedge-ha tick --config pool.toml
  iotedge-ha tick --config pool.toml --json")]
pub(crate) struct Args {
    #[command(flatten)]
    config: ConfigArgs,

    /// What this controller calls itself [default: host name]
    #[arg(long)]
    name: Option<String>,
}

pub(crate) async fn run(args: Args, printer: &Printer) -> Result<Exit> {
    let setup = controller::setup(&args.config, args.name, printer)?;
    let limit = tick_limit(&setup.config);
    let summary = tick(setup, limit, stop_signal()).await;
    if printer.wants_json() {
        printer.json(&summary);
    } else {
        for (pool, row) in &summary.pools {
            printer.line(format_args!("{pool}: {}", row.sentence));
        }
    }
    Ok(ended(&summary))
}

/// What the exit code tells: whether every pool has somebody who holds, by this or another controller's work.
fn ended(summary: &Summary) -> Exit {
    let all_settled = summary.pools.values().all(|row| row.settled);
    match (&summary.trouble, &summary.owner) {
        (Some(_), _) => Exit::Hub,
        (None, Some(_)) => Exit::Ok,
        (None, None) if summary.in_charge && all_settled => Exit::Ok,
        (None, None) => Exit::TimedOut,
    }
}
