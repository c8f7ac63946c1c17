//! Logs go to stderr: stdout belongs to data.

use std::io::IsTerminal;

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

use crate::exit::Exit;
use crate::failure::{OrExit, Result};

#[derive(clap::Args)]
pub(crate) struct LogArgs {
    /// What to log, e.g. `debug` or `info,ha_controller=debug` [default: warn, or info for run, agent and emulator]
    #[arg(long = "log", env = "RUST_LOG", value_name = "FILTER", global = true, help_heading = "Output")]
    filter: Option<String>,

    /// How a line of the log looks
    #[arg(long = "log-format", env = "IOTEDGE_HA_LOG_FORMAT", value_enum, default_value_t = Format::Text, global = true, help_heading = "Output")]
    format: Format,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

/// Starts logging. `daemon` programs tell what they do without being asked.
pub(crate) fn start(args: &LogArgs, daemon: bool) -> Result<()> {
    let default = if daemon { "info" } else { "warn" };
    let filter = match args.filter.as_deref() {
        None | Some("") => EnvFilter::new(default),
        Some(text) => EnvFilter::try_new(text)
            .or_hint(Exit::Usage, "a filter is a level, or a list like `info,ha_controller=debug`")?,
    };
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let started = match args.format {
        Format::Text => lines.with_ansi(colour).finish().try_init(),
        Format::Json => lines.json().finish().try_init(),
    };
    started.or_exit(Exit::Failed)
}
