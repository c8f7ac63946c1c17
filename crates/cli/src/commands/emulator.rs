//! An IoT Hub on this machine, and what goes with it.

mod edge_hub;
mod events;
mod fleet;
mod serve;
mod state;
mod tail;

use crate::exit::Exit;
use crate::failure::Result;
use crate::printer::Printer;

/// Run an IoT Hub on this machine: REST and MQTT over TLS, for trying things out and for tests.
///
/// Microsoft's SDKs and this project's programs use it unchanged. It keeps everything in memory, unless --state says otherwise.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true, after_help = serve::EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: Option<What>,
    #[command(flatten)]
    serve: Box<serve::Args>,
}

/// Without one of these the hub itself is served.
#[derive(clap::Subcommand)]
enum What {
    Tail(tail::Args),
    EdgeHub(Box<edge_hub::Args>),
}

impl Args {
    /// Runs until it is told to stop, so it logs what it does.
    pub(crate) fn is_daemon(&self) -> bool {
        matches!(self.what, None | Some(What::EdgeHub(_)))
    }
}

pub(crate) async fn run(args: Args, printer: &Printer) -> Result<Exit> {
    match args.what {
        None => serve::run(*args.serve, printer).await,
        Some(What::Tail(args)) => tail::run(args, printer).await,
        Some(What::EdgeHub(args)) => edge_hub::run(*args, printer).await,
    }
}
