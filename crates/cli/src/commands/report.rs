//! What is known of pools and members, and how people read it.

use futures_util::future::try_join_all;
use ha_controller::clock::Clock;
use ha_controller::config::PoolConfig;
use ha_controller::operate::{MemberReport, PoolReport, report, when};
use ha_core::plan::Step;
use ha_core::time::{Millis, WallTime};

use super::common::{ConfigArgs, hub_failure, open_hub, pool};
use crate::failure::Result;
use crate::printer::Printer;

/// What is known of the pools named; of all if none is.
pub(crate) async fn reports(args: &ConfigArgs, names: &[String]) -> Result<Vec<PoolReport>> {
    let config = args.load(Vec::new())?;
    let chosen: Vec<&PoolConfig> = if names.is_empty() {
        config.pools.iter().collect()
    } else {
        names.iter().map(|name| pool(&config, name)).collect::<Result<_>>()?
    };
    let (hub, clock) = (open_hub(&config)?, Clock::start());
    let asked = chosen.into_iter().map(|pool| report(&hub, pool, clock));
    try_join_all(asked).await.map_err(hub_failure)
}

pub(crate) fn row(report: &PoolReport, member: &MemberReport) -> [String; 9] {
    let dash = || "-".to_owned();
    [
        report.pool.to_string(),
        member.member.to_string(),
        member.role.to_owned(),
        member.state.map_or_else(|| "unknown".to_owned(), ToOwned::to_owned),
        member.term.map_or_else(dash, |term| term.to_string()),
        member.lease(),
        member.age_ms.map_or_else(dash, |ms| Millis(ms).to_string()),
        if member.fit { "yes" } else { "no" }.to_owned(),
        member.why_and_drift(),
    ]
}

pub(crate) fn say_state(report: &PoolReport, printer: &Printer) {
    for note in report.notes() {
        printer.note(format_args!("{}: {note}", report.pool));
    }
}

pub(crate) fn show_member(member: &MemberReport, printer: &Printer) {
    let unknown = || "unknown".to_owned();
    printer.line(format_args!("{}  {}  {}", member.member, member.role, member.state.unwrap_or("unknown")));
    printer.line(format_args!("  why            {}", member.why));
    if let Some(term) = member.term {
        printer.line(format_args!("  term           {term}"));
    }
    printer.line(format_args!("  lease left     {}", member.lease()));
    let evidence = &member.evidence;
    let ping = evidence.edge_agent_ping.as_ref().map_or_else(unknown, |seen| match &seen.value {
        Ok(()) => "answers".to_owned(),
        Err(failure) => failure.to_string(),
    });
    printer.line(format_args!("  $edgeAgent     {ping}"));
    let edge_hub = evidence.edge_hub.as_ref().and_then(|seen| seen.value.clone()).unwrap_or_else(unknown);
    printer.line(format_args!("  $edgeHub       {edge_hub}"));
    if let Some(runtime) = evidence.runtime.as_ref().and_then(|seen| seen.value.as_ref()) {
        printer.line(format_args!("  workload       {}, restarted {} times", runtime.status, runtime.restart_count));
    }
    let deployed = evidence.deployed.as_ref().and_then(|seen| seen.value.as_ref());
    if let Some(deployed) = deployed {
        let release = deployed.release.as_deref().unwrap_or("no release of the pool");
        printer.line(format_args!("  told           {} ({release})", deployed.told));
    }
    if let Some(drift) = &member.drift {
        printer.line(format_args!("  drift          {drift}"));
    }
    let Some(registry) = evidence.registry.as_ref().and_then(|seen| seen.value.as_ref()) else { return };
    let at = |at: Option<WallTime>| at.map_or_else(|| "never".to_owned(), when);
    let reason = registry.status_reason.as_deref().unwrap_or("no reason given");
    printer.line(format_args!(
        "  registry       {} ({reason}), since {}",
        registry.status,
        at(registry.status_updated)
    ));
    let connected = at(registry.connection_state_updated);
    printer.line(format_args!("  connection     {}, since {connected}", registry.connection_state));
    printer.line(format_args!("  last activity  {}", at(registry.last_activity)));
    printer.line(format_args!("  etag           {}", registry.etag));
}

pub(crate) fn step(step: &Step) -> String {
    match step {
        Step::Claim => "claim the record".to_owned(),
        Step::Renew { member, term } => format!("renew {member} in term {term}"),
        Step::Probe { members } => {
            let names: Vec<&str> = members.iter().map(ha_core::ids::MemberId::as_str).collect();
            format!("ask {}", names.join(", "))
        }
        Step::Hear { member } => format!("ask {member} whether it goes on"),
        Step::Consult { wish, from, to, term } => {
            format!("ask whether term {term} may go from {from} to {to}: {wish}")
        }
        Step::Revoke { member, term, wish } => format!("take term {term} back from {member}: {wish}"),
        Step::Fence => "take the operator's word that the holder is not running".to_owned(),
        Step::Appoint { member, term, reason } => format!("give term {term} to {member}: {reason}"),
        Step::Settle { request, refused: Some(why) } => format!("refuse the request {request}: {why}"),
        Step::Settle { request, refused: None } => format!("carry out the request {request}"),
    }
}
