//! Everything the program says: data to stdout, talk to stderr.

use std::fmt::Display;
use std::io::{IsTerminal, Write};

use comfy_table::{Table, presets};
use serde::Serialize;

use crate::exit::Exit;
use crate::failure::Failure;

#[derive(clap::Args)]
pub(crate) struct OutputArgs {
    /// Print data as JSON, for programs
    #[arg(long, global = true, help_heading = "Output")]
    json: bool,

    /// Say nothing but data and errors
    #[arg(short, long, global = true, help_heading = "Output")]
    quiet: bool,

    /// Say more
    #[arg(short, long, global = true, conflicts_with = "quiet", help_heading = "Output")]
    verbose: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Printer {
    json: bool,
    quiet: bool,
    verbose: bool,
    colour_out: bool,
    colour_err: bool,
}

/// A colour repeats what the words say; it never says anything alone.
#[derive(Clone, Copy)]
pub(crate) enum Tone {
    Good,
    Bad,
    Warning,
    Dim,
    Bold,
}

impl Printer {
    pub(crate) fn new(args: &OutputArgs) -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let colour = wanted && !dumb;
        Self {
            json: args.json,
            quiet: args.quiet,
            verbose: args.verbose,
            colour_out: colour && !args.json && std::io::stdout().is_terminal(),
            colour_err: colour && std::io::stderr().is_terminal(),
        }
    }

    pub(crate) fn wants_json(&self) -> bool {
        self.json
    }

    /// A line of data.
    pub(crate) fn line(&self, text: impl Display) {
        put(&mut std::io::stdout().lock(), format_args!("{text}\n"));
    }

    /// One JSON value on a line of its own.
    pub(crate) fn json(&self, value: &impl Serialize) {
        match serde_json::to_string(value) {
            Ok(text) => self.line(text),
            Err(error) => self.warning(format_args!("cannot write JSON: {error}")),
        }
    }

    /// One JSON value, for people to read too.
    pub(crate) fn json_pretty(&self, value: &impl Serialize) {
        match serde_json::to_string_pretty(value) {
            Ok(text) => self.line(text),
            Err(error) => self.warning(format_args!("cannot write JSON: {error}")),
        }
    }

    /// What is going on, for a person who watches.
    pub(crate) fn note(&self, text: impl Display) {
        if !self.quiet {
            put(&mut std::io::stderr().lock(), format_args!("{text}\n"));
        }
    }

    /// What only somebody who asked wants to see.
    pub(crate) fn detail(&self, text: impl Display) {
        if self.verbose {
            self.note(text);
        }
    }

    pub(crate) fn warning(&self, text: impl Display) {
        let label = paint(self.colour_err, Tone::Warning, "warning:");
        put(&mut std::io::stderr().lock(), format_args!("{label} {text}\n"));
    }

    /// A table without lines, which reads well and pipes well.
    pub(crate) fn table<const N: usize>(&self, header: [&str; N]) -> Table {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(header.map(|title| self.tone(Tone::Bold, title)));
        table
    }

    pub(crate) fn print_table(&self, table: &Table) {
        table.lines().for_each(|line| self.line(line.trim_end()));
    }

    /// Text for stdout in a colour, where colours are wanted.
    pub(crate) fn tone(&self, tone: Tone, text: impl Display) -> String {
        paint(self.colour_out, tone, text)
    }

    /// Prints the error, its causes and the hint; gives the exit code.
    pub(crate) fn failure(&self, failure: &Failure) -> Exit {
        let mut text = self.label(Tone::Bad, "error", &failure.error);
        let mut said = failure.error.to_string();
        for cause in failure.error.chain().skip(1) {
            let cause = cause.to_string();
            // Some libraries repeat the cause in their own text.
            if !said.ends_with(&cause) {
                text += &self.label(Tone::Bad, "caused by", &cause);
            }
            said = cause;
        }
        if let Some(hint) = &failure.hint {
            text += &self.label(Tone::Good, "hint", hint);
        }
        put(&mut std::io::stderr().lock(), format_args!("{text}"));
        failure.exit
    }

    fn label(&self, tone: Tone, label: &str, text: impl Display) -> String {
        let label = paint(self.colour_err, tone, format_args!("{label}:"));
        format!("{label} {text}\n")
    }
}

fn paint(colour: bool, tone: Tone, text: impl Display) -> String {
    if !colour {
        return text.to_string();
    }
    let code = match tone {
        Tone::Good => "32",
        Tone::Bad => "31",
        Tone::Warning => "33",
        Tone::Dim => "2",
        Tone::Bold => "1",
    };
    format!("\x1b[{code}m{text}\x1b[0m")
}

/// A reader that has gone away (`| head`) is no error worth telling.
fn put(to: &mut impl Write, text: std::fmt::Arguments<'_>) {
    let _ = to.write_fmt(text).and_then(|()| to.flush());
}
