use ha_controller::config::edit::Edit;
use ha_controller::config::{Members, PoolConfig};
use ha_core::ids::MemberId;
use serde_json::json;

use super::common::{open_hub, pool};
use super::membership::{Departure, LeaveArgs};
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::printer::Printer;

/// Take a device out of a pool. If it holds, the work moves to another member first.
///
/// Then it leaves the configuration (comments kept) or loses the tag that selects it, the controller drops it, and its key, flag and role are removed
/// from the hub. The device and its agent module stay. A second run finishes a first that was broken off.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  iotedge-ha leave press_1 edge-c
  iotedge-ha leave press_1 edge-c --dry-run
  iotedge-ha leave press_1 edge-a --fenced --yes --reason 'scrapped'")]
pub(crate) struct Args {
    pool: String,

    device: String,

    #[command(flatten)]
    leave: LeaveArgs,
}

pub(crate) async fn run(args: Args, printer: &Printer) -> Result<Exit> {
    let draft = args.leave.draft()?;
    let config = draft.config()?;
    let pool = pool(&config, &args.pool)?;
    let member = MemberId::new(args.device);
    let revision = match &pool.members {
        Members::Listed(_) => draft.revise(&pool.name, &Edit::Remove(member.clone()))?,
        Members::Selected(_) => draft.unchanged()?,
    };
    let hub = open_hub(&config)?;
    let departure = Departure { hub: &hub, pool, member: &member, revision: &revision, args: &args.leave, printer };
    let left = departure.leftovers().await?;
    if left.is_none() && !revision.is_change() {
        return Err(no_member(pool, &member));
    }
    departure.show(&left);
    if !args.leave.dry_run {
        args.leave.confirm()?;
        departure.carry_out(&left).await?;
    }
    if printer.wants_json() {
        let (pool, done) = (&pool.name, !args.leave.dry_run);
        printer.json(&json!({ "pool": pool, "member": member, "found": left, "left": done }));
    }
    Ok(Exit::Ok)
}

fn no_member(pool: &PoolConfig, member: &MemberId) -> Failure {
    let failure = Failure::says(Exit::Usage, format!("{member} is no member of {}", pool.name));
    match &pool.members {
        Members::Listed(members) => {
            let names: Vec<_> = members.iter().map(MemberId::as_str).collect();
            failure.hint(format!("its members are {}", names.join(", ")))
        }
        Members::Selected(condition) => failure.hint(format!("its members are the devices with {condition}")),
    }
}
