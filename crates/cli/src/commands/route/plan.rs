use ha_controller::operate::{Look, compile};
use ha_controller::routing::Plan;
use serde_json::json;
use tokio::time::Instant;

use super::{READ, Site};
use crate::commands::common::ConfigArgs;
use crate::exit::Exit;
use crate::failure::Result;
use crate::printer::Printer;

/// Show what would change in the hub's routes, and what follows from it. Changes nothing.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  iotedge-ha route plan press_1
  iotedge-ha route plan press_1 --json")]
pub(super) struct Args {
    pool: String,

    /// Take over routes of our names whoever made them
    #[arg(long)]
    adopt: bool,

    #[command(flatten)]
    config: ConfigArgs,
}

pub(super) async fn run(args: Args, printer: &Printer) -> Result<Exit> {
    let site = Site::open(&args.config, &args.pool)?;
    let look = site.look().await?;
    let plan = plan(&site, &look, args.adopt).await?;
    if printer.wants_json() {
        printer.json_pretty(&json!({
            "pool": args.pool,
            "mode": look.mode,
            "holder": look.holder,
            "in_force": look.in_force(site.pool()?),
            "steps": plan.steps,
            "consequences": look.consequences(),
        }));
        return Ok(Exit::Ok);
    }
    for step in &plan.steps {
        printer.line(step);
    }
    if plan.is_empty() {
        printer.note("nothing is to be done: the routes are as they should be");
    }
    warn(&look, printer);
    Ok(Exit::Ok)
}

/// What is left to do, once Azure has compiled it.
pub(super) async fn plan(site: &Site, look: &Look, adopt: bool) -> Result<Plan> {
    let plan = look.plan(site.pool()?, adopt).map_err(|problem| site.failure(problem.into()))?;
    let compiled = compile(site.management()?, &plan, Instant::now() + READ).await;
    compiled.map_err(|error| site.failure(error))?;
    Ok(plan)
}

pub(super) fn warn(look: &Look, printer: &Printer) {
    for consequence in look.consequences() {
        printer.warning(consequence);
    }
}
