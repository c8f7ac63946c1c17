use ha_controller::operate::when;

use crate::commands::common::ConfigArgs;
use crate::commands::report;
use crate::exit::Exit;
use crate::failure::Result;
use crate::printer::Printer;

/// Show one pool with everything that is known of its members.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  iotedge-ha show press_1
  iotedge-ha show press_1 --json")]
pub(crate) struct Args {
    pool: String,

    #[command(flatten)]
    config: ConfigArgs,
}

pub(crate) async fn run(args: Args, printer: &Printer) -> Result<Exit> {
    let reports = report::reports(&args.config, &[args.pool]).await?;
    for report in &reports {
        if printer.wants_json() {
            printer.json_pretty(report);
            continue;
        }
        let holder = report.holder.as_ref().map_or("nobody", |holder| holder.as_str());
        printer.line(format_args!("pool     {}", report.pool));
        printer.line(format_args!("holder   {holder}"));
        printer.line(format_args!("term     {}", report.term));
        if let Some(change) = &report.last_change {
            printer.line(format_args!("since    {} ({})", when(change.at), change.reason));
        }
        report::say_state(report, printer);
        for member in &report.members {
            printer.line("");
            report::show_member(member, printer);
        }
    }
    Ok(Exit::Ok)
}
