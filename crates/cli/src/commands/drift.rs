use futures_util::future::try_join_all;
use ha_controller::config::PoolConfig;
use ha_controller::operate::{DriftKind, DriftReport, Drifted, MemberDrift, drift};

use crate::commands::common::{ConfigArgs, hub_failure, open_hub, pool};
use crate::exit::Exit;
use crate::failure::Result;
use crate::printer::{Printer, Tone};

/// Show where members run something else than the holder, or than they are told.
///
/// Looks at the twins in IoT Hub; no device is asked. A setting that differs is shown with the deployment that set it. Values that
/// look like secrets are shown as digests. Ends with exit code 6 if anything differs.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  iotedge-ha drift
  iotedge-ha drift press_1 --json")]
pub(crate) struct Args {
    /// Only these pools
    #[arg(value_name = "POOL")]
    pools: Vec<String>,

    #[command(flatten)]
    config: ConfigArgs,
}

pub(crate) async fn run(args: Args, printer: &Printer) -> Result<Exit> {
    let config = args.config.load(Vec::new())?;
    let chosen: Vec<&PoolConfig> = match args.pools.as_slice() {
        [] => config.pools.iter().collect(),
        names => names.iter().map(|name| pool(&config, name)).collect::<Result<_>>()?,
    };
    let hub = open_hub(&config)?;
    let reports = try_join_all(chosen.into_iter().map(|pool| drift(&hub, pool))).await.map_err(hub_failure)?;
    if printer.wants_json() {
        printer.json_pretty(&reports);
    } else {
        reports.iter().for_each(|report| show(report, printer));
    }
    let drifted = reports.iter().any(DriftReport::has_drift);
    Ok(if drifted { Exit::Drifted } else { Exit::Ok })
}

fn show(report: &DriftReport, printer: &Printer) {
    let told = report.members.iter().any(|member| member.told.is_some());
    let verdict = match (report.has_drift(), told) {
        (true, _) => printer.tone(Tone::Warning, "drifted"),
        (false, true) => printer.tone(Tone::Good, "all members run the same"),
        (false, false) => "no deployment tells its members what to run".to_owned(),
    };
    printer.line(format_args!("{}: {verdict}", report.pool));
    for member in &report.members {
        show_member(report, member, printer);
    }
    if let Some(why) = &report.deployments_unread {
        printer.warning(format_args!("which deployment set what is not known: {why}"));
    }
}

fn show_member(report: &DriftReport, member: &MemberDrift, printer: &Printer) {
    let told = member.told.as_deref().unwrap_or("-");
    let deployments: Vec<String> = member.deployments.iter().map(|(id, status)| format!("{id} {status}")).collect();
    let by = if deployments.is_empty() { "no deployment".to_owned() } else { deployments.join(", ") };
    printer.line(format_args!("  {}  told {told}  ({by})", member.member));
    if let Some(why) = &member.unread {
        printer.line(format_args!("    not known: {why}"));
    }
    if let Some(astray) = &member.astray {
        printer.line(format_args!("    does not run what it is told: {astray}"));
    }
    let than = report.compared_with.as_ref().map_or("another", |member| member.as_str());
    for drifted in &member.differences {
        show_difference(drifted, than, printer);
    }
    for meant in &member.meant {
        printer.line(format_args!(
            "    {} {}  is meant to differ: {}, and {than} has {}",
            meant.module, meant.key, meant.here, meant.there
        ));
    }
}

fn show_difference(drifted: &Drifted, than: &str, printer: &Printer) {
    let by = |cause: &Option<String>| cause.as_ref().map(|cause| format!("  [{cause}]")).unwrap_or_default();
    let (here, there) = match drifted.kind {
        DriftKind::Told => ("told".to_owned(), format!("{than} is told")),
        DriftKind::Reported => ("told".to_owned(), "reports".to_owned()),
        DriftKind::Image => ("image is".to_owned(), format!("{than} has")),
    };
    let width = here.len().max(there.len());
    printer.line(format_args!("    {} {}", drifted.module, drifted.key));
    printer.line(format_args!("      {here:<width$}  {}{}", drifted.here, by(&drifted.set_by)));
    printer.line(format_args!("      {there:<width$}  {}{}", drifted.there, by(&drifted.set_there_by)));
}
