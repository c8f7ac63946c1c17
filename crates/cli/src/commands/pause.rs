use ha_core::anchor::Verb;

use crate::commands::common::RequestArgs;
use crate::commands::request::request;
use crate::exit::Exit;
use crate::failure::Result;
use crate::printer::Printer;

/// Decide nothing about a pool: keep watching, keep the holder's lease, move nothing.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  iotedge-ha pause press_1 --reason 'network work until noon'")]
pub(crate) struct Args {
    pool: String,

    #[command(flatten)]
    request: RequestArgs,
}

pub(crate) async fn run(args: Args, printer: &Printer) -> Result<Exit> {
    let verb = Verb::Pause;
    request(&args.request, &args.pool, verb, printer).await
}
