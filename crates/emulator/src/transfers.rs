//! Import and export jobs: one at a time, from and to containers that are folders.

mod containers;
mod job;

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::error::Error;
use crate::fleet;
use crate::hub::{Code, Refusal};
use crate::shell::Shell;
use containers::{Container, Containers};
use job::{Job, Order, State};

/// Where the lines that could not be imported are told of.
const ERRORS: &str = "importErrors.log";
/// Lines that are carried out before others have a turn.
const LINES_AT_ONCE: usize = 100;
/// Jobs that are remembered.
const JOBS_MAX: usize = 100;

/// The hub's import and export jobs. They end with the process.
#[derive(Debug, Default)]
pub(crate) struct Transfers {
    containers: Option<Containers>,
    jobs: Mutex<Vec<Job>>,
    made: Notify,
}

impl Transfers {
    /// Containers are folders in this folder; without one every job is refused.
    pub(crate) fn open(folder: Option<&Path>) -> Result<Self, Error> {
        let containers = folder.map(Containers::open).transpose()?;
        Ok(Self { containers, ..Self::default() })
    }

    /// `POST /jobs/create`
    pub(crate) fn create(&self, id: String, body: &Value, now: Timestamp) -> Result<Value, Refusal> {
        let none =
            "this emulator has no blob containers; start it with --blob-dir FOLDER, whose folders are containers";
        let containers = self.containers.as_ref().ok_or_else(|| Refusal::argument(none))?;
        let order = Order::read(containers, body)?;
        let mut jobs = self.lock();
        if jobs.iter().any(Job::is_active) {
            let text = "Exceeded the maximum of 1 active import or export job.";
            return Err(Refusal::new(Code::ThrottlingMaxActiveJobCountExceeded, text));
        }
        if jobs.len() >= JOBS_MAX {
            jobs.remove(0);
        }
        let job = Job::new(id, order, now);
        let shown = job.show();
        jobs.push(job);
        self.made.notify_one();
        Ok(shown)
    }

    /// `GET /jobs`
    pub(crate) fn list(&self) -> Value {
        self.lock().iter().map(Job::show).collect()
    }

    /// `GET /jobs/{id}`
    pub(crate) fn job(&self, id: &str) -> Result<Value, Refusal> {
        self.with(id, |job| job.show()).ok_or_else(|| Refusal::new(Code::JobNotFound, id))
    }

    /// `DELETE /jobs/{id}`: what has been done stays done.
    pub(crate) fn cancel(&self, id: &str, now: Timestamp) -> Result<(), Refusal> {
        self.with(id, |job| job.end(State::Cancelled, now)).ok_or_else(|| Refusal::new(Code::JobNotFound, id))
    }

    /// The job that is to be done, from here on running.
    fn begin(&self) -> Option<(String, Order)> {
        let mut jobs = self.lock();
        let job = jobs.iter_mut().find(|job| job.state == State::Enqueued)?;
        job.state = State::Running;
        Some((job.id.clone(), job.order.clone()))
    }

    /// Notes how far a job is; false once it has been cancelled.
    fn note(&self, id: &str, percent: usize) -> bool {
        let noted = self.with(id, |job| {
            job.percent = percent;
            job.is_active()
        });
        noted.unwrap_or(false)
    }

    fn with<T>(&self, id: &str, deed: impl FnOnce(&mut Job) -> T) -> Option<T> {
        self.lock().iter_mut().find(|job| job.id == id).map(deed)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Job>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Works on import and export jobs until told to stop.
pub(crate) async fn run(shell: Arc<Shell>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = shell.transfers.made.notified() => {}
        }
        while let Some((id, order)) = shell.transfers.begin() {
            let worker = (Arc::clone(&shell), id.clone(), stop.clone());
            // Files and long lists: nothing for the threads that serve connections.
            let done = tokio::task::spawn_blocking(move || carry_out(&worker.0, &worker.1, &order, &worker.2)).await;
            let state = match done.unwrap_or_else(|e| Err(format!("it broke off: {e}"))) {
                Ok(()) => State::Completed,
                Err(reason) => {
                    tracing::warn!(job = id, reason, "an import or export job failed");
                    State::Failed(reason)
                }
            };
            shell.transfers.with(&id, |job| job.end(state, shell.clock.now()));
        }
    }
}

