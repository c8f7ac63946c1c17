use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::printer::Printer;

/// Run the agent on a device: keep the lease, open and close the gate for the workload.
///
/// The slim program `iotedge-ha-agent` is the same without the rest.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  iotedge-ha agent --pool press_1 --state-dir /var/lib/iotedge-ha -- /usr/bin/python3 /app/advise.py
  iotedge-ha agent --config agent.toml --http-addr 127.0.0.1:8480")]
pub(crate) struct Args {
    #[command(flatten)]
    agent: ha_agent::AgentArgs,
}

pub(crate) async fn run(args: Args, _printer: &Printer) -> Result<Exit> {
    ha_agent::run(&args.agent).await.map_err(|error| {
        let exit = if error.is_usage() { Exit::Usage } else { Exit::Failed };
        Failure::new(exit, error)
    })?;
    Ok(Exit::Ok)
}
