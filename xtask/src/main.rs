//! Chores in Rust: `cargo xtask test`, `layers`, `docs`, `example`, `fuzz`, `check`.

mod docs;
mod example;
mod fuzz;
mod layers;
mod run;
mod sdks;
mod suite;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Chores of the workspace", bin_name = "cargo xtask")]
struct Xtask {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Build what the tests need and run the whole suite.
    Test {
        /// Handed on to `cargo test`: a filter, or `-- --nocapture`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Hold the crates' dependencies against the table of who may know whom.
    Layers,
    /// Write the generated pages of docs/reference.
    Docs {
        /// Write nothing; fail when a page differs from what would be written.
        #[arg(long)]
        check: bool,
    },
    /// Build and run examples/press-line: a hub, two devices, a plant, a failover and a rolling update.
    Example,
    /// Feed hostile bytes to what reads them; needs a nightly compiler and cargo-fuzz.
    Fuzz {
        /// Targets of the folder fuzz/targets; all when none is named.
        targets: Vec<String>,
        /// How long each runs.
        #[arg(long, default_value_t = fuzz::SECONDS)]
        seconds: u64,
    },
    /// Everything CI runs.
    Check,
}

fn main() -> ExitCode {
    let done = match Xtask::parse().chore {
        Chore::Test { args } => suite::test(&args),
        Chore::Layers => layers::check(),
        Chore::Docs { check } => docs::generate(check),
        Chore::Example => example::press_line(),
        Chore::Fuzz { targets, seconds } => fuzz::fuzz(&targets, seconds),
        Chore::Check => suite::check(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
