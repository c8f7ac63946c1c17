use ha_controller::config::{Config, config_schema};

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
        What::Show(config) => show(&config.load(Vec::new())?, printer),
        What::Schema => printer.json_pretty(&config_schema()),
        What::Example => printer.line(EXAMPLE.trim_end()),
    }
    Ok(Exit::Ok)
}

fn show(config: &Config, printer: &Printer) {
    if printer.wants_json() {
        printer.json_pretty(&config.settings);
        return;
    }
    let mut table = printer.table(["key", "value", "from"]);
    for setting in &config.settings {
        table.add_row([setting.key.clone(), setting.value.to_string(), setting.origin.clone()]);
    }
    printer.print_table(&table);
}

const EXAMPLE: &str = include_str!("config/example.toml");

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_example_is_a_configuration() {
        if let Err(refused) = ha_controller::config::parse(Path::new("example.toml"), EXAMPLE, &[]) {
            panic!("{refused}");
        }
    }
}
