use ha_controller::config::edit::Edit;
use ha_controller::config::{Members, PoolConfig};
use ha_core::ids::{MemberId, PoolName};
use serde_json::json;

use super::common::{ConfigArgs, open_hub, pool};
use super::membership::{Draft, Prepared, Revision, TemplateArgs, make, missing};
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::printer::Printer;

/// Make devices the members of a pool: identities, keys and tags at the hub, the pool in the configuration, the agent in a manifest.
///
/// Everything that is there already stays as it is, so a second run finishes a first that was broken off. The pool's record is left to the
/// controller: it is founded once every member has said that nothing runs there.
///
/// A configuration file that is there, or named, gets the pool's section; otherwise the section is printed.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  iotedge-ha init press_1 --devices edge-a,edge-b > iotedge-ha.toml
  iotedge-ha init press_1 --config pools.toml --dry-run
  iotedge-ha init press_1 --devices edge-a,edge-b --manifest line.json --output line-ha.json --image reg.example.com/iotedge-ha-agent:0.1.0
  iotedge-ha init press_1 --devices edge-a,edge-b --manifest line.json --output line-ha.json --image reg.example.com/press:1.4 \\
      --gate exec -- python3 /app/advise.py")]
pub(crate) struct Args {
    pool: String,

    /// The devices, in the order of priority [default: the members in the configuration]
    #[arg(long, value_name = "DEVICE,…", value_delimiter = ',')]
    devices: Vec<String>,

    /// Make devices that do not exist, as IoT Edge devices
    #[arg(long)]
    create: bool,

    /// Show the pool's section instead of writing it into the configuration file
    #[arg(long)]
    no_edit: bool,

    /// Show what would be made, and stop there
    #[arg(short = 'n', long)]
    dry_run: bool,

    #[command(flatten)]
    config: ConfigArgs,

    #[command(flatten)]
    template: TemplateArgs,
}

pub(crate) async fn run(args: Args, printer: &Printer) -> Result<Exit> {
    let given: Vec<MemberId> = args.devices.iter().map(|device| MemberId::new(device.trim())).collect();
    let revision = revise(&Draft::read(&args.config)?, &args.pool, &given)?;
    let pool = pool(&revision.config, &args.pool)?;
    let devices = devices(pool, given)?;
    let manifest = args.template.prepare(pool)?;
    let hub = open_hub(&revision.config)?;
    let steps = missing(&hub, pool, &devices, args.create).await?;
    make(&hub, pool, &steps, args.dry_run, printer).await?;
    if let Some(manifest) = &manifest {
        manifest.keep(args.dry_run, printer)?;
    }
    let kept = if args.dry_run { revision.preview(printer) } else { revision.keep(args.no_edit, printer)? };
    if printer.wants_json() {
        printer.json_pretty(&json!({
            "pool": pool.name,
            "members": devices,
            "dry_run": args.dry_run,
            "steps": steps,
            "config": revision.json(kept),
            "manifest": manifest.as_ref().map(Prepared::output),
        }));
    }
    Ok(Exit::Ok)
}

/// The configuration with the pool in it.
fn revise(draft: &Draft, name: &str, devices: &[MemberId]) -> Result<Revision> {
    let known = draft.config()?;
    if known.pool(name).is_some() {
        return draft.unchanged();
    }
    if devices.is_empty() {
        return Err(Failure::says(
            Exit::Usage,
            format!("there is no pool {name:?} in the configuration yet, and no device is named"),
        )
        .hint("name its members with --devices edge-a,edge-b"));
    }
    let name: PoolName = name.parse().map_err(|error| Failure::new(Exit::Usage, error))?;
    draft.revise(&name, &Edit::AddPool { members: devices.to_vec() })
}

/// Those that are named, or those in the configuration. Where both say something they must agree.
fn devices(pool: &PoolConfig, given: Vec<MemberId>) -> Result<Vec<MemberId>> {
    match &pool.members {
        Members::Listed(members) if given.is_empty() || given == *members => Ok(members.clone()),
        Members::Listed(members) => {
            let names: Vec<_> = members.iter().map(MemberId::as_str).collect();
            Err(Failure::says(
                Exit::Usage,
                format!("the members of {} are {}, says the configuration", pool.name, names.join(", ")),
            )
            .hint("leave out --devices, or use `iotedge-ha join` and `leave` to change them"))
        }
        Members::Selected(condition) if given.is_empty() => {
            Err(Failure::says(Exit::Usage, format!("{} selects its members by {condition}", pool.name))
                .hint("name the devices that shall be made to fit: --devices edge-a,edge-b"))
        }
        Members::Selected(_) => Ok(given),
    }
}
