use ha_controller::operate::check::{self, Finding, Outcome, Report};
use serde_json::json;

use crate::commands::common::ConfigArgs;
use crate::exit::Exit;
use crate::failure::Result;
use crate::printer::{Printer, Tone};

/// Check that everything is in place: configuration, credentials, rights, clock, each member's agent.
///
/// Changes nothing. A check that could not be made because an earlier one failed says so, and so does one that does not apply.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  iotedge-ha check --config pool.toml
  iotedge-ha check --config pool.toml --offline --json")]
pub(crate) struct Args {
    #[command(flatten)]
    config: ConfigArgs,

    /// Only what can be checked without the hub
    #[arg(long)]
    offline: bool,

    /// Let warnings fail too, as a gate before a roll-out may want
    #[arg(long)]
    strict: bool,
}

pub(crate) async fn run(args: Args, printer: &Printer) -> Result<Exit> {
    let config = args.config.read(Vec::new())?;
    let refused = config.is_err();
    let show = |finding: &Finding| {
        if !printer.wants_json() {
            tell(finding, printer);
        }
    };
    let report = check::run(config, args.offline, show).await;
    let (errors, warnings) = (report.errors(), report.warnings());
    if printer.wants_json() {
        printer.json_pretty(&json!({ "errors": errors, "warnings": warnings, "findings": report.findings }));
    } else {
        printer.line(format_args!("\n{}, {}", counted(errors, "error"), counted(warnings, "warning")));
    }
    Ok(code(&report, refused, args.strict))
}

fn tell(finding: &Finding, printer: &Printer) {
    let subject = finding.subject.as_ref().map(|subject| format!("{subject}: ")).unwrap_or_default();
    let (mark, tone, found, hint) = match &finding.outcome {
        Outcome::Ok { found } => ("ok", Tone::Good, found.as_str(), None),
        Outcome::Warning { found, hint } => ("warning", Tone::Warning, found.as_str(), Some(hint)),
        Outcome::Error { found, hint } => ("error", Tone::Bad, found.as_str(), Some(hint)),
        Outcome::Skipped { because } => ("skipped", Tone::Dim, *because, None),
        Outcome::NotApplicable { because } => ("not applicable", Tone::Dim, because.as_str(), None),
    };
    let mark = printer.tone(tone, format_args!("{mark:<14}"));
    let because = if matches!(finding.outcome, Outcome::Skipped { .. }) { "because of the check " } else { "" };
    printer.line(format_args!("{mark}  {subject}{}: {because}{found}", finding.description));
    if let Some(hint) = hint {
        printer.line(format_args!("{:16}hint: {hint}", ""));
    }
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn code(report: &Report, refused: bool, strict: bool) -> Exit {
    let hub_failed = |finding: &Finding| finding.outcome.is_error() && HUB_CHECKS.contains(&finding.id);
    match (report.errors(), report.warnings()) {
        (0, 0) => Exit::Ok,
        (0, _) if !strict => Exit::Ok,
        _ if refused => Exit::Usage,
        _ if report.findings.iter().any(hub_failed) => Exit::Hub,
        _ => Exit::Failed,
    }
}

/// The checks whose failure means that there is no way to the hub.
const HUB_CHECKS: &[&str] = &["reach", "rights"];
