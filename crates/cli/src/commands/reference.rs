mod configuration;

use std::fmt::Write;

use clap::{Command, CommandFactory, ValueEnum};

use ha_agent::settings::settings_schema;
use ha_controller::config::config_schema;

use crate::args::Cli;
use crate::exit::Exit;
use crate::failure::Result;
use crate::printer::Printer;

/// Print a generated page of docs/reference.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[arg(value_enum)]
    topic: Topic,
}

#[derive(Clone, Copy, ValueEnum)]
enum Topic {
    Cli,
    Configuration,
    Schema,
    Agent,
    AgentSchema,
}

pub(crate) fn run(args: &Args, printer: &Printer) -> Result<Exit> {
    let page = match args.topic {
        Topic::Cli => command_line()?,
        Topic::Configuration => configuration::page(configuration::CONTROLLER, &config_schema()),
        Topic::Schema => serde_json::to_string_pretty(&config_schema())?,
        Topic::Agent => configuration::page(configuration::AGENT, &settings_schema()),
        Topic::AgentSchema => serde_json::to_string_pretty(&settings_schema())?,
    };
    printer.line(page.trim_end());
    Ok(Exit::Ok)
}

fn command_line() -> Result<String> {
    let mut root = Cli::command().term_width(100).disable_help_subcommand(true);
    root.build();
    let mut page = String::from("# Command line\n\nGenerated from `--help` by `cargo xtask docs`; do not edit.\n");
    section(&mut page, &root, &[])?;
    Ok(page)
}

fn section(page: &mut String, command: &Command, parents: &[&str]) -> Result<()> {
    let mut path = parents.to_vec();
    path.push(command.get_name());
    let title = path.join(" ");
    let mut shown = command.clone().term_width(100);
    if !parents.is_empty() {
        // They stand once, on the first page.
        shown = shown.mut_args(|arg| if arg.is_global_set() { arg.hide(true) } else { arg });
    }
    let help = shown.render_long_help();
    let help: Vec<_> = help.to_string().lines().map(|l| l.trim_end().to_owned()).collect();
    write!(page, "\n## {title}\n\n```text\n{}\n```\n", help.join("\n").trim_end())?;
    for child in command.get_subcommands().filter(|child| !child.is_hide_set()) {
        section(page, child, &path)?;
    }
    Ok(())
}
