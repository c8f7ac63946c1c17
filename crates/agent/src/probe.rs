//! Probes: whether the workload works, and on a standby whether it could.

mod check;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

/// One probe.
#[derive(Clone, Debug)]
pub struct ProbeSettings {
    /// What to call it.
    pub name: Option<String>,
    /// What it does.
    pub kind: ProbeKind,
    /// When it is done.
    pub when: When,
    /// From the end of one to the start of the next.
    pub interval: Duration,
    /// One that takes longer has failed.
    pub timeout: Duration,
    /// So many failures in a row count.
    pub failures_max: u32,
}

impl ProbeSettings {
    /// What to call it in a sentence.
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or(match self.kind {
            ProbeKind::Http { .. } => "http",
            ProbeKind::Tcp { .. } => "tcp",
            ProbeKind::File { .. } => "file",
            ProbeKind::Command { .. } => "command",
        })
    }
}

/// What a probe does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ProbeKind {
    /// Expects a 2xx answer.
    Http {
        /// From here.
        url: String,
    },
    /// Expects a connection to be taken.
    Tcp {
        /// Here: host and port.
        address: String,
    },
    /// Expects a file to have been written lately.
    File {
        /// This one.
        path: PathBuf,
        /// Not longer ago than this.
        age_max: Duration,
    },
    /// Expects a command to end with 0.
    Command {
        /// This one; the program first.
        command: Vec<String>,
    },
}

/// When a probe is done.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum When {
    /// While the workload runs: does it work?
    #[default]
    Active,
    /// While it does not: could it be started here?
    Standby,
}

/// What a probe has found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Opinion {
    /// Which probe, by its place in the settings.
    pub probe: usize,
    /// The reason if it has failed often enough.
    pub failing: Option<String>,
}

/// Runs all probes until dropped. `active` says which kind is due; `interval` may replace theirs.
pub fn start(
    probes: &[ProbeSettings],
    active: &watch::Receiver<bool>,
    interval: &watch::Receiver<Option<Duration>>,
    opinions: &mpsc::UnboundedSender<Opinion>,
) -> JoinSet<()> {
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build();
    let client = Arc::new(client.ok());
    let mut tasks = JoinSet::new();
    for (probe, settings) in probes.iter().cloned().enumerate() {
        let work = Work {
            probe,
            settings,
            client: Arc::clone(&client),
            active: active.clone(),
            interval: interval.clone(),
            opinions: opinions.clone(),
        };
        tasks.spawn(work.run());
    }
    tasks
}

struct Work {
    probe: usize,
    settings: ProbeSettings,
    client: Arc<Option<reqwest::Client>>,
    active: watch::Receiver<bool>,
    interval: watch::Receiver<Option<Duration>>,
    opinions: mpsc::UnboundedSender<Opinion>,
}

impl Work {
    async fn run(mut self) {
        let wanted = self.settings.when == When::Active;
        while self.active.wait_for(|active| *active == wanted).await.is_ok() {
            let mut failures = 0;
            let mut told = None;
            while *self.active.borrow_and_update() == wanted {
                let client = self.client.as_ref().as_ref();
                let found = check::check(&self.settings.kind, client, self.settings.timeout).await;
                failures = if found.is_ok() { 0 } else { failures + 1_u32 };
                let failing = found.err().filter(|_| failures >= self.settings.failures_max);
                let failing = failing.map(|why| format!("probe {}: {why}", self.settings.name()));
                // A first success is news too; single failures in between are not.
                if told.as_ref() != Some(&failing) && (failures == 0 || failing.is_some()) {
                    told = Some(failing.clone());
                    if self.opinions.send(Opinion { probe: self.probe, failing }).is_err() {
                        return;
                    }
                }
                let pause = self.interval.borrow().unwrap_or(self.settings.interval);
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    changed = self.active.changed() => if changed.is_err() { return },
                }
            }
        }
    }
}
