//! What `init`, `join`, `leave` and `replace` share: the change to the configuration file, and the making of what is missing.

mod departure;
mod draft;
mod template;

use ha_controller::config::PoolConfig;
use ha_controller::hub::iot::IotHub;
use ha_controller::operate::membership::{JoinPlan, Step, carry_out, plan_join};
use ha_core::ids::MemberId;

pub(super) use self::departure::{Departure, LeaveArgs};
pub(super) use self::draft::{Draft, Revision};
pub(super) use self::template::{Prepared, TemplateArgs};
use super::common::hub_failure;
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::printer::Printer;

/// What is missing at the hub for `devices` to be members; refused as a whole if anything is in the way.
pub(super) async fn missing(hub: &IotHub, pool: &PoolConfig, devices: &[MemberId], create: bool) -> Result<Vec<Step>> {
    let JoinPlan { steps, problems } = plan_join(hub, pool, devices, create).await.map_err(hub_failure)?;
    if problems.is_empty() {
        return Ok(steps);
    }
    let mut hints: Vec<_> = problems.iter().map(|problem| problem.hint.as_str()).collect();
    hints.dedup();
    let said: Vec<_> = problems.iter().map(ToString::to_string).collect();
    let failure = Failure::says(Exit::Failed, format!("nothing was changed, because\n  {}", said.join("\n  ")));
    Err(failure.hint(hints.join("; ")))
}

/// Makes what is missing, and says so; with `dry_run` says only what it would make.
pub(super) async fn make(
    hub: &IotHub,
    pool: &PoolConfig,
    steps: &[Step],
    dry_run: bool,
    printer: &Printer,
) -> Result<()> {
    if steps.is_empty() {
        printer.note("everything is there at the hub");
    }
    for step in steps {
        printer.note(format_args!("{}{step}", if dry_run { "would " } else { "" }));
        if !dry_run {
            carry_out(hub, pool, step).await.map_err(|error| {
                hub_failure(error).hint("run the same command again: it goes on where this one was broken off")
            })?;
        }
    }
    Ok(())
}
