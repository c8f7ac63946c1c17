use ha_controller::config::Members;
use ha_controller::config::edit::Edit;
use ha_core::ids::MemberId;
use serde_json::json;

use super::common::{open_hub, pool};
use super::membership::{Departure, LeaveArgs, make, missing};
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::printer::Printer;

/// Put one device in another's place: the new one joins with the old one's priority, and the old one leaves.
///
/// If the old one holds, the work moves to another member first; where there is no other, `join` the new one, wait until it is fit, and let the
/// old one `leave`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  iotedge-ha replace press_1 edge-a edge-d
  iotedge-ha replace press_1 edge-a edge-d --create --fenced --yes --reason 'edge-a burnt out'")]
pub(crate) struct Args {
    pool: String,

    old: String,

    new: String,

    /// Make the new device if it does not exist, as an IoT Edge device
    #[arg(long)]
    create: bool,

    #[command(flatten)]
    leave: LeaveArgs,
}

pub(crate) async fn run(args: Args, printer: &Printer) -> Result<Exit> {
    let draft = args.leave.draft()?;
    let config = draft.config()?;
    let pool = pool(&config, &args.pool)?;
    let (old, new) = (MemberId::new(args.old), MemberId::new(args.new));
    if old == new {
        return Err(Failure::says(Exit::Usage, format!("{old} cannot replace itself"))
            .hint("name the old device, then the new one"));
    }
    let hub = open_hub(&config)?;
    let known = |members: &[MemberId]| members.contains(&old) || members.contains(&new);
    let revision = match &pool.members {
        Members::Listed(members) if !known(members) => {
            return Err(Failure::says(Exit::Usage, format!("{old} is no member of {}", pool.name))
                .hint(format!("`iotedge-ha join {} {new}` makes {new} one", pool.name)));
        }
        Members::Listed(_) => draft.revise(&pool.name, &Edit::Replace { old: old.clone(), new: new.clone() })?,
        Members::Selected(_) => draft.unchanged()?,
    };
    let steps = missing(&hub, pool, std::slice::from_ref(&new), args.create).await?;
    let departure = Departure { hub: &hub, pool, member: &old, revision: &revision, args: &args.leave, printer };
    let left = departure.leftovers().await?;
    departure.show(&left);
    make(&hub, pool, &steps, true, printer).await?;
    if !args.leave.dry_run {
        args.leave.confirm()?;
        make(&hub, pool, &steps, false, printer).await?;
        departure.carry_out(&left).await?;
    }
    if printer.wants_json() {
        let done = !args.leave.dry_run;
        printer.json(
            &json!({ "pool": pool.name, "old": old, "new": new, "steps": steps, "found": left, "replaced": done }),
        );
    }
    Ok(Exit::Ok)
}
