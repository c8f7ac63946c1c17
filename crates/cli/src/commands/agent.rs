use crate::exit::Exit;
use crate::failure::Result;
use crate::printer::Printer;

/// Run the agent on a device: keep the lease, open and close the gate for the workload.
#[derive(clap::Args)]
pub(crate) struct Args {}

pub(crate) async fn run(_args: Args, _printer: &Printer) -> Result<Exit> {
    Ok(Exit::Failed)
}
