use std::fmt::Write;

use clap::{Command, CommandFactory, ValueEnum};

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
}

pub(crate) fn run(args: &Args, printer: &Printer) -> Result<Exit> {
    let page = match args.topic {
        Topic::Cli => command_line()?,
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
    let help = command.clone().term_width(100).render_long_help();
    let help: Vec<_> = help.to_string().lines().map(|l| l.trim_end().to_owned()).collect();
    write!(page, "\n## {title}\n\n```text\n{}\n```\n", help.join("\n").trim_end())?;
    for child in command.get_subcommands().filter(|child| !child.is_hide_set()) {
        section(page, child, &path)?;
    }
    Ok(())
}
