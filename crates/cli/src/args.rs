//! The command line as a whole; each command's own arguments live beside the command.

use clap::{Parser, Subcommand};

use crate::commands;
use crate::exit;
use crate::logging::LogArgs;
use crate::printer::OutputArgs;

/// High availability for Azure IoT Edge devices.
///
/// Several devices carry the same workload; exactly one runs it; when that one fails, another takes over in seconds, and at no
/// moment do two of them run it.
#[derive(Parser)]
#[command(
    name = "iotedge-ha",
    version,
    after_help = exit::HELP,
    max_term_width = 110,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    #[command(flatten)]
    pub(crate) logging: LogArgs,

    /// End when this process, which has started us, ends
    #[arg(long, value_name = "PID", hide = true, global = true)]
    pub(crate) dies_with: Option<i32>,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    Demo(commands::demo::Args),
    Init(commands::init::Args),
    Run(commands::run::Args),
    Tick(commands::tick::Args),
    Function(commands::function::Args),
    List(commands::list::Args),
    Show(commands::show::Args),
    Dashboard(commands::dashboard::Args),
    History(commands::history::Args),
    Why(commands::why::Args),
    Switchover(commands::switchover::Args),
    Failover(commands::failover::Args),
    Pause(commands::pause::Args),
    Resume(commands::resume::Args),
    Maintenance(commands::maintenance::Args),
    Parents(commands::parents::Args),
    Join(commands::join::Args),
    Leave(commands::leave::Args),
    Replace(commands::replace::Args),
    RotateKeys(commands::rotate_keys::Args),
    Route(commands::route::Args),
    Estimate(commands::estimate::Args),
    Check(commands::check::Args),
    Drift(commands::drift::Args),
    Deploy(commands::deploy::Args),
    Config(commands::config::Args),
    Emulator(commands::emulator::Args),
    Agent(commands::agent::Args),
    Completions(commands::completions::Args),
    #[command(hide = true)]
    DemoWorkload(commands::demo_workload::Args),
    #[command(hide = true)]
    Reference(commands::reference::Args),
}

impl Command {
    /// Runs until it is told to stop, so it logs what it does.
    pub(crate) fn is_daemon(&self) -> bool {
        match self {
            Self::Run(_) | Self::Function(_) | Self::Agent(_) => true,
            Self::Emulator(args) => args.is_daemon(),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
