//! Brings the same deployment to every member of a pool.

mod done;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use ha_controller::config::PoolConfig;
use ha_controller::hub::Hub as _;
use ha_controller::hub::iot::IotHub;
use ha_controller::operate::deploy::{
    self, DeployError, Event, Order, Phase, Progress, Release, Rolling, Rollout, Step, Stopped, Survey,
};
use ha_core::ids::MemberId;
use ha_deployment::Manifest;
use ha_deployment::release::Part;

use self::done::Done;
use crate::commands::common::{ConfigArgs, hub_failure, open_hub, pool};
use crate::commands::request::{by, confirmed};
use crate::exit::Exit;
use crate::failure::{Failure, OrExit as _, Result};
use crate::printer::Printer;

/// Deploy a manifest to every member of a pool: at once, or member by member without an outage.
///
/// Makes an automatic deployment for the pool in IoT Hub, names it in each member's tags, and follows each member until it runs. With
/// --rolling the standbys come first, one by one; each must run the release and be fit for a while; then the work is handed over,
/// and the former holder follows. At the first member that is not well the roll-out stops, and the others stay as they are.
///
/// The same command again goes on where the last one stopped. Content is never changed: a new content is a new deployment.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  iotedge-ha deploy press_1 deployment.json --dry-run
  iotedge-ha deploy press_1 deployment.json --rolling --yes
  iotedge-ha deploy press_1 --rollback --yes
  iotedge-ha deploy press_1 models.json --layered=models --yes --prune")]
pub(crate) struct Args {
    pool: String,

    /// The deployment manifest, a finished one: {\"modulesContent\": …}
    #[arg(required_unless_present_any = ["resume", "rollback"], conflicts_with_all = ["resume", "rollback"])]
    manifest: Option<PathBuf>,

    /// Member by member: standbys, handover, former holder
    #[arg(long)]
    rolling: bool,

    /// Go on with the roll-out that stopped
    #[arg(long, conflicts_with = "rollback")]
    resume: bool,

    /// Take the members of the last roll-out back to what they had before, member by member
    #[arg(long)]
    rollback: bool,

    /// The manifest is a layer, of this name, over what else the members are told
    #[arg(long, value_name = "NAME", num_args = 0..=1, require_equals = true, default_missing_value = "main")]
    layered: Option<String>,

    /// Names the release instead of its content's digest
    #[arg(long, value_name = "NAME", conflicts_with_all = ["resume", "rollback"])]
    id: Option<String>,

    /// Of all deployments for a device the one with the largest number wins [default: 10, a layer 20]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(0..=1_000_000))]
    priority: Option<i64>,

    /// After a success, delete the pool's deployments that no member is to run any more
    #[arg(long)]
    prune: bool,

    /// How long a member must be well before the next one's turn
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    settle_s: u64,

    /// How long to wait for one member, or without --rolling for all
    #[arg(long, value_name = "SECONDS", default_value_t = 900)]
    timeout_s: u64,

    /// Return as soon as the hub has it
    #[arg(long, conflicts_with_all = ["rolling", "resume", "rollback", "prune"])]
    no_wait: bool,

    /// Deploy without showing the calls and waiting for a yes
    #[arg(short, long)]
    yes: bool,

    /// Show the calls, and stop there
    #[arg(short = 'n', long, conflicts_with = "yes")]
    dry_run: bool,

    #[command(flatten)]
    config: ConfigArgs,
}

pub(crate) async fn run(args: Args, printer: &Printer) -> Result<Exit> {
    let order = args.manifest.as_deref().map(|path| order(&args, path)).transpose()?;
    let config = args.config.load(Vec::new())?;
    let pool = pool(&config, &args.pool)?;
    let hub = open_hub(&config)?;
    let survey = deploy::survey(&hub, pool).await.map_err(hub_failure)?;
    let Rollout { release, is_way_back } = match order {
        Some(order) => Rollout { release: deploy::prepare(order, &survey, pool).map_err(failure)?, is_way_back: false },
        None => rollout(&args, &survey)?,
    };
    let order = Deployment { args: &args, hub: &hub, pool, survey, release, is_way_back, printer };
    if args.rolling || args.resume || args.rollback { order.roll().await } else { order.at_once().await }
}

