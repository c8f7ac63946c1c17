use clap::Subcommand;
use ha_controller::config::{ParentsConfig, PoolConfig};
use ha_controller::hub::Hub as _;
use ha_controller::hub::iot::IotHub;
use ha_controller::operate::members_of;
use ha_controller::parents::{Child, Fate, Impossible, Order, Outcome, apply, plan};
use ha_core::ids::MemberId;

use super::common::{ConfigArgs, hub_failure, open_hub, pool};
use super::request::confirmed;
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::printer::Printer;

/// Leaf devices: see whose children they are, and make them the holder's.
///
/// The controller does the same after each change of holder, for pools with a section `[pool.parents]`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  iotedge-ha parents show press_1
  iotedge-ha parents plan press_1 --json
  iotedge-ha parents apply press_1 --yes")]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Show each leaf device and its parent
    Show(Which),
    /// Show what `apply` would do, and do nothing
    Plan(Which),
    /// Make the leaf devices children of the holder, and tell its edgeHub
    Apply(ApplyArgs),
}

#[derive(clap::Args)]
struct Which {
    pool: String,

    /// Also those listed children that have a parent outside the pool
    #[arg(long)]
    take: bool,

    #[command(flatten)]
    config: ConfigArgs,
}

#[derive(clap::Args)]
struct ApplyArgs {
    #[command(flatten)]
    which: Which,

    /// Do it without showing the plan and waiting for a yes
    #[arg(short, long)]
    yes: bool,

    /// Show what would happen, and stop there
    #[arg(short = 'n', long, conflicts_with = "yes")]
    dry_run: bool,
}

pub(crate) async fn run(args: Args, printer: &Printer) -> Result<Exit> {
    match args.verb {
        Verb::Show(which) => {
            let outcome = Site::open(&which).await?.plan().await?;
            show(&outcome, printer);
            Ok(Exit::Ok)
        }
        Verb::Plan(which) => {
            let outcome = Site::open(&which).await?.plan().await?;
            tell_plan(&outcome, printer);
            if printer.wants_json() {
                printer.json_pretty(&outcome);
            }
            Ok(Exit::Ok)
        }
        Verb::Apply(args) => mend(&args, printer).await,
    }
}

async fn mend(args: &ApplyArgs, printer: &Printer) -> Result<Exit> {
    let site = Site::open(&args.which).await?;
    if args.dry_run || !args.yes {
        tell_plan(&site.plan().await?, printer);
        if args.dry_run {
            return Ok(Exit::Ok);
        }
        if !confirmed()? {
            return Err(Failure::says(Exit::Refused, "nothing was moved"));
        }
    }
    let told = |child: &Child, done: usize, of: usize| {
        printer.note(format_args!("[{done}/{of}] {} {}", child.child, child.fate));
    };
    let outcome = apply(&site.hub, &site.order(), told).await.map_err(impossible)?;
    if printer.wants_json() {
        printer.json_pretty(&outcome);
    }
    finish(&outcome)
}

/// Everything is where it belongs, or somebody has to hear what is not.
fn finish(outcome: &Outcome) -> Result<Exit> {
    let amiss: Vec<&Child> = outcome.amiss().collect();
    if let Some(first) = amiss.first() {
        let (count, of) = (amiss.len(), outcome.children.len());
        let said = format!("{count} of {of} leaf devices are not where they belong: {} {}", first.child, first.fate);
        return Err(Failure::says(Exit::Failed, said)
            .hint("the others were moved; run it again once the cause is mended, it goes on from there"));
    }
    if let Some(why) = &outcome.untold {
        let said = format!("the leaf devices were moved, but edgeHub on {} could not be told: {why}", outcome.holder);
        return Err(Failure::says(Exit::Failed, said)
            .hint("it finds out by itself within the hour; run it again to tell it sooner"));
    }
    Ok(Exit::Ok)
}

/// A pool with leaf devices, and who holds it.
struct Site {
    hub: IotHub,
    children: ParentsConfig,
    members: Vec<MemberId>,
    holder: MemberId,
    take: bool,
}

impl Site {
    async fn open(which: &Which) -> Result<Self> {
        let config = which.config.load(Vec::new())?;
        let pool = pool(&config, &which.pool)?;
        let children = children(pool)?;
        let hub = open_hub(&config)?;
        let record = hub.read_anchor(&pool.name).await.map_err(hub_failure)?;
        let holder = record.and_then(|(record, _)| record.holder).ok_or_else(|| {
            Failure::says(Exit::Failed, format!("nobody holds {}, so there is no parent to move to", pool.name))
                .hint("`iotedge-ha list` says why; a controller must have run the pool once")
        })?;
        let members = members_of(&hub, pool).await.map_err(hub_failure)?;
        Ok(Self { hub, children, members, holder, take: which.take })
    }

    fn order(&self) -> Order<'_> {
        Order { children: &self.children, members: &self.members, holder: &self.holder, take: self.take }
    }

    async fn plan(&self) -> Result<Outcome> {
        plan(&self.hub, &self.order()).await.map_err(impossible)
    }
}

fn children(pool: &PoolConfig) -> Result<ParentsConfig> {
    pool.parents.clone().ok_or_else(|| {
        Failure::says(Exit::Usage, format!("{} has no leaf devices", pool.name))
            .hint("a section [pool.parents] names them: children = [\"leaf-1\"], or mode = \"discovered\"")
    })
}

fn impossible(error: Impossible) -> Failure {
    match error {
        Impossible::Hub(error) => hub_failure(error),
        Impossible::NoGateway(_) => {
            Failure::new(Exit::Failed, error).hint("members that have leaf devices are IoT Edge devices")
        }
        Impossible::TooMany { .. } => {
            Failure::new(Exit::Refused, error).hint("list those that matter under [pool.parents]")
        }
    }
}

fn show(outcome: &Outcome, printer: &Printer) {
    if printer.wants_json() {
        return printer.json_pretty(outcome);
    }
    let mut table = printer.table(["CHILD", "PARENT", "STATE"]);
    for child in &outcome.children {
        let parent = child.parent.as_deref().unwrap_or("-").to_owned();
        table.add_row([child.child.clone(), parent, child.fate.to_string()]);
    }
    printer.print_table(&table);
    printer.note(format_args!("the holder is {}", outcome.holder));
}

fn tell_plan(outcome: &Outcome, printer: &Printer) {
    let holder = &outcome.holder;
    for child in &outcome.children {
        let name = &child.child;
        match &child.fate {
            Fate::There => printer.detail(format_args!("{name} stays with {holder}")),
            Fate::Moves | Fate::Moved => {
                let from = child.parent.as_deref().unwrap_or("no parent");
                printer.note(format_args!("{name} goes from {from} to {holder}"));
            }
            other => printer.note(format_args!("{name} {other}")),
        }
    }
    let moves = outcome.children.iter().filter(|child| child.fate == Fate::Moves).count();
    printer.note(format_args!("{moves} of {} leaf devices are to be moved to {holder}", outcome.children.len()));
    printer
        .note("the former gateway is not fenced by this: it accepts the children it knows until it asks the hub again");
}
