//! Faults by the clock: a file of steps that plays from the start of the hub.

mod parse;

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::SignedDuration;
use serde::Serialize;
use serde_json::json;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::doors::Restart;
use crate::error::Error;
use crate::faults::{DeviceFault, RestFault, RestKind};
use crate::hub::Id;
use crate::shell::Shell;
use crate::throttle::Throttling;

/// One thing to do to the hub.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Action {
    Device(String, DeviceFault),
    HealDevice(String),
    Rest(RestKind, RestFault),
    HealRest(RestKind),
    Frozen(bool),
    Clock(i64),
    Index(u64),
    Restart(Restart),
    Throttles(Option<Throttling>),
    Flap(Id, u32),
}

impl fmt::Display for Action {
    /// As the control API and scripts have it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(device, fault) => write!(f, "the link of {device}: {}", json!(fault)),
            Self::HealDevice(device) => write!(f, "the link of {device} is healed"),
            Self::Rest(kind, fault) => write!(f, "{}: {}", name(*kind), json!(fault)),
            Self::HealRest(kind) => write!(f, "{} ends", name(*kind)),
            Self::Frozen(true) => write!(f, "frozen"),
            Self::Frozen(false) => write!(f, "frozen ends"),
            Self::Clock(skew_ms) => write!(f, "clock: skew_ms {skew_ms}"),
            Self::Index(lag_ms) => write!(f, "index: lag_ms {lag_ms}"),
            Self::Restart(restart) => write!(f, "restart: {}", json!(restart)),
            Self::Throttles(Some(throttling)) => write!(f, "throttles: {}", json!(throttling)),
            Self::Throttles(None) => write!(f, "throttles end"),
            Self::Flap(id, count) => write!(f, "{id} flaps {count} times"),
        }
    }
}

fn name(kind: RestKind) -> String {
    json!(kind).as_str().unwrap_or_default().to_owned()
}

/// When, and what.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Step {
    at: Duration,
    action: Action,
}

/// A step as the control API shows it.
#[derive(Debug, Clone, Serialize)]
struct Shown {
    at_ms: u128,
    what: String,
    outcome: Option<String>,
}

/// How far a script has come.
#[derive(Debug, Default)]
pub(crate) struct Progress(Mutex<Vec<Shown>>);

impl Progress {
    /// All steps; those that were taken have an outcome.
    pub(crate) fn shown(&self) -> serde_json::Value {
        json!({"steps": *self.0.lock().unwrap_or_else(PoisonError::into_inner)})
    }

    fn begin(&self, steps: &[Step]) {
        let shown = |step: &Step| Shown { at_ms: step.at.as_millis(), what: step.action.to_string(), outcome: None };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = steps.iter().map(shown).collect();
    }

    fn note(&self, at: usize, outcome: &Result<(), String>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shown) = all.get_mut(at) {
            shown.outcome = Some(outcome.as_ref().err().cloned().unwrap_or_else(|| "done".into()));
        }
    }
}

/// Reads a script; nothing is done if a line of it makes no sense.
pub(crate) fn read(path: &Path) -> Result<Vec<Step>, Error> {
    let text = std::fs::read_to_string(path).map_err(Error::read(path))?;
    parse::steps(&text).map_err(|reason| Error::Option(format!("{}: {reason}", path.display())))
}

/// Takes the steps when their time has come.
pub(crate) async fn play(shell: Arc<Shell>, steps: Vec<Step>, stop: CancellationToken) {
    let start = Instant::now();
    shell.script.begin(&steps);
    for (at, step) in steps.into_iter().enumerate() {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep_until(start + step.at) => {}
        }
        let outcome = take(&shell, &step.action);
        match &outcome {
            Ok(()) => tracing::info!(step = at + 1, action = %step.action, "a step of the script"),
            Err(reason) => tracing::warn!(step = at + 1, action = %step.action, reason, "a step of the script failed"),
        }
        shell.script.note(at, &outcome);
    }
    tracing::info!("the script is over");
}

fn take(shell: &Shell, action: &Action) -> Result<(), String> {
    let faults = &shell.faults;
    match action {
        Action::Device(device, fault) => faults.set_device(device, fault.clone()),
        Action::HealDevice(device) => drop(faults.heal_device(device)),
        Action::Rest(kind, fault) => faults.set_rest(*kind, fault.clone()),
        Action::HealRest(kind) => drop(faults.heal_rest(*kind)),
        Action::Frozen(frozen) => faults.set_frozen(*frozen),
        Action::Clock(skew_ms) => faults.set_clock_skew_ms(*skew_ms),
        Action::Index(lag_ms) => {
            let lag = SignedDuration::from_millis(i64::try_from(*lag_ms).unwrap_or(i64::MAX));
            shell.act(|hub, now| hub.set_index_lag(lag, now));
        }
        Action::Restart(restart) => return shell.restart(*restart),
        Action::Throttles(throttling) => shell.set_throttling(*throttling),
        Action::Flap(id, count) => {
            for _ in 0..*count {
                if !shell.act(|hub, now| hub.flap(id, now)) {
                    return Err(format!("there is no {id}"));
                }
            }
        }
    }
    Ok(())
}
