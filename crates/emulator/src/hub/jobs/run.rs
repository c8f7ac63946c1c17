//! Jobs at work: who is next, and what came of it.

use ha_wire::method::MethodRequest;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::super::expect::Expect;
use super::super::query::{Condition, Source};
use super::super::refusal::Refusal;
use super::super::{Hub, Id};
use super::{Job, State, Task, TaskState, Work};

/// Direct methods of one job that wait for their devices at the same time.
const METHODS_MAX: usize = 10;
/// Twins written in one go.
const TWINS_MAX: usize = 100;

/// A direct method that a job wants called.
#[derive(Debug, Clone, PartialEq)]
pub struct Errand {
    /// The job.
    pub job: String,
    /// The device.
    pub device: String,
    /// What to call, and how patiently.
    pub request: MethodRequest,
}

impl Hub {
    /// Goes on with every job as far as it can go now; the answers to the errands belong to [`Hub::settle_errand`].
    pub fn advance_jobs(&mut self, now: Timestamp) -> Vec<Errand> {
        let active = self.jobs.0.iter().filter(|(_, job)| job.is_active());
        let active: Vec<String> = active.map(|(id, _)| id.clone()).collect();
        let mut errands = Vec::new();
        for id in active {
            self.begin_job(&id, now);
            self.advance_job(&id, now, &mut errands);
        }
        errands
    }

    /// How long [`Hub::advance_jobs`] has nothing new to do unless an errand comes back or a job is made.
    pub fn jobs_rest(&self, now: Timestamp) -> Option<SignedDuration> {
        let wake = |job: &Job| match job.state {
            State::Waiting => Some(job.start),
            State::Running if job.has_work() => Some(now),
            State::Running => job.deadline(),
            _ => None,
        };
        let next = self.jobs.0.values().filter_map(wake).min()?;
        Some(next.duration_since(now).max(SignedDuration::ZERO))
    }

    /// Writes down what came of an errand; too late for a job that has run out of time.
    pub fn settle_errand(&mut self, errand: &Errand, answer: Result<Value, Refusal>, now: Timestamp) {
        let Some(job) = self.jobs.0.get_mut(&errand.job) else {
            return;
        };
        if matches!(job.tasks.get(&errand.device), Some(Task { state: TaskState::Running, .. })) {
            let state = match answer {
                Ok(answer) => TaskState::Completed(Some(answer)),
                Err(refusal) => failed(&refusal),
            };
            job.set_task(&errand.device, state, now);
            job.end_if_done(now);
            self.revision += 1;
        }
    }

    fn begin_job(&mut self, id: &str, now: Timestamp) {
        let due = |job: &&Job| job.state == State::Waiting && job.start <= now;
        let Some(condition) = self.jobs.0.get(id).filter(due).map(|job| Condition::parse(&job.condition)) else {
            return;
        };
        self.settle_index(now);
        // A condition was parsed before it was taken in.
        let devices: Vec<String> = match condition {
            Ok(condition) => {
                let admitted = self.rows(Source::Devices, None).filter(|(_, row)| condition.admits(row));
                admitted.map(|(id, _)| id.device).collect()
            }
            Err(_) => Vec::new(),
        };
        if let Some(job) = self.jobs.0.get_mut(id) {
            let task = || Task { state: TaskState::Pending, created: now, started: None, updated: now };
            job.tasks = devices.iter().map(|device| (device.clone(), task())).collect();
            job.waiting = devices.into();
            job.state = State::Running;
            job.started = Some(now);
            self.revision += 1;
        }
    }

    fn advance_job(&mut self, id: &str, now: Timestamp, errands: &mut Vec<Errand>) {
        let Some(job) = self.jobs.0.get_mut(id).filter(|job| job.state == State::Running) else {
            return;
        };
        if job.deadline().is_none_or(|deadline| deadline <= now) {
            job.run_out(now);
            self.revision += 1;
            return;
        }
        if !job.has_work() && !job.end_if_done(now) {
            return;
        }
        match job.work.clone() {
            Work::DeviceMethod(request) => {
                for device in job.take_next(METHODS_MAX.saturating_sub(job.running()), now) {
                    errands.push(Errand { job: id.to_owned(), device, request: request.clone() });
                }
            }
            Work::UpdateTwin(patch) => {
                let devices = job.take_next(TWINS_MAX, now);
                self.update_twins(id, &devices, &patch, now);
            }
        }
        if let Some(job) = self.jobs.0.get_mut(id) {
            job.end_if_done(now);
        }
        self.revision += 1;
    }

    fn update_twins(&mut self, id: &str, devices: &[String], patch: &Value, now: Timestamp) {
        let expect = Expect::parse(patch.get("etag").and_then(Value::as_str));
        for device in devices {
            let written = self.patch_twin(&Id::device(device), patch, &expect, now);
            let state = written.map_or_else(|refusal| failed(&refusal), |_| TaskState::Completed(None));
            if let Some(job) = self.jobs.0.get_mut(id) {
                job.set_task(device, state, now);
            }
        }
    }
}

impl Job {
    fn running(&self) -> usize {
        self.tasks.values().filter(|task| matches!(task.state, TaskState::Running)).count()
    }

    fn has_work(&self) -> bool {
        let room = match self.work {
            Work::UpdateTwin(_) => true,
            Work::DeviceMethod(_) => self.running() < METHODS_MAX,
        };
        room && !self.waiting.is_empty()
    }

    fn take_next(&mut self, count: usize, now: Timestamp) -> Vec<String> {
        let devices: Vec<String> = self.waiting.drain(..count.min(self.waiting.len())).collect();
        for device in &devices {
            self.set_task(device, TaskState::Running, now);
        }
        devices
    }

    fn run_out(&mut self, now: Timestamp) {
        self.waiting.clear();
        let open = |task: &&mut Task| matches!(task.state, TaskState::Pending | TaskState::Running);
        for task in self.tasks.values_mut().filter(open) {
            let words = "maxExecutionTimeInSeconds passed before the device was done";
            task.state = TaskState::Failed("RequestTimedOut".into(), words.into());
            task.updated = now;
        }
        self.end(State::Completed, now);
    }

    fn end_if_done(&mut self, now: Timestamp) -> bool {
        let done = self.state == State::Running && self.waiting.is_empty() && self.running() == 0;
        if done {
            self.end(State::Completed, now);
        }
        done
    }
}

fn failed(refusal: &Refusal) -> TaskState {
    TaskState::Failed(refusal.code.name().to_owned(), refusal.text.clone())
}
