use crate::commands::common::ConfigArgs;
use crate::exit::Exit;
use crate::failure::Result;
use crate::printer::Printer;

/// Show how a pool's holder changed, when and why.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  iotedge-ha history press_1
  iotedge-ha history press_1 --limit 100 --json")]
pub(crate) struct Args {
    pool: String,

    /// At most this many changes, the newest first
    #[arg(long, default_value_t = 20)]
    limit: usize,

    #[command(flatten)]
    config: ConfigArgs,
}

pub(crate) async fn run(args: Args, printer: &Printer) -> Result<Exit> {
    let _ = (args.config.path()?, args.pool, args.limit, printer);
    Ok(Exit::Failed)
}
