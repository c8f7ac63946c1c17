use ha_agent::AgentArgs;

use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::printer::Printer;

/// Run the agent on a device: keep the lease, open and close the gate for the workload.
///
/// As an IoT Edge module it needs no credentials; elsewhere it takes a module's connection string. `iotedge-ha-agent` is the
/// same in a smaller program.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  iotedge-ha agent --pool press_1 --state-dir /var/lib/ha-agent -- /usr/bin/advisor --site m1
  iotedge-ha agent --pool press_1 --connection-string-file module.key --http-addr 127.0.0.1:8480")]
pub(crate) struct Args {
    #[command(flatten)]
    agent: AgentArgs,
}

pub(crate) async fn run(args: Args, _printer: &Printer) -> Result<Exit> {
    match ha_agent::run(&args.agent).await {
        Ok(()) => Ok(Exit::Ok),
        Err(error) => {
            let exit = if error.is_usage() { Exit::Usage } else { Exit::Failed };
            Err(Failure::new(exit, error))
        }
    }
}
