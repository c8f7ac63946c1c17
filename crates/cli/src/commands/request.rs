//! How a request reaches the controller in charge: written into the pool's record, and followed until it has come about.

mod follow;

use std::io::{BufRead, IsTerminal, Write};
use std::time::{Duration, Instant};

use ha_controller::config::{Members, PoolConfig};
use ha_controller::hub::Hub;
use ha_controller::hub::iot::IotHub;
use ha_controller::operate::{AskError, ask};
use ha_core::anchor::{Anchor, Verb};
use ha_core::ids::MemberId;
use ha_core::time::WallTime;
use jiff::Timestamp;
use serde_json::json;

use self::follow::{Follow, Goal};
use super::common::{ConfigArgs, hub_failure, open_hub, pool};
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::printer::Printer;

/// For the verbs that ask the controller in charge for something.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Asking")]
pub(crate) struct RequestArgs {
    #[command(flatten)]
    config: ConfigArgs,

    /// Ask without showing the plan and waiting for a yes
    #[arg(short, long)]
    yes: bool,

    /// Show what would happen, and stop there
    #[arg(short = 'n', long, conflicts_with = "yes")]
    dry_run: bool,

    /// Return as soon as it has been asked for
    #[arg(long)]
    no_wait: bool,

    /// How long to wait until it has happened: for a move, until the new holder says that it is active
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    timeout_s: u64,

    /// Why, for the history; it is kept short there
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

impl RequestArgs {
    /// Whether nobody has to be asked: the answer is yes, or nothing is going to happen.
    pub(crate) fn is_sure(&self) -> bool {
        self.yes || self.dry_run
    }
}

/// What is asked for, and how it is told.
pub(crate) struct Asked {
    pub(crate) pool: String,
    pub(crate) verb: Verb,
    /// Moves work, so a person has to say yes.
    pub(crate) moves_work: bool,
}

pub(crate) async fn request(asked: Asked, args: &RequestArgs, printer: &Printer) -> Result<Exit> {
    let config = args.config.load(Vec::new())?;
    let pool = pool(&config, &asked.pool)?;
    check_members(&asked.verb, pool)?;
    let hub = open_hub(&config)?;
    let anchor = read(&hub, pool).await?;
    printer.note(plan(&asked, &anchor));
    if let (Some(paused), true) = (&anchor.paused, asked.moves_work) {
        printer.warning(format_args!("{} is paused by {}: nothing moves before `resume`", asked.pool, paused.by));
    }
    if args.dry_run {
        return Ok(Exit::Ok);
    }
    if asked.moves_work && !args.yes && !confirmed()? {
        return Err(Failure::says(Exit::Refused, "nothing was asked for"));
    }
    let goal = Goal::of(&asked.verb, &anchor);
    let by = by(args.reason.as_deref());
    let now = WallTime(Timestamp::now().as_millisecond());
    let id = ask(&hub, &pool.name, asked.verb, &by, now).await.map_err(ask_failure)?;
    if args.no_wait {
        printer.note(format_args!("asked for; request {id}"));
        if printer.wants_json() {
            printer.json(&json!({ "request": id, "settled": false, "active": false }));
        }
        return Ok(Exit::Ok);
    }
    printer.note(format_args!("asked for; waiting for the controller in charge ({})", config.controller.control));
    let deadline = Instant::now() + Duration::from_secs(args.timeout_s);
    Follow { hub: &hub, pool, printer, deadline }.until(&goal, &id).await
}

async fn read(hub: &IotHub, pool: &PoolConfig) -> Result<Anchor> {
    match hub.read_anchor(&pool.name).await.map_err(hub_failure)? {
        Some((anchor, _)) => Ok(anchor),
        None => Err(ask_failure(AskError::NoRecord { pool: pool.name.clone() })),
    }
}

/// A controller would refuse it anyway, only later.
fn check_members(verb: &Verb, pool: &PoolConfig) -> Result<()> {
    let (Verb::Switchover { to: Some(member) }
    | Verb::Failover { to: Some(member), .. }
    | Verb::Maintenance { member, .. }) = verb
    else {
        return Ok(());
    };
    match &pool.members {
        Members::Listed(members) if !members.contains(member) => {
            let names: Vec<_> = members.iter().map(MemberId::as_str).collect();
            Err(Failure::says(Exit::Usage, format!("{member} is no member of {}", pool.name))
                .hint(format!("its members are {}", names.join(", "))))
        }
        _ => Ok(()),
    }
}

fn plan(asked: &Asked, anchor: &Anchor) -> String {
    let pool = &asked.pool;
    let holder = anchor.holder.as_ref().map_or("nobody", MemberId::as_str);
    let target =
        |to: &Option<MemberId>| to.as_ref().map_or_else(|| "the fittest standby".to_owned(), ToString::to_string);
    let term = anchor.term;
    match &asked.verb {
        Verb::Switchover { to } => {
            format!("{pool}: {holder} holds term {term}; it stops its workload, and then {} starts its own", target(to))
        }
        Verb::Failover { to, fenced: false } => {
            format!("{pool}: {holder} holds term {term}; once its lease has certainly ended, {} takes over", target(to))
        }
        Verb::Failover { to, fenced: true } => format!(
            "{pool}: {holder} holds term {term}; {} takes over AT ONCE, on your word that {holder} is not running",
            target(to)
        ),
        Verb::Pause => format!("{pool}: {holder} goes on holding term {term}; nothing is decided until `resume`"),
        Verb::Resume => format!("{pool}: {holder} holds term {term}; decisions go on"),
        Verb::Maintenance { member, on: true } if Some(member) == anchor.holder.as_ref() => {
            format!(
                "{pool}: {member} holds term {term}; it hands the work over, and is left out until it is taken back"
            )
        }
        Verb::Maintenance { member, on: true } => format!("{pool}: {member} is left out until it is taken back"),
        Verb::Maintenance { member, on: false } => format!("{pool}: {member} may hold again"),
    }
}

/// Whether a person says yes; an error if there is none.
pub(crate) fn confirmed() -> Result<bool> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::says(Exit::Usage, "there is nobody to say yes")
            .hint("give --yes, or --dry-run to see the plan only"));
    }
    eprint!("Go on? [y/N] ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Who asks: for the history, not for permission, which the hub's credentials are.
pub(crate) fn by(reason: Option<&str>) -> String {
    let user =
        ["USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok()).unwrap_or_else(|| "operator".to_owned());
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    match reason {
        Some(reason) => format!("{user}@{host}: {reason}"),
        None => format!("{user}@{host}"),
    }
}

pub(super) fn ask_failure(error: AskError) -> Failure {
    match error {
        AskError::Hub(error) => hub_failure(error),
        AskError::NoRecord { .. } => {
            Failure::new(Exit::Failed, error).hint("start a controller: `iotedge-ha run --config FILE`")
        }
        AskError::TimedOut => Failure::new(Exit::TimedOut, error)
            .hint("see whether a controller runs: `iotedge-ha show POOL` says what the pool waits for"),
        AskError::NotActive(_) => Failure::new(Exit::TimedOut, error)
            .hint("`iotedge-ha show POOL` says how each member is; the controller goes on trying"),
        AskError::Contended => Failure::new(Exit::Failed, error).hint("try again"),
    }
}
