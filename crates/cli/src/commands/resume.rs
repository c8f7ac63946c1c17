use ha_core::anchor::Verb;

use crate::commands::request::{Asked, RequestArgs, request};
use crate::exit::Exit;
use crate::failure::Result;
use crate::printer::Printer;

/// Decide about a paused pool again.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  iotedge-ha resume press_1")]
pub(crate) struct Args {
    pool: String,

    #[command(flatten)]
    request: RequestArgs,
}

pub(crate) async fn run(args: Args, printer: &Printer) -> Result<Exit> {
    request(Asked { pool: args.pool, verb: Verb::Resume, moves_work: false }, &args.request, printer).await
}