fn carry_out(shell: &Shell, id: &str, order: &Order, stop: &CancellationToken) -> Result<(), String> {
    match order {
        Order::Import { input, blob, output } => {
            let goes_on = |percent| shell.transfers.note(id, percent) && !stop.is_cancelled();
            input.read(blob).and_then(|text| import(shell, &text, output, goes_on))
        }
        Order::Export { output, blob, with_keys } => {
            let text =
                shell.act(|hub, _| if *with_keys { fleet::export(hub) } else { fleet::export_without_keys(hub) });
            output.write(blob, &text)
        }
    }
}

/// Carries out every line that can be; the others are written down. A cancelled import leaves its complaints, too.
fn import(shell: &Shell, text: &str, output: &Container, goes_on: impl Fn(usize) -> bool) -> Result<(), String> {
    let lines: Vec<(usize, &str)> = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).collect();
    let mut import = fleet::Import::default();
    let mut errors = String::new();
    let mut tell = |at: usize, error: fleet::LineError| {
        errors += &error.told(at).to_string();
        errors.push('\n');
    };
    for (done, some) in lines.chunks(LINES_AT_ONCE).enumerate() {
        if !goes_on(done * LINES_AT_ONCE * 100 / lines.len()) {
            break;
        }
        shell.act(|hub, now| {
            for (at, line) in some {
                if let Err(error) = import.carry_out(hub, at + 1, line, now) {
                    tell(at + 1, error);
                }
            }
        });
    }
    shell.act(|hub, now| import.finish(hub, now)).into_iter().for_each(|(at, error)| tell(at, error));
    // As in Azure, no errors are no blob; one that an earlier import left is emptied.
    if errors.is_empty() && output.read(ERRORS).is_err() { Ok(()) } else { output.write(ERRORS, &errors) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    #[test]
    fn one_job_at_a_time_until_it_ends() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("fleet")).expect("made");
        let transfers = Transfers::open(Some(folder.path())).expect("there");
        let body = json!({"type": "export", "outputBlobContainerUri": "https://s.blob.core.windows.net/fleet"});
        let create = |id: &str| transfers.create(id.into(), &body, NOW);
        let status = |id: &str| transfers.job(id).expect("there")["status"].clone();
        assert_eq!(create("one").expect("made")["status"], "enqueued");
        let refused = |id: &str| create(id).expect_err("refused").code;
        assert_eq!(refused("two"), Code::ThrottlingMaxActiveJobCountExceeded);
        transfers.cancel("one", NOW).expect("there");
        assert!(transfers.begin().is_none(), "there is nothing to do");
        create("two").expect("made");
        assert_eq!(transfers.begin().map(|(id, _)| id).as_deref(), Some("two"));
        assert_eq!((status("one"), status("two")), (json!("cancelled"), json!("running")));
        assert!(transfers.note("two", 40));
        assert_eq!(refused("three"), Code::ThrottlingMaxActiveJobCountExceeded);
        transfers.cancel("two", NOW).expect("there");
        assert!(!transfers.note("two", 50), "whoever works on it hears of it");
        transfers.with("two", |job| job.end(State::Completed, NOW));
        assert_eq!(status("two"), "cancelled", "the first end counts");
        for n in 0..JOBS_MAX {
            create(&n.to_string()).expect("made");
            transfers.cancel(&n.to_string(), NOW).expect("there");
        }
        assert_eq!(transfers.job("one").expect_err("forgotten").code, Code::JobNotFound);
    }
}
