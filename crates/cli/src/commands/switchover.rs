use ha_core::anchor::Verb;
use ha_core::ids::MemberId;

use crate::commands::request::{Asked, RequestArgs, request};
use crate::exit::Exit;
use crate::failure::Result;
use crate::printer::Printer;

/// Move the work to another member in an orderly way: the holder stops first.
///
/// The request is written into the pool's record in the hub, and whichever controller is in charge carries it out.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  iotedge-ha switchover press_1
  iotedge-ha switchover press_1 --to edge-2 --reason 'disk replacement' --yes")]
pub(crate) struct Args {
    pool: String,

    /// The member that shall hold [default: the fittest standby]
    #[arg(long, value_name = "MEMBER")]
    to: Option<String>,

    #[command(flatten)]
    request: RequestArgs,
}

pub(crate) async fn run(args: Args, printer: &Printer) -> Result<Exit> {
    let verb = Verb::Switchover { to: args.to.map(MemberId::new) };
    request(Asked { pool: args.pool, verb, moves_work: true }, &args.request, printer).await
}
