//! Jobs: one twin update or direct method for every device that a condition holds for, now or at a later time.
//!
//! The hub decides and keeps the books; whoever runs it asks [`Hub::advance_jobs`] what is due, carries out the
//! [`Errand`]s and brings the answers to [`Hub::settle_errand`].

mod request;
mod run;
mod show;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};

use ha_wire::method::MethodRequest;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::index::{Page, Place, page_of};
use super::refusal::{Code, Refusal};
use super::{Hub, Id};

pub use run::Errand;

/// How long what a job did can be looked up.
const HISTORY: SignedDuration = SignedDuration::from_hours(30 * 24);
/// Jobs kept at all; beyond it the oldest that ended are forgotten.
const JOBS_KEPT_MAX: usize = 1000;

/// All jobs by id.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Jobs(BTreeMap<String, Job>);

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Job {
    work: Work,
    condition: String,
    created: Timestamp,
    /// When it may begin.
    start: Timestamp,
    max_s: i64,
    state: State,
    started: Option<Timestamp>,
    ended: Option<Timestamp>,
    /// By device. Empty until it runs.
    tasks: BTreeMap<String, Task>,
    /// Devices whose turn has not come.
    waiting: VecDeque<String>,
    /// How many tasks are running.
    running: usize,
}

/// What is done to each device.
#[derive(Debug, Clone, Serialize, Deserialize)]
enum Work {
    /// A patch of tags and desired properties, as it was asked for.
    UpdateTwin(Value),
    /// A direct method.
    DeviceMethod(MethodRequest),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum State {
    /// Its time has come or will come; nothing has happened yet.
    Waiting,
    Running,
    Completed,
    Cancelled,
}

/// The job on one device.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Task {
    state: TaskState,
    created: Timestamp,
    started: Option<Timestamp>,
    updated: Timestamp,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
enum TaskState {
    Pending,
    Running,
    /// With what the device answered to a method.
    Completed(Option<Value>),
    /// With code and words.
    Failed(String, String),
    Cancelled,
}

impl Hub {
    /// `PUT /jobs/v2/{id}`
    pub fn create_job(&mut self, id: &str, body: &Value, now: Timestamp) -> Result<Value, Refusal> {
        let job = Job::read(id, body, now)?;
        self.forget_old_jobs(now);
        if self.jobs.0.contains_key(id) {
            return Err(Refusal::new(Code::JobAlreadyExists, format!("A job with ID '{id}' already exists.")));
        }
        let active = self.jobs.0.values().filter(|job| job.is_active()).count();
        let most = self.settings.jobs_active_max;
        if active >= most {
            let text = format!("Exceeded the maximum of {most} active jobs.");
            return Err(Refusal::new(Code::ThrottlingMaxActiveJobCountExceeded, text));
        }
        let shown = job.show(id, now);
        self.jobs.0.insert(id.to_owned(), job);
        self.revision += 1;
        Ok(shown)
    }

    /// `GET /jobs/v2/{id}`: of a job that nobody knows the hub says just that.
    pub fn job(&self, id: &str, now: Timestamp) -> Value {
        self.jobs.0.get(id).map_or_else(|| show::unknown(id), |job| job.show(id, now))
    }

    /// `POST /jobs/v2/{id}/cancel`: what has not begun will not; methods under way are waited for.
    pub fn cancel_job(&mut self, id: &str, now: Timestamp) -> Result<Value, Refusal> {
        let job = self.jobs.0.get_mut(id).ok_or_else(|| Refusal::new(Code::JobNotFound, id))?;
        if job.is_active() {
            let cancelled = job.cancel(now);
            self.revision += 1;
            self.tell_tasks(id, cancelled, false, now);
        }
        Ok(self.job(id, now))
    }

    /// `GET /jobs/v2/query?jobType=…&jobStatus=…`; `continuation` is what an earlier page of the same call returned.
    pub fn list_jobs(
        &self,
        kind: Option<&str>,
        status: Option<&str>,
        page: usize,
        continuation: Option<&str>,
        now: Timestamp,
    ) -> Result<Page, Refusal> {
        let text = format!("jobs {kind:?} {status:?}");
        let place = Place::read(continuation, &text)?;
        let fits = |wanted: Option<&str>, is: &str| wanted.is_none_or(|wanted| wanted.eq_ignore_ascii_case(is));
        let after = place.after.as_ref().map(|id| id.device.as_str());
        let rest = self.jobs.0.iter().filter(|(id, _)| after.is_none_or(|after| id.as_str() > after));
        let wanted = rest.filter(|(_, job)| fits(kind, job.work.kind()) && fits(status, job.status(now)));
        let rows = wanted.map(|(id, job)| (Some(Id::device(id)), job.show(id, now)));
        Ok(page_of(rows, page, &place, "JobResponse", &text))
    }

    /// The rows of `devices.jobs`, by job and device; an id here is a job and one of its devices.
    pub(super) fn job_rows(&self, after: Option<&Id>) -> impl Iterator<Item = (Id, Value)> + '_ {
        let after = after.cloned();
        let tasks = self.jobs.0.iter().flat_map(|(id, job)| job.tasks.keys().map(move |device| (id, job, device)));
        tasks.filter_map(move |(id, job, device)| {
            let place = Id::module(id, device);
            let wanted = after.as_ref().is_none_or(|after| place > *after);
            wanted.then(|| job.show_task(id, device)).flatten().map(|row| (place, row))
        })
    }

    fn forget_old_jobs(&mut self, now: Timestamp) {
        let over = |job: &Job| job.ended.is_some_and(|ended| now.duration_since(ended) > HISTORY);
        self.jobs.0.retain(|_, job| !over(job));
        while self.jobs.0.len() >= JOBS_KEPT_MAX {
            let ended = self.jobs.0.iter().filter_map(|(id, job)| Some((job.ended?, id.clone())));
            let Some((_, oldest)) = ended.min() else {
                return;
            };
            self.jobs.0.remove(&oldest);
        }
    }
}

impl Jobs {
    /// After a restart: whoever was asked and had not answered is asked again.
    pub(super) fn resume(&mut self) {
        for job in self.0.values_mut() {
            job.running = 0;
            for (device, task) in &mut job.tasks {
                match task.state {
                    TaskState::Running if job.state == State::Running => {
                        task.state = TaskState::Pending;
                        job.waiting.push_front(device.clone());
                    }
                    TaskState::Running => task.state = TaskState::Cancelled,
                    _ => {}
                }
            }
        }
    }
}

impl Job {
    fn is_active(&self) -> bool {
        matches!(self.state, State::Waiting | State::Running)
    }

    /// When it ends whatever devices do.
    fn deadline(&self) -> Option<Timestamp> {
        self.started?.checked_add(SignedDuration::from_secs(self.max_s)).ok()
    }

    /// Ends the job; answers with the devices whose turn had not come.
    fn cancel(&mut self, now: Timestamp) -> VecDeque<String> {
        let waiting = std::mem::take(&mut self.waiting);
        for device in &waiting {
            self.set_task(device, TaskState::Cancelled, now);
        }
        self.end(State::Cancelled, now);
        waiting
    }

    fn end(&mut self, state: State, now: Timestamp) {
        self.state = state;
        self.ended = Some(now);
    }

    fn set_task(&mut self, device: &str, state: TaskState, now: Timestamp) {
        if let Some(task) = self.tasks.get_mut(device) {
            self.running -= usize::from(matches!(task.state, TaskState::Running));
            if matches!(state, TaskState::Running) {
                self.running += 1;
                task.started = Some(now);
            }
            task.state = state;
            task.updated = now;
        }
    }
}
