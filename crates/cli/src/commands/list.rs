use crate::commands::common::ConfigArgs;
use crate::commands::report;
use crate::exit::Exit;
use crate::failure::Result;
use crate::printer::Printer;

/// List the pools and their members: role, term, lease, age of what is known, fitness.
#[derive(clap::Args)]
#[command(
    visible_alias = "ls",
    after_help = "Examples:
  iotedge-ha list
  iotedge-ha list --json press_1"
)]
pub(crate) struct Args {
    /// Only these pools
    #[arg(value_name = "POOL")]
    pools: Vec<String>,

    #[command(flatten)]
    config: ConfigArgs,
}

pub(crate) async fn run(args: Args, printer: &Printer) -> Result<Exit> {
    let reports = report::reports(&args.config, &args.pools).await?;
    if printer.wants_json() {
        printer.json_pretty(&reports);
        return Ok(Exit::Ok);
    }
    let mut table = printer.table(["POOL", "MEMBER", "ROLE", "STATE", "TERM", "LEASE LEFT", "KNOWN FOR", "FIT", "WHY"]);
    for report in &reports {
        for member in &report.members {
            table.add_row(report::row(report, member));
        }
    }
    printer.print_table(&table);
    for report in &reports {
        report::say_state(report, printer);
    }
    Ok(Exit::Ok)
}
