use ha_controller::config::Members;
use ha_controller::config::edit::Edit;
use ha_core::ids::MemberId;
use serde_json::json;

use super::common::{ConfigArgs, open_hub, pool};
use super::membership::{Draft, make, missing};
use crate::exit::Exit;
use crate::failure::Result;
use crate::printer::Printer;

/// Make a device a member of a pool: identity, key and tags at the hub, and its place in the configuration, with the lowest priority.
///
/// For a pool that lists its members the configuration file is changed, comments kept; controllers that read it take the member up within
/// seconds. A pool that selects its members by tags gets the device tagged; no file changes.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  iotedge-ha join press_1 edge-c
  iotedge-ha join press_1 edge-c --create --dry-run")]
pub(crate) struct Args {
    pool: String,

    device: String,

    /// Make the device if it does not exist, as an IoT Edge device
    #[arg(long)]
    create: bool,

    /// Show the change to the configuration file instead of making it
    #[arg(long)]
    no_edit: bool,

    /// Show what would be made, and stop there
    #[arg(short = 'n', long)]
    dry_run: bool,

    #[command(flatten)]
    config: ConfigArgs,
}

pub(crate) async fn run(args: Args, printer: &Printer) -> Result<Exit> {
    args.config.path()?;
    let draft = Draft::read(&args.config)?;
    let config = draft.config()?;
    let member = MemberId::new(args.device);
    let known = pool(&config, &args.pool)?;
    let revision = match &known.members {
        Members::Listed(_) => draft.revise(&known.name, &Edit::Add(member.clone()))?,
        Members::Selected(_) => draft.unchanged()?,
    };
    let pool = pool(&revision.config, &args.pool)?;
    let hub = open_hub(&revision.config)?;
    let steps = missing(&hub, pool, std::slice::from_ref(&member), args.create).await?;
    make(&hub, pool, &steps, args.dry_run, printer).await?;
    let kept = if args.dry_run { revision.preview(printer) } else { revision.keep(args.no_edit, printer)? };
    if printer.wants_json() {
        printer.json(&json!({
            "pool": pool.name, "member": member, "dry_run": args.dry_run, "steps": steps, "config": revision.json(kept),
        }));
    }
    Ok(Exit::Ok)
}
