use std::time::Duration;

use ha_controller::config::{Config, PoolConfig};
use ha_controller::hub::chain;
use ha_controller::hub::iot::IotHub;
use ha_controller::operate::{KeyChange, NotRotated, key_stage, members_of, rotate_key};
use ha_core::ids::MemberId;
use ha_protocol::rotation::Stage;
use serde_json::{Value, json};

use crate::commands::common::{ConfigArgs, hub_failure, open_hub, pool};
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::printer::Printer;

/// Change the keys with which the controller signs its calls to the agents; no lease is lost.
///
/// Each agent takes the old and the new key until it has shown that it has the new one. A change that was broken off, or an agent that did not
/// answer, is finished by the next run; until then the old key goes on working.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  iotedge-ha rotate-keys
  iotedge-ha rotate-keys press_1 --member edge-b
  iotedge-ha rotate-keys --dry-run --json")]
pub(crate) struct Args {
    /// Only this pool
    pool: Option<String>,

    /// Only this member; may be given several times
    #[arg(long = "member", value_name = "DEVICE", requires = "pool")]
    members: Vec<String>,

    /// Show whose key would be changed, and where changes stand that were broken off
    #[arg(short = 'n', long)]
    dry_run: bool,

    /// How long to wait for each agent to take its new key
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    timeout_s: u64,

    #[command(flatten)]
    config: ConfigArgs,
}

pub(crate) async fn run(args: Args, printer: &Printer) -> Result<Exit> {
    let config = args.config.load(Vec::new())?;
    let pools = match &args.pool {
        Some(name) => vec![pool(&config, name)?],
        None => config.pools.iter().collect(),
    };
    let hub = open_hub(&config)?;
    let mut exit = Exit::Ok;
    for pool in pools {
        for member in chosen(&hub, &config, pool, &args.members).await? {
            if args.dry_run {
                show(&hub, pool, &member, printer).await?;
            } else if !change(&hub, pool, &member, &args, printer).await? {
                exit = Exit::TimedOut;
            }
        }
    }
    if exit == Exit::TimedOut {
        printer.note("hint: run it again when these agents answer; the old keys work until then");
    }
    Ok(exit)
}

async fn chosen(hub: &IotHub, config: &Config, pool: &PoolConfig, wanted: &[String]) -> Result<Vec<MemberId>> {
    let members = members_of(hub, pool).await.map_err(hub_failure)?;
    if let Some(stranger) = wanted.iter().find(|name| !members.iter().any(|member| member.as_str() == *name)) {
        let names: Vec<_> = members.iter().map(MemberId::as_str).collect();
        return Err(Failure::says(Exit::Usage, format!("{stranger} is no member of {}", pool.name)).hint(format!(
            "by {} its members are {}",
            config.path.display(),
            names.join(", ")
        )));
    }
    let all = wanted.is_empty();
    Ok(members.into_iter().filter(|member| all || wanted.iter().any(|name| name == member.as_str())).collect())
}

async fn show(hub: &IotHub, pool: &PoolConfig, member: &MemberId, printer: &Printer) -> Result<()> {
    let stage = key_stage(hub, pool, member).await.map_err(hub_failure)?;
    let text = match stage {
        None => "no key yet; the controller makes one".to_owned(),
        Some(stage) => format!("would be changed; at present {}", stage.as_str()),
    };
    tell(pool, member, &text, json!({ "stage": stage.map(Stage::as_str) }), printer);
    Ok(())
}

/// Whether the key was changed.
async fn change(hub: &IotHub, pool: &PoolConfig, member: &MemberId, args: &Args, printer: &Printer) -> Result<bool> {
    let seen = |stage: Stage| printer.detail(format_args!("{member}: {}", stage.as_str()));
    let patience = Duration::from_secs(args.timeout_s);
    let (text, change) = match rotate_key(hub, pool, member, patience, seen).await {
        Ok(KeyChange::Changed) => ("changed", KeyChange::Changed),
        Ok(KeyChange::Finished) => ("a change that was broken off is finished", KeyChange::Finished),
        Ok(KeyChange::NoKey) => ("no key yet; the controller makes one", KeyChange::NoKey),
        Err(NotRotated::Hub(error)) => return Err(hub_failure(error)),
        Err(error @ NotRotated::NotTaken(_)) => {
            let why = chain(&error);
            tell(pool, member, &format!("not changed: {why}"), json!({ "change": null, "why": why }), printer);
            return Ok(false);
        }
    };
    tell(pool, member, text, json!({ "change": change, "why": null }), printer);
    Ok(true)
}

fn tell(pool: &PoolConfig, member: &MemberId, text: &str, rest: Value, printer: &Printer) {
    if !printer.wants_json() {
        printer.line(format_args!("{} {member}: {text}", pool.name));
        return;
    }
    let mut row = json!({ "pool": pool.name, "member": member });
    if let (Value::Object(row), Value::Object(rest)) = (&mut row, rest) {
        row.extend(rest);
    }
    printer.json(&row);
}
