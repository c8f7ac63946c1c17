use ha_core::anchor::Verb;
use ha_core::ids::MemberId;

use crate::commands::request::{Asked, RequestArgs, request};
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::printer::Printer;

/// Give the work to another member although the holder does not answer.
///
/// Waits until the old holder's lease has run out. `--fenced` skips that wait: you say that the old holder is not running (its
/// power is off, its network is cut), you take responsibility for it, and the history records that you did.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  iotedge-ha failover press_1 --to edge-2
  iotedge-ha failover press_1 --to edge-2 --fenced --yes --reason 'rack 4 has no power'")]
pub(crate) struct Args {
    pool: String,

    /// The member that shall hold [default: the fittest standby]
    #[arg(long, value_name = "MEMBER")]
    to: Option<String>,

    /// The old holder is certainly not running; needs --yes
    #[arg(long)]
    fenced: bool,

    #[command(flatten)]
    request: RequestArgs,
}

pub(crate) async fn run(args: Args, printer: &Printer) -> Result<Exit> {
    if args.fenced && !args.request.is_sure() {
        return Err(Failure::says(
            Exit::Usage,
            "--fenced needs --yes: it ends the wait for the old holder on your word",
        )
        .hint("--dry-run shows what would happen"));
    }
    let verb = Verb::Failover { to: args.to.map(MemberId::new), fenced: args.fenced };
    request(Asked { pool: args.pool, verb, moves_work: true }, &args.request, printer).await
}
