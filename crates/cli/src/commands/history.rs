use ha_controller::hub::Hub as _;
use ha_controller::operate::when;
use ha_controller::store::{Followed, History};
use ha_core::anchor::{FOLLOWERS_MAX, Transition};
use ha_core::ids::FollowerId;
use ha_core::time::Millis;
use serde::Serialize;

use crate::commands::common::{ConfigArgs, hub_failure, open_hub, pool};
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

/// A change of holder, and what was done after it.
#[derive(Serialize)]
struct Change {
    #[serde(flatten)]
    transition: Transition,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    followed: Vec<After>,
}

/// How long after a change a follower was through with it.
#[derive(Serialize)]
struct After {
    follower: FollowerId,
    after_ms: u64,
}

impl Change {
    fn of(transition: Transition, followed: &[Followed]) -> Self {
        let own = followed.iter().filter(|one| one.term == transition.term);
        let after = |at: i64| at.saturating_sub(transition.at.0).max(0).unsigned_abs();
        let followed = own.map(|one| After { follower: one.follower.clone(), after_ms: after(one.at.0) }).collect();
        Self { transition, followed }
    }
}

pub(crate) async fn run(args: Args, printer: &Printer) -> Result<Exit> {
    let config = args.config.load(Vec::new())?;
    let pool = pool(&config, &args.pool)?;
    let kept = History::open(&config.controller.state_dir).and_then(|store| {
        let followed = store.followed(&args.pool, args.limit.saturating_mul(FOLLOWERS_MAX))?;
        Ok((store.transitions(&args.pool, args.limit)?, followed))
    });
    let (changes, followed) = match kept {
        Ok((changes, followed)) if !changes.is_empty() => (changes, followed),
        _ => {
            let hub = open_hub(&config)?;
            let anchor = hub.read_anchor(&pool.name).await.map_err(hub_failure)?;
            let changes = anchor.map(|(anchor, _)| anchor.history).unwrap_or_default();
            (changes.into_iter().rev().take(args.limit).collect(), Vec::new())
        }
    };
    let changes: Vec<Change> = changes.into_iter().map(|transition| Change::of(transition, &followed)).collect();
    if printer.wants_json() {
        changes.iter().for_each(|change| printer.json(change));
        return Ok(Exit::Ok);
    }
    let mut table = printer.table(["TERM", "WHEN", "HOLDER", "BEFORE", "WHY", "FOLLOWED"]);
    for Change { transition: change, followed } in &changes {
        let followed: Vec<String> =
            followed.iter().map(|one| format!("{} after {}", one.follower, Millis(one.after_ms))).collect();
        table.add_row([
            change.term.to_string(),
            when(change.at),
            change.holder.to_string(),
            change.from.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string),
            change.reason.to_string(),
            if followed.is_empty() { "-".to_owned() } else { followed.join(", ") },
        ]);
    }
    printer.print_table(&table);
    Ok(Exit::Ok)
}
