use ha_controller::run::{Summary, tick_limit};
use tokio_util::sync::CancellationToken;

use crate::commands::common::ConfigArgs;
use crate::commands::daemon::{ControllerArgs, setup};
use crate::exit::Exit;
use crate::failure::Result;
use crate::interruption::Interruption;
use crate::printer::Printer;

/// Make one pass over the pools and leave, for cron and functions on a timer.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  iotedge-ha tick --config pool.toml
  iotedge-ha tick --config pool.toml --json")]
pub(crate) struct Args {
    #[command(flatten)]
    config: ConfigArgs,

    #[command(flatten)]
    controller: ControllerArgs,
}

pub(crate) async fn run(args: Args, printer: &Printer) -> Result<Exit> {
    let mut interruption = Interruption::listen()?;
    let setup = setup(&args.config, &args.controller)?;
    let limit = tick_limit(&setup.config);
    let stop = CancellationToken::new();
    let pass = ha_controller::run::tick(setup, limit, stop.clone());
    tokio::pin!(pass);
    let summary = tokio::select! {
        summary = &mut pass => summary,
        () = interruption.comes() => {
            stop.cancel();
            pass.await;
            return Ok(Exit::Interrupted);
        }
    };
    show(&summary, printer);
    Ok(code(&summary))
}

fn show(summary: &Summary, printer: &Printer) {
    if printer.wants_json() {
        printer.json(summary);
        return;
    }
    if let Some(owner) = &summary.owner {
        printer.line(format_args!("{owner} is in charge; nothing was done here"));
        return;
    }
    if let Some(trouble) = &summary.trouble {
        printer.line(format_args!("the control record: {trouble}"));
    }
    for (pool, row) in &summary.pools {
        let sentence = row.refused.as_deref().unwrap_or(&row.sentence);
        printer.line(format_args!("{pool}: {sentence}"));
    }
}

/// A pass that somebody else makes unnecessary is a good one.
fn code(summary: &Summary) -> Exit {
    if summary.owner.is_some() {
        return Exit::Ok;
    }
    if !summary.in_charge {
        return if summary.trouble.is_some() { Exit::Hub } else { Exit::TimedOut };
    }
    if summary.pools.values().any(|row| row.refused.is_some()) {
        return Exit::Refused;
    }
    if summary.pools.values().all(|row| row.settled) { Exit::Ok } else { Exit::TimedOut }
}
