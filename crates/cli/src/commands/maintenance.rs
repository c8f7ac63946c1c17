use clap::ValueEnum;
use ha_core::anchor::Verb;
use ha_core::ids::MemberId;

use crate::commands::request::{Asked, RequestArgs, request};
use crate::exit::Exit;
use crate::failure::Result;
use crate::printer::Printer;

/// Mark a member as being worked on, so that it is not given the work; or take the mark off.
///
/// A holder that is marked hands the work over first.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  iotedge-ha maintenance press_1 edge-2 on --reason 'disk replacement'
  iotedge-ha maintenance press_1 edge-2 off")]
pub(crate) struct Args {
    pool: String,

    member: String,

    #[arg(value_enum)]
    mark: Mark,

    #[command(flatten)]
    request: RequestArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mark {
    On,
    Off,
}

pub(crate) async fn run(args: Args, printer: &Printer) -> Result<Exit> {
    let on = args.mark == Mark::On;
    let verb = Verb::Maintenance { member: MemberId::new(args.member), on };
    request(Asked { pool: args.pool, verb, moves_work: on }, &args.request, printer).await
}
