use crate::commands::common::ConfigArgs;
use crate::exit::Exit;
use crate::failure::Result;
use crate::printer::Printer;

/// List the pools and their members: role, term, lease, age of what is known, fitness.
#[derive(clap::Args)]
#[command(
    visible_alias = "ls",
    after_help = "Examples:
  iotedge-ha list
  iotedge-ha list --json press_1"
)]
pub(crate) struct Args {
    /// Only these pools
    #[arg(value_name = "POOL")]
    pools: Vec<String>,

    #[command(flatten)]
    config: ConfigArgs,
}

pub(crate) async fn run(args: Args, printer: &Printer) -> Result<Exit> {
    let _ = (args.config.path()?, args.pools, printer);
    Ok(Exit::Failed)
}
