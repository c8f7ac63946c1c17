//! The operator's program: `iotedge-ha`.

mod args;
mod commands;
mod demo;
mod exit;
mod failure;
mod interruption;
mod lifeline;
mod logging;
mod printer;

use std::process::ExitCode;

use clap::Parser;

use crate::args::Cli;
use crate::printer::Printer;

fn main() -> ExitCode {
    ha_agent::keeper::dispatch_if_asked();
    // A second installation is refused, which is fine: whoever was first chose the same one.
    let _ = rustls::crypto::ring::default_provider().install_default();

    let cli = Cli::parse();
    let printer = Printer::new(&cli.output);
    if let Some(parent) = cli.dies_with
        && let Err(error) = lifeline::die_with(parent)
    {
        return printer.failure(&error.into()).into();
    }
    if let Err(error) = logging::start(&cli.logging, cli.command.is_daemon()) {
        return printer.failure(&error).into();
    }
    match commands::run(cli.command, &printer) {
        Ok(exit) => exit.into(),
        Err(error) => printer.failure(&error).into(),
    }
}
