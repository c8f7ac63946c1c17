//! The verbs that ask the controller in charge for something.

use std::io::{BufRead as _, IsTerminal as _};
use std::time::Duration;

use ha_controller::clock::wall;
use ha_controller::hub::Hub as _;
use ha_controller::operate::{AskError, ask, wait_settled};
use ha_core::anchor::{Anchor, Verb};
use serde_json::json;

use super::common::RequestArgs;
use super::controller;
use crate::exit::Exit;
use crate::failure::{Failure, OrExit as _, Result};
use crate::printer::Printer;

/// Shows what will happen, writes the request into the record and waits until it has been settled.
pub(crate) async fn request(args: &RequestArgs, name: &str, verb: Verb, printer: &Printer) -> Result<Exit> {
    let config = args.config.load(Vec::new())?;
    let pool = controller::pool(&config, name)?;
    let hub = controller::hub(&config)?;
    let before = hub.read_anchor(&pool.name).await.or_exit(Exit::Hub)?.map(|(anchor, _)| anchor);
    printer.note(format_args!("{name}: {}", intention(&verb, before.as_ref())));
    if args.dry_run {
        return Ok(Exit::Ok);
    }
    if !args.yes && !confirmed(printer) {
        return Err(
            Failure::says(Exit::Refused, "nothing was asked for").hint("--yes asks without waiting for an answer")
        );
    }
    let id = ask(&hub, &pool.name, verb, &operator(args.reason.as_deref()), wall()).await.map_err(failure)?;
    if args.no_wait {
        printer.note("asked; not waiting for the controller");
        return Ok(Exit::Ok);
    }
    let mut said = String::new();
    let progress = |anchor: &Anchor| {
        let state = state(anchor);
        if state != said {
            printer.note(format_args!("{name}: {state}"));
            said = state;
        }
    };
    let timeout = Duration::from_secs(args.timeout_s);
    let (settled, anchor) = wait_settled(&hub, &pool.name, &id, timeout, progress).await.map_err(failure)?;
    if printer.wants_json() {
        printer
            .json(&json!({ "request": id, "refused": settled.refused, "holder": anchor.holder, "term": anchor.term }));
    }
    match settled.refused {
        Some(why) => Err(Failure::says(Exit::Refused, format_args!("the controller refused: {why}"))),
        None => Ok(Exit::Ok),
    }
}

fn failure(error: AskError) -> Failure {
    let (exit, hint) = match &error {
        AskError::TimedOut => (Exit::TimedOut, "is a controller running? `iotedge-ha list` and its log tell"),
        AskError::NoRecord { .. } => (Exit::Failed, "start a controller with `iotedge-ha run`"),
        AskError::Hub(_) => (Exit::Hub, "`iotedge-ha check` tells what is wrong"),
        AskError::Contended => (Exit::Failed, "try again"),
    };
    Failure::new(exit, error).hint(hint)
}

fn state(anchor: &Anchor) -> String {
    match anchor.held() {
        Some((holder, term)) => format!("{holder} holds term {term}"),
        None => "nobody holds".to_owned(),
    }
}

fn intention(verb: &Verb, anchor: Option<&Anchor>) -> String {
    let holder = anchor.and_then(|anchor| anchor.holder.as_ref()).map_or("nobody", |holder| holder.as_str());
    let target = |to: &Option<ha_core::ids::MemberId>| {
        to.as_ref().map_or_else(|| "the fittest standby".to_owned(), ToString::to_string)
    };
    match verb {
        Verb::Switchover { to } => format!("{holder} stops, then {} takes over", target(to)),
        Verb::Failover { to, fenced: false } => {
            format!("{} takes over from {holder} when that has stopped or its lease has run out", target(to))
        }
        Verb::Failover { to, fenced: true } => {
            format!("{} takes over from {holder} AT ONCE; you vouch that {holder} is not running", target(to))
        }
        Verb::Pause => format!("nothing is decided any more; {holder} goes on"),
        Verb::Resume => "decisions are taken again".to_owned(),
        Verb::Maintenance { member, on: true } => format!("{member} is not given the work until the mark is taken off"),
        Verb::Maintenance { member, on: false } => format!("{member} may be given the work again"),
    }
}

fn confirmed(printer: &Printer) -> bool {
    if !std::io::stdin().is_terminal() {
        return false;
    }
    printer.note("Go on? [y/N]");
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
}

/// Who asks, for the history.
fn operator(reason: Option<&str>) -> String {
    let user = std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).unwrap_or_else(|_| "operator".to_owned());
    reason.map_or_else(|| user.clone(), |reason| format!("{user}: {reason}"))
}
