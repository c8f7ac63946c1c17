use ha_controller::operate::when;
use ha_controller::store::{History, KeptDecision};

use crate::commands::common::{ConfigArgs, pool};
use crate::commands::report;
use crate::exit::Exit;
use crate::failure::{Failure, OrExit as _, Result};
use crate::printer::Printer;

/// Explain the last decision about a pool from the evidence it was made from.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  iotedge-ha why press_1
  iotedge-ha why press_1 --term 7")]
pub(crate) struct Args {
    pool: String,

    /// The decision that led to this term, instead of the last one
    #[arg(long)]
    term: Option<u64>,

    #[command(flatten)]
    config: ConfigArgs,
}

pub(crate) async fn run(args: Args, printer: &Printer) -> Result<Exit> {
    let config = args.config.load(Vec::new())?;
    pool(&config, &args.pool)?;
    let hint = "decisions are kept where the controller runs, in controller.state_dir; `history` shows what the record in the hub remembers";
    let store = History::open(&config.controller.state_dir).or_hint(Exit::Failed, hint)?;
    let found = match args.term {
        None => store.last_deed(&args.pool)?,
        Some(term) => {
            store.decisions(&args.pool, usize::MAX)?.into_iter().find(|kept| kept.term.0 == term && kept.kind != "wait")
        }
    };
    let kept = found.ok_or_else(|| Failure::says(Exit::Failed, "no such decision has been kept").hint(hint))?;
    if printer.wants_json() {
        printer.json_pretty(&kept);
    } else {
        explain(&kept, printer);
    }
    Ok(Exit::Ok)
}

fn explain(kept: &KeptDecision, printer: &Printer) {
    printer.line(format_args!("{}  {}  {}", when(kept.at), kept.kind, kept.sentence));
    printer.line("");
    printer.line("What was known:");
    for (member, seen) in &kept.view.seen {
        let now = kept.view.now.mono;
        let known = match (&seen.answer, &seen.trouble) {
            (_, Some(trouble)) => format!("silent for {}: {}", now.since(trouble.since), trouble.failure),
            (Some(answer), None) => {
                format!("{} in term {}, heard {} ago", answer.value.state.as_str(), answer.value.term, answer.age(now))
            }
            (None, None) => "not heard yet".to_owned(),
        };
        printer.line(format_args!("  {member}: {known}"));
    }
    printer.line("What was decided:");
    for step in &kept.plan.steps {
        printer.line(format_args!("  {}", report::step(step)));
    }
    for waiting in &kept.plan.waiting {
        printer.line(format_args!("  waiting: {waiting}"));
    }
    let same = kept.replay() == kept.plan;
    printer.line(if same {
        "The same evidence leads to the same decision today."
    } else {
        "Today's rules would decide otherwise."
    });
}
