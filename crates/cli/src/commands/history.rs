use ha_controller::hub::Hub as _;
use ha_controller::store::History;
use ha_core::anchor::Transition;

use crate::commands::common::{ConfigArgs, hub_failure, open_hub, pool};
use crate::commands::report;
use crate::exit::Exit;
use crate::failure::Result;
use crate::printer::Printer;

/// Show how a pool's holder changed, when and why.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  iotedge-ha history press_1
  iotedge-ha history press_1 --limit 100 --json")]
pub(crate) struct Args {
    pool: String,

    /// At most this many changes, the newest first
    #[arg(long, default_value_t = 20)]
    limit: usize,

    #[command(flatten)]
    config: ConfigArgs,
}

pub(crate) async fn run(args: Args, printer: &Printer) -> Result<Exit> {
    let config = args.config.load(Vec::new())?;
    let pool = pool(&config, &args.pool)?;
    let kept = History::open(&config.controller.state_dir).and_then(|store| store.transitions(&args.pool, args.limit));
    let changes: Vec<Transition> = match kept {
        Ok(changes) if !changes.is_empty() => changes,
        _ => {
            let hub = open_hub(&config)?;
            let anchor = hub.read_anchor(&pool.name).await.map_err(hub_failure)?;
            anchor.map(|(anchor, _)| anchor.history).unwrap_or_default().into_iter().rev().take(args.limit).collect()
        }
    };
    if printer.wants_json() {
        changes.iter().for_each(|change| printer.json(change));
        return Ok(Exit::Ok);
    }
    let mut table = printer.table(["TERM", "WHEN", "HOLDER", "BEFORE", "WHY"]);
    for change in &changes {
        table.add_row([
            change.term.to_string(),
            report::when(change.at),
            change.holder.to_string(),
            change.from.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string),
            change.reason.to_string(),
        ]);
    }
    printer.print_table(&table);
    Ok(Exit::Ok)
}
