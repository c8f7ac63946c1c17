//! How a member leaves: the work first, then the list, then what the hub knows of it.

use std::time::Duration;

use ha_controller::config::PoolConfig;
use ha_controller::hub::Hub as _;
use ha_controller::hub::iot::IotHub;
use ha_controller::operate::membership::{Leftovers, forget, leftovers, until_dropped, withdraw};
use ha_controller::operate::{ask, wait_active, wait_settled};
use ha_core::anchor::Verb;
use ha_core::ids::MemberId;
use ha_core::time::WallTime;
use jiff::Timestamp;

use super::{Draft, Revision};
use crate::commands::common::{ConfigArgs, hub_failure};
use crate::commands::request::{ask_failure, by, confirmed};
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::printer::Printer;

#[derive(clap::Args)]
pub(crate) struct LeaveArgs {
    #[command(flatten)]
    config: ConfigArgs,

    /// Go on without showing the plan and waiting for a yes
    #[arg(short, long)]
    yes: bool,

    /// Show what would happen, and stop there
    #[arg(short = 'n', long, conflicts_with = "yes")]
    pub(crate) dry_run: bool,

    /// Show the change to the configuration file instead of making it
    #[arg(long)]
    no_edit: bool,

    /// The leaving device is certainly not running: the work moves without waiting for it; needs --yes
    #[arg(long)]
    fenced: bool,

    /// All controllers have been restarted with the changed file: do not wait until one has dropped the member
    #[arg(long)]
    restarted: bool,

    /// How long to wait until the work has moved, and then until the controller has dropped the member
    #[arg(long, value_name = "SECONDS", default_value_t = 180)]
    timeout_s: u64,

    /// Why, for the history; it is kept short there
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

impl LeaveArgs {
    pub(crate) fn draft(&self) -> Result<Draft> {
        if self.fenced && !self.yes && !self.dry_run {
            return Err(Failure::says(
                Exit::Usage,
                "--fenced needs --yes: it ends the wait for the device on your word",
            )
            .hint("--dry-run shows what would happen"));
        }
        // There must be a configuration.
        self.config.path()?;
        Draft::read(&self.config)
    }

    /// Whether it may go on.
    pub(crate) fn confirm(&self) -> Result<()> {
        if self.yes || confirmed()? { Ok(()) } else { Err(Failure::says(Exit::Refused, "nothing was changed")) }
    }
}

/// One member that leaves.
pub(crate) struct Departure<'a> {
    pub(crate) hub: &'a IotHub,
    pub(crate) pool: &'a PoolConfig,
    pub(crate) member: &'a MemberId,
    pub(crate) revision: &'a Revision,
    pub(crate) args: &'a LeaveArgs,
    pub(crate) printer: &'a Printer,
}

impl Departure<'_> {
    /// What still makes the device a member, at the hub.
    pub(crate) async fn leftovers(&self) -> Result<Leftovers> {
        leftovers(self.hub, self.pool, self.member).await.map_err(hub_failure)
    }

    /// Says what is going to happen.
    pub(crate) fn show(&self, left: &Leftovers) {
        let (pool, member, note) = (&self.pool.name, self.member, |text: String| self.printer.note(text));
        match (left.holds, self.args.fenced) {
            (true, true) => note(format!(
                "{pool}: {member} holds; the work moves AT ONCE, on your word that {member} is not running"
            )),
            (true, false) => {
                note(format!("{pool}: {member} holds; it stops its workload, and the fittest standby takes over"));
            }
            (false, _) => note(format!("{pool}: {member} does not hold; no work moves")),
        }
        self.revision.show(self.printer);
        if left.selected {
            note(format!("would patch twin {member}: the last tag of the pool's condition is removed"));
        }
        note(format!("would patch twin {member}: tags.ha.{pool} is removed, once the controller has dropped it"));
        note(format!("would patch twin {member}/{}: properties.desired.ha is removed", self.pool.agent_module));
    }

    /// Does it. Whatever was broken off is finished by the next run.
    pub(crate) async fn carry_out(&self, left: &Leftovers) -> Result<()> {
        if left.holds {
            self.hand_over().await?;
        }
        self.revision.keep(self.args.no_edit, self.printer)?;
        withdraw(self.hub, self.pool, self.member).await.map_err(hub_failure)?;
        if !self.args.restarted {
            self.wait_until_dropped().await?;
        }
        forget(self.hub, self.pool, self.member).await.map_err(hub_failure)?;
        self.printer.note(format_args!("{} has left {}", self.member, self.pool.name));
        Ok(())
    }

    async fn hand_over(&self) -> Result<()> {
        let verb =
            if self.args.fenced { Verb::Failover { to: None, fenced: true } } else { Verb::Switchover { to: None } };
        let (by, now) = (by(self.args.reason.as_deref()), WallTime(Timestamp::now().as_millisecond()));
        let id = ask(self.hub, &self.pool.name, verb, &by, now).await.map_err(ask_failure)?;
        self.printer.note("asked for the work to be moved; waiting for the controller in charge");
        let settled = wait_settled(self.hub, &self.pool.name, &id, self.patience(), |_| {}).await;
        let (settled, _) = settled.map_err(ask_failure)?;
        match settled.refused {
            Some(why) if self.args.fenced => {
                self.printer.warning(format_args!("the work stays undone for the time being: {why}"));
                return Ok(());
            }
            Some(why) => {
                return Err(Failure::says(Exit::Refused, format!("{} holds and cannot hand over: {why}", self.member))
                    .hint(
                        "bring another member into shape, or `join` one; if the device is certainly not running, say --fenced --yes",
                    ));
            }
            None => {}
        }
        let show = |missing: &_| self.printer.note(format_args!("  {missing}"));
        let active = wait_active(self.hub, self.pool, Some(self.member), self.patience(), show).await;
        let active = active.map_err(ask_failure)?;
        self.printer.note(format_args!("{} is active in term {}", active.holder, active.term));
        Ok(())
    }

    async fn wait_until_dropped(&self) -> Result<()> {
        if self.hub.read_anchor(&self.pool.name).await.map_err(hub_failure)?.is_some() {
            self.printer.note("waiting until the controller in charge has dropped it");
        }
        let dropped = until_dropped(self.hub, self.pool, self.member, self.patience()).await.map_err(hub_failure)?;
        if dropped {
            return Ok(());
        }
        let (member, path) = (self.member, self.revision.config.path.display());
        Err(Failure::says(Exit::TimedOut, format!("no controller has dropped {member} in time; its key and tags stay for now"))
            .hint(format!(
                "controllers that read {path} take its changes up by themselves; restart those that have a copy with the changed one, then \
                 run this again with --restarted"
            )))
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(self.args.timeout_s)
    }
}
