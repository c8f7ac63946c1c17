use crate::commands::common::ConfigArgs;
use crate::exit::Exit;
use crate::failure::Result;
use crate::printer::Printer;

/// Show one pool with everything that is known of its members.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  iotedge-ha show press_1
  iotedge-ha show press_1 --json")]
pub(crate) struct Args {
    pool: String,

    #[command(flatten)]
    config: ConfigArgs,
}

pub(crate) async fn run(args: Args, printer: &Printer) -> Result<Exit> {
    let _ = (args.config.path()?, args.pool, printer);
    Ok(Exit::Failed)
}
