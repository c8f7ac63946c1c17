use crate::commands::common::ConfigArgs;
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
    let _ = (args.config.path()?, args.name, printer);
    Ok(Exit::Failed)
}
