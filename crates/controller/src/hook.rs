//! Hooks: asked before a planned change of holder, told after any change.
//!
//! The hooks of a pool are called one at a time, in the order of the configuration, each within its own time. A hook
//! that is asked can refuse; what is not planned is never asked about. A hook that is told hears of each term at
//! least once, whoever is in charge; the id of an event is the same each time.

mod command;
mod event;
mod follower;
mod webhook;

use std::time::Duration;

use ha_core::plan::Verdict;
use tokio::sync::Mutex;

pub(crate) use self::event::Event;
pub(crate) use self::follower::{Telling, id as follower_id};
pub(crate) use self::webhook::{check_address, is_header_name};
use crate::config::{HookConfig, HookEvent, HookTarget, OnTimeout};

/// How long to wait between two tries.
const PAUSE: Duration = Duration::from_millis(500);

/// The longest reason that is taken from a hook, in bytes.
const SAID_MAX: usize = 160;

/// The hooks of one pool.
pub(crate) struct Hooks {
    hooks: Vec<HookConfig>,
    /// Held while one of them is called.
    turn: Mutex<()>,
}

/// What a hook says.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Answer {
    Yes,
    No(String),
}

/// Why a hook has said nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Failed {
    /// The next try may do better.
    Passing(String),
    /// Somebody has to mend something first.
    Lasting(String),
}

impl Failed {
    fn why(&self) -> &str {
        match self {
            Self::Passing(why) | Self::Lasting(why) => why,
        }
    }
}

impl Hooks {
    pub(crate) fn new(hooks: &[HookConfig]) -> Self {
        Self { hooks: hooks.to_vec(), turn: Mutex::new(()) }
    }

    /// Asks whether a planned change may be made; the first no decides. Always ends within the hooks' own times.
    pub(crate) async fn ask(&self, event: &Event) -> Verdict {
        for hook in self.on(HookEvent::BeforeSwitchover) {
            let pool = &event.pool;
            let veto = match self.call_for_long(hook, event).await {
                Ok(Answer::Yes) => None,
                Ok(Answer::No(why)) => Some(why),
                Err(failed) if hook.on_timeout == OnTimeout::Go => {
                    tracing::warn!(%pool, hook = hook.name, why = failed.why(), "a hook gave no answer, which counts as a yes");
                    None
                }
                Err(failed) => Some(format!("it gave no answer: {}", failed.why())),
            };
            match veto {
                None => tracing::info!(%pool, hook = hook.name, "a hook agrees with a change of holder"),
                Some(why) => {
                    tracing::warn!(%pool, hook = hook.name, why, "a hook says no to a change of holder");
                    return Verdict::Veto { by: format!("the hook {}", hook.name), why };
                }
            }
        }
        Verdict::Go
    }

    fn on(&self, event: HookEvent) -> impl Iterator<Item = &HookConfig> {
        self.hooks.iter().filter(move |hook| hook.on == event)
    }

    /// Calls a hook until it has said something, as often as it may be tried.
    async fn call_for_long(&self, hook: &HookConfig, event: &Event) -> Result<Answer, Failed> {
        let mut tries = 0;
        loop {
            let answer = self.call(hook, event).await;
            match &answer {
                Err(Failed::Passing(why)) if tries < hook.retries => {
                    tries += 1;
                    tracing::warn!(pool = %event.pool, hook = hook.name, why, tries, "a hook failed; it is tried again");
                    tokio::time::sleep(PAUSE).await;
                }
                _ => return answer,
            }
        }
    }

    async fn call(&self, hook: &HookConfig, event: &Event) -> Result<Answer, Failed> {
        let _turn = self.turn.lock().await;
        let time = Duration::from_millis(hook.timeout.0);
        match &hook.target {
            HookTarget::Webhook(webhook) => webhook::call(webhook, time, &event.cloud_event(&hook.name)).await,
            HookTarget::Command(words) => command::call(words, time, event, &hook.name).await,
        }
    }
}

/// Whether a hook could be called, as far as that shows without calling it.
pub(crate) fn look(target: &HookTarget) -> Result<(), String> {
    match target {
        HookTarget::Webhook(webhook) => webhook::look(webhook).map_err(|failed| failed.why().to_owned()),
        HookTarget::Command(words) => command::look(words),
    }
}

/// A hook's words as we show them: one line of bounded length.
fn tamed(said: &str) -> String {
    let line = said.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let mut tamed = String::new();
    for c in line.chars().filter(|c| !c.is_control()) {
        if tamed.len() + c.len_utf8() > SAID_MAX {
            break;
        }
        tamed.push(c);
    }
    tamed
}

#[cfg(test)]
mod tests;
