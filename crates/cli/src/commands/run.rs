use crate::commands::common::ConfigArgs;
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
    let _ = (args.config.path()?, args.name, printer);
    Ok(Exit::Failed)
}
