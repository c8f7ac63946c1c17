use std::net::SocketAddr;

use crate::exit::Exit;
use crate::failure::Result;

/// Write advice to the demo's plant.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[arg(long)]
    plant: SocketAddr,
}

pub(crate) fn run(args: &Args) -> Result<Exit> {
    let _ = args.plant;
    Ok(Exit::Failed)
}
