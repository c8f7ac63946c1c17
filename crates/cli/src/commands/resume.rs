use ha_core::anchor::Verb;

use crate::commands::common::RequestArgs;
use crate::commands::request::request;
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
    let verb = Verb::Resume;
    request(&args.request, &args.pool, verb, printer).await
}
