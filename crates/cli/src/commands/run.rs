use ha_controller::run::{Setup, run as run_controller};

use crate::commands::common::ConfigArgs;
use crate::commands::controller::{self, stop_signal};
use crate::exit::Exit;
use crate::failure::Result;
use crate::printer::Printer;

/// Run the controller: watch the pools, keep the leases, move the work when a device fails.
///
/// Any number of controllers may run; one at a time is in charge of a pool, and another takes over when it dies.
/// Ctrl-C or SIGTERM gives the charge back before leaving.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  iotedge-ha run --config pool.toml
  iotedge-ha run --config pool.toml --name site-b --log info,ha_controller=debug")]
pub(crate) struct Args {
    #[command(flatten)]
    config: ConfigArgs,

    /// What this controller calls itself; two that run at once need two names [default: host name and process id]
    #[arg(long)]
    name: Option<String>,
}

pub(crate) async fn run(args: Args, printer: &Printer) -> Result<Exit> {
    let setup: Setup<_> = controller::setup(&args.config, args.name, printer)?;
    let summary = run_controller(setup, stop_signal()).await;
    if printer.wants_json() {
        printer.json(&summary);
    }
    Ok(Exit::Ok)
}