fn order(args: &Args, path: &Path) -> Result<Order> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()));
    let text = text.or_exit(Exit::Usage)?;
    let refused = || format!("{} cannot be deployed", path.display());
    let manifest = Manifest::read(&text).with_context(refused).or_exit(Exit::Usage)?;
    let (part, usual) = match &args.layered {
        None => (Part::Base, deploy::PRIORITY),
        Some(name) => (Part::Layer(name.clone()), 2 * deploy::PRIORITY),
    };
    Ok(Order { manifest, part, name: args.id.clone(), priority: args.priority.unwrap_or(usual) })
}

/// The last roll-out, or the way back from it.
fn rollout(args: &Args, survey: &Survey) -> Result<Rollout> {
    let part = args.layered.clone().map_or(Part::Base, Part::Layer);
    deploy::rollout(survey, part, args.rollback).map_err(failure)
}

struct Deployment<'a> {
    args: &'a Args,
    hub: &'a IotHub,
    pool: &'a PoolConfig,
    survey: Survey,
    release: Release,
    is_way_back: bool,
    printer: &'a Printer,
}

impl Deployment<'_> {
    async fn at_once(&self) -> Result<Exit> {
        let steps = deploy::steps(&self.release, &self.survey);
        if !self.agreed(&steps)? {
            return Ok(Exit::Ok);
        }
        let mut tell = |event: &Event| self.tell(event);
        self.carry_out(&steps, &mut tell).await?;
        let mut done = Done::new(&self.release);
        if self.args.no_wait {
            return Ok(done.print(Exit::Ok, self.printer));
        }
        let deadline = tokio::time::Instant::now() + Duration::from_secs(self.args.timeout_s);
        let members = &self.survey.members;
        done.members = deploy::follow(self.hub, &self.release, members, deadline, &mut tell).await;
        let has = |wanted: fn(&Progress) -> bool| done.members.values().any(wanted);
        let exit = match (
            has(|p| matches!(p, Progress::Failed(_))),
            has(|p| matches!(p, Progress::Waiting(_) | Progress::Unknown(_))),
        ) {
            (true, _) => Exit::Failed,
            (_, true) => Exit::TimedOut,
            _ => Exit::Ok,
        };
        if exit == Exit::Ok {
            done.deleted = self.prune().await?;
        }
        Ok(done.print(exit, self.printer))
    }

    async fn roll(&self) -> Result<Exit> {
        let holder = self.holder().await?;
        if self.survey.members.len() < 2 {
            return Err(Failure::says(
                Exit::Refused,
                format!("{} has no standby: nothing can go on while it is updated", self.pool.name),
            )
            .hint("deploy without --rolling, which interrupts the work"));
        }
        let steps = deploy::rolling_steps(&self.release, &self.survey, &holder);
        if !self.agreed(&steps)? {
            return Ok(Exit::Ok);
        }
        let mut tell = |event: &Event| self.tell(event);
        if !self.release.exists {
            self.carry_out(&[Step::Create], &mut tell).await?;
        }
        let by = by(Some(&format!("roll-out of {}", self.release.id())));
        let (settle, patience) = (Duration::from_secs(self.args.settle_s), Duration::from_secs(self.args.timeout_s));
        let rolling = Rolling {
            hub: self.hub,
            pool: self.pool,
            release: &self.release,
            is_way_back: self.is_way_back,
            settle,
            patience,
            by: &by,
        };
        let (stopped, done) = match self.is_way_back {
            true => (Phase::RollingBack, Phase::RolledBack),
            false => (Phase::Stopped, Phase::Done),
        };
        if let Err(why) = deploy::roll(&rolling, &self.survey, &mut tell).await {
            // Whoever looks at the hub should see it; the reason that counts is the first one.
            let noted = [Step::Note(stopped, None)];
            let _ = deploy::carry_out(self.hub, self.pool, &self.release, &noted, &mut |_| {}).await;
            return Err(stopped_failure(why, self.args));
        }
        let noted = [Step::Note(done, None)];
        deploy::carry_out(self.hub, self.pool, &self.release, &noted, &mut |_| {}).await.map_err(failure)?;
        let mut done = Done::new(&self.release);
        done.members = self.survey.members.iter().map(|member| (member.clone(), Progress::Runs)).collect();
        done.deleted = self.prune().await?;
        Ok(done.print(Exit::Ok, self.printer))
    }

    async fn holder(&self) -> Result<MemberId> {
        let name = &self.pool.name;
        let anchor = self.hub.read_anchor(name).await.map_err(hub_failure)?.map(|(anchor, _)| anchor);
        if let Some(mark) = anchor.as_ref().and_then(|anchor| anchor.paused.as_ref()) {
            return Err(Failure::says(
                Exit::Refused,
                format!("{name} is paused by {}: the work cannot be handed over", mark.by),
            )
            .hint(format!("`iotedge-ha resume {name}` first")));
        }
        anchor.and_then(|anchor| anchor.holder).ok_or_else(|| {
            Failure::says(Exit::Refused, format!("nobody holds {name}: there is no order in which to go"))
                .hint("start a controller, or deploy without --rolling")
        })
    }

    /// Shows what is going to be done; tells whether to do it.
    fn agreed(&self, steps: &[Step]) -> Result<bool> {
        if steps.is_empty() {
            self.printer.note(format_args!("{} is in the hub and in the tags of all members", self.release.id()));
        }
        for step in steps {
            let line = step.shown(self.pool, &self.release);
            if self.args.dry_run && !self.printer.wants_json() {
                self.printer.line(line);
            } else if !self.args.yes {
                self.printer.note(line);
            }
        }
        if self.args.dry_run {
            if self.printer.wants_json() {
                let calls: Vec<String> =
                    steps.iter().map(|step| step.shown(self.pool, &self.release).to_string()).collect();
                self.printer.json(&serde_json::json!({ "release": self.release.id(), "calls": calls }));
            }
            return Ok(false);
        }
        if steps.is_empty() || self.args.yes || confirmed()? {
            return Ok(true);
        }
        Err(Failure::says(Exit::Refused, "nothing was deployed"))
    }

    async fn carry_out(&self, steps: &[Step], tell: &mut impl FnMut(&Event)) -> Result<()> {
        deploy::carry_out(self.hub, self.pool, &self.release, steps, tell).await.map_err(failure)
    }

    async fn prune(&self) -> Result<Vec<String>> {
        if !self.args.prune {
            return Ok(Vec::new());
        }
        // The tags have changed since the first look.
        let survey = deploy::survey(self.hub, self.pool).await.map_err(hub_failure)?;
        deploy::prune(self.hub, &survey, &self.release).await.map_err(failure)
    }

    fn tell(&self, event: &Event) {
        match event {
            Event::Made { step } => self.printer.note(step),
            Event::Waiting { member, said } => self.printer.note(format_args!("  {member}: {said}")),
            Event::Runs { member } => self.printer.note(format_args!("  {member}: runs {}", self.release.id())),
            Event::Settling { member, settle_s } => {
                self.printer.note(format_args!("  {member}: is well, and watched for {settle_s} s"));
            }
            Event::Switching { from, to, said: None } => {
                self.printer.note(format_args!("handing the work over from {from} to {to}"));
            }
            Event::Switching { said: Some(said), .. } => self.printer.note(format_args!("  {said}")),
            Event::Switched { holder, term } => {
                self.printer.note(format_args!("  {holder} is active in term {term}"));
            }
        }
    }
}

fn failure(error: DeployError) -> Failure {
    let hint = error.hint();
    let exit = match error {
        DeployError::Hub(error) => return hub_failure(error),
        DeployError::Flag(_) | DeployError::Overruled { .. } | DeployError::Taken(_) => Exit::Refused,
        DeployError::Kind(_) | DeployError::Name(_) => Exit::Usage,
        _ => Exit::Failed,
    };
    Failure { hint: hint.map(str::to_owned), ..Failure::new(exit, error) }
}

fn stopped_failure(stopped: Stopped, args: &Args) -> Failure {
    let pool = &args.pool;
    let ways = format!("`iotedge-ha deploy {pool} --resume`, or `iotedge-ha deploy {pool} --rollback`");
    let is_late = stopped.is_late();
    let exit = match stopped {
        Stopped::Failed(error) => {
            let failed = failure(error);
            let hint = failed.hint.clone().unwrap_or_else(|| "what was done stays".to_owned());
            return failed.hint(format!("{hint}; then {ways}"));
        }
        Stopped::Impossible(_) => Exit::Refused,
        _ if is_late => Exit::TimedOut,
        _ => Exit::Failed,
    };
    Failure::new(exit, stopped).hint(format!("the other members stay as they are; mend it and {ways}"))
}
