use crate::commands::common::ConfigArgs;
use crate::exit::Exit;
use crate::failure::Result;
use crate::printer::Printer;

/// Compute the worst case of a configuration: failover time, gap, hub calls against the hub's limits.
///
/// Asks nothing of the hub. Refuses what cannot be safe.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  iotedge-ha estimate --config pool.toml
  iotedge-ha estimate --config pool.toml --sku S2 --units 2 --json")]
pub(crate) struct Args {
    #[command(flatten)]
    config: ConfigArgs,

    /// The hub's tier: F1, B1, B2, B3, S1, S2 or S3 [default: from the configuration]
    #[arg(long)]
    sku: Option<String>,

    /// The hub's number of units [default: from the configuration]
    #[arg(long)]
    units: Option<u32>,
}

pub(crate) async fn run(args: Args, printer: &Printer) -> Result<Exit> {
    let _ = (args.config.path()?, args.sku, args.units, printer);
    Ok(Exit::Failed)
}
