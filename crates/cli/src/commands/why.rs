use crate::commands::common::ConfigArgs;
use crate::exit::Exit;
use crate::failure::Result;
use crate::printer::Printer;

/// Explain the last decision about a pool from the evidence it was made from.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  iotedge-ha why press_1
  iotedge-ha why press_1 --term 7")]
pub(crate) struct Args {
    pool: String,

    /// The decision that led to this term, instead of the last one
    #[arg(long)]
    term: Option<u64>,

    #[command(flatten)]
    config: ConfigArgs,
}

pub(crate) async fn run(args: Args, printer: &Printer) -> Result<Exit> {
    let _ = (args.config.path()?, args.pool, args.term, printer);
    Ok(Exit::Failed)
}
