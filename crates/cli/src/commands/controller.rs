//! What the commands share that need the hub or the controller.

use std::sync::Arc;

use ha_controller::clock::{self, Clock};
use ha_controller::config::{Config, PoolConfig};
use ha_controller::hub::iot::IotHub;
use ha_controller::operate::{MemberReport, PoolReport, report};
use ha_controller::run::Setup;
use ha_controller::store::Recorder;
use ha_core::plan::Step;
use ha_core::time::{Millis, WallTime};
use tokio_util::sync::CancellationToken;

use super::common::ConfigArgs;
use crate::exit::Exit;
use crate::failure::{Failure, OrExit as _, Result};
use crate::printer::Printer;

/// Everything that a controller needs. A store that cannot be used costs the long history, not the pools.
pub(crate) fn setup(args: &ConfigArgs, name: Option<String>, printer: &Printer) -> Result<Setup<IotHub>> {
    let mut config = args.load(Vec::new())?;
    if let Some(name) = name {
        config.controller.name = name;
    }
    let hub = Arc::new(hub(&config)?);
    let controller = &config.controller;
    let recorder =
        Recorder::open(&controller.state_dir, controller.history_days, clock::wall()).unwrap_or_else(|error| {
            printer.warning(format_args!("no long history: {}", chain(&error)));
            Recorder::absent()
        });
    Ok(Setup { config, hub, recorder, clock: Clock::start() })
}

pub(crate) fn hub(config: &Config) -> Result<IotHub> {
    let hint =
        "set the environment variable or name the file; a service policy's connection string is wanted, not a device's";
    IotHub::new(&config.hub).or_hint(Exit::Hub, hint)
}

pub(crate) fn pool<'a>(config: &'a Config, name: &str) -> Result<&'a PoolConfig> {
    config.pool(name).ok_or_else(|| {
        let names: Vec<&str> = config.pools.iter().map(|pool| pool.name.as_str()).collect();
        Failure::says(Exit::Usage, format_args!("there is no pool {name:?} in {}", config.path.display()))
            .hint(format!("it has: {}", names.join(", ")))
    })
}

/// Cancelled by Ctrl-C and by SIGTERM.
pub(crate) fn stop_signal() -> CancellationToken {
    let stop = CancellationToken::new();
    let cancel = stop.clone();
    tokio::spawn(async move {
        let terminated = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate());
        match terminated {
            Ok(mut terminated) => tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminated.recv() => {}
            },
            Err(_) => {
                let _ = tokio::signal::ctrl_c().await;
            }
        }
        cancel.cancel();
    });
    stop
}

/// What is known of the pools named; of all if none is.
pub(crate) async fn reports(args: &ConfigArgs, names: &[String]) -> Result<Vec<PoolReport>> {
    let config = args.load(Vec::new())?;
    let chosen: Vec<&PoolConfig> = if names.is_empty() {
        config.pools.iter().collect()
    } else {
        names.iter().map(|name| pool(&config, name)).collect::<Result<_>>()?
    };
    let (hub, clock) = (hub(&config)?, Clock::start());
    let mut reports = Vec::new();
    for pool in chosen {
        reports.push(report(&hub, pool, clock).await.or_exit(Exit::Hub)?);
    }
    Ok(reports)
}

pub(crate) fn row(report: &PoolReport, member: &MemberReport) -> [String; 9] {
    let dash = || "-".to_owned();
    [
        report.pool.to_string(),
        member.member.to_string(),
        member.role.to_owned(),
        member.state.map_or_else(|| "unknown".to_owned(), ToOwned::to_owned),
        member.term.map_or_else(dash, |term| term.to_string()),
        member.lease_left_ms.map_or_else(dash, |ms| Millis(ms).to_string()),
        member.age_ms.map_or_else(dash, |ms| Millis(ms).to_string()),
        if member.fit { "yes" } else { "no" }.to_owned(),
        member.why.clone(),
    ]
}

pub(crate) fn say_state(report: &PoolReport, printer: &Printer) {
    if report.holder.is_none() {
        printer.note(format_args!("{}: nobody holds", report.pool));
    }
    if let Some(by) = &report.paused_by {
        printer.note(format_args!("{}: paused by {by}", report.pool));
    }
    if let Some(status) = &report.status {
        printer.note(format_args!("{}: {status}", report.pool));
    }
    if report.requests > 0 {
        printer.note(format_args!("{}: {} requests wait for a controller", report.pool, report.requests));
    }
}

pub(crate) fn show_member(member: &MemberReport, printer: &Printer) {
    let unknown = || "unknown".to_owned();
    printer.line(format_args!("{}  {}  {}", member.member, member.role, member.state.unwrap_or("unknown")));
    printer.line(format_args!("  why            {}", member.why));
    if let (Some(term), left) = (member.term, member.lease_left_ms) {
        let left = left.map_or_else(|| "no lease".to_owned(), |ms| format!("lease left {}", Millis(ms)));
        printer.line(format_args!("  term           {term}, {left}"));
    }
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
            let names: Vec<&str> = members.iter().map(|member| member.as_str()).collect();
            format!("ask {}", names.join(", "))
        }
        Step::Revoke { member, term, wish } => format!("take term {term} back from {member}: {wish}"),
        Step::Fence => "take the operator's word that the holder is not running".to_owned(),
        Step::Appoint { member, term, reason } => format!("give term {term} to {member}: {reason}"),
        Step::Settle { request, refused: Some(why) } => format!("refuse the request {request}: {why}"),
        Step::Settle { request, refused: None } => format!("carry out the request {request}"),
    }
}

/// A wall-clock instant, for people.
pub(crate) fn when(at: WallTime) -> String {
    jiff::Timestamp::from_millisecond(at.0).map_or_else(|_| "unknown".to_owned(), |at| format!("{at:.0}"))
}

fn chain(error: &dyn std::error::Error) -> String {
    ha_controller::hub::chain(error)
}
