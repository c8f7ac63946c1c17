use clap::CommandFactory;
use clap_complete::Shell;

use crate::args::Cli;
use crate::exit::Exit;

/// Print the completions of a shell.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  iotedge-ha completions bash > /etc/bash_completion.d/iotedge-ha
  iotedge-ha completions zsh > \"${fpath[1]}/_iotedge-ha\"")]
pub(crate) struct Args {
    #[arg(value_enum)]
    shell: Shell,
}

pub(crate) fn run(args: &Args) -> Exit {
    let mut to = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "iotedge-ha", &mut to);
    // A reader that has gone away is no error worth telling.
    let _ = std::io::Write::write_all(&mut std::io::stdout(), &to);
    Exit::Ok
}
