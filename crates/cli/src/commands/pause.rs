use ha_core::anchor::Verb;

use crate::commands::request::{Asked, RequestArgs, request};
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
    request(Asked { pool: args.pool, verb: Verb::Pause, moves_work: false }, &args.request, printer).await
}
