use crate::commands::common::ConfigArgs;
use crate::exit::Exit;
use crate::failure::Result;
use crate::printer::Printer;

/// Show the configuration with defaults filled in, its schema, or an example.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  iotedge-ha config example > iotedge-ha.toml
  iotedge-ha config show
  iotedge-ha config schema > config.schema.json")]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// The configuration in force: file, environment and defaults together, secrets left out
    Show(ConfigArgs),
    /// The JSON Schema of the configuration file
    Schema,
    /// A small configuration to start from
    Example,
}

pub(crate) async fn run(args: Args, printer: &Printer) -> Result<Exit> {
    match args.what {
        What::Show(config) => drop(config.path()?),
        What::Schema | What::Example => {}
    }
    let _ = printer;
    Ok(Exit::Failed)
}
