//! Jobs at work: who is next, and what came of it.

use ha_wire::method::MethodRequest;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::super::event::Happening;
use super::super::expect::Expect;
use super::super::query::{Condition, Source};
use super::super::refusal::Refusal;
use super::super::{Hub, Id};
use super::{Job, State, Task, TaskState, Work};

/// Devices of one job that are under way at the same time.
const AT_ONCE_MAX: usize = 10;

/// What a job wants done to one device.
#[derive(Debug, Clone, PartialEq)]
pub struct Errand {
    /// The job.
    pub job: String,
    /// The device.
    pub device: String,
    /// What to call, and how patiently. Without it the hub itself does it: [`Hub::update_twin_for`].
    pub method: Option<MethodRequest>,
}

impl Hub {
    /// Goes on with every job as far as it can go now. Methods' answers belong to [`Hub::settle_errand`].
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

    /// Writes down what came of a direct method; too late for a job that has run out of time.
    pub fn settle_errand(&mut self, errand: &Errand, answer: Result<Value, Refusal>, now: Timestamp) {
        self.settle(errand, answer.map(Some), now);
    }

    /// Carries out the twin update that an errand asks for.
    pub fn update_twin_for(&mut self, errand: &Errand, now: Timestamp) {
        let patch = match self.jobs.0.get(&errand.job).map(|job| &job.work) {
            Some(Work::UpdateTwin(patch)) if self.is_under_way(errand) => patch.clone(),
            _ => return,
        };
        let expect = Expect::parse(patch.get("etag").and_then(Value::as_str));
        let written = self.patch_twin(&Id::device(&errand.device), &patch, &expect, now);
        self.settle(errand, written.map(|_| None), now);
    }

    fn settle(&mut self, errand: &Errand, outcome: Result<Option<Value>, Refusal>, now: Timestamp) {
        let under_way = self.is_under_way(errand);
        if let Some(job) = self.jobs.0.get_mut(&errand.job).filter(|_| under_way) {
            let state = outcome.map_or_else(|refusal| failed(&refusal), TaskState::Completed);
            job.set_task(&errand.device, state, now);
            let ended = job.end_if_done(now);
            self.job_moved(ended);
            self.tell_tasks(&errand.job, [errand.device.clone()], false, now);
        }
    }

    /// Steps in between are promised to nobody: to write a whole job down after each of its devices would cost more
    /// than to ask some again after a crash.
    fn job_moved(&mut self, to_an_end: bool) {
        self.revision += 1;
        self.noted += u64::from(!to_an_end);
    }

    /// Tells of what the job does to these devices, as it is now.
    pub(super) fn tell_tasks(
        &mut self,
        id: &str,
        devices: impl IntoIterator<Item = String>,
        created: bool,
        now: Timestamp,
    ) {
        for device in devices {
            let row = self.jobs.0.get(id).and_then(|job| job.show_task(id, &device));
            if let Some(row) = row {
                self.tell(&Id::device(device), now, Happening::Job { created, job: id.to_owned(), row });
            }
        }
    }

    fn is_under_way(&self, errand: &Errand) -> bool {
        let task = self.jobs.0.get(&errand.job).and_then(|job| job.tasks.get(&errand.device));
        task.is_some_and(|task| matches!(task.state, TaskState::Running))
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
            job.waiting = devices.clone().into();
            job.state = State::Running;
            job.started = Some(now);
            self.revision += 1;
        }
        self.tell_tasks(id, devices, true, now);
    }

    fn advance_job(&mut self, id: &str, now: Timestamp, errands: &mut Vec<Errand>) {
        let Some(job) = self.jobs.0.get_mut(id).filter(|job| job.state == State::Running) else {
            return;
        };
        if job.deadline().is_none_or(|deadline| deadline <= now) {
            let failed = job.run_out(now);
            self.revision += 1;
            return self.tell_tasks(id, failed, false, now);
        }
        if job.has_work() {
            let method = match &job.work {
                Work::DeviceMethod(request) => Some(request.clone()),
                Work::UpdateTwin(_) => None,
            };
            let next = job.take_next(now);
            let errand =
                |device: &String| Errand { job: id.to_owned(), device: device.clone(), method: method.clone() };
            errands.extend(next.iter().map(errand));
            self.job_moved(false);
            self.tell_tasks(id, next, false, now);
        } else if job.end_if_done(now) {
            self.job_moved(true);
        }
    }
}

impl Job {
    fn has_work(&self) -> bool {
        self.running < AT_ONCE_MAX && !self.waiting.is_empty()
    }

    fn take_next(&mut self, now: Timestamp) -> Vec<String> {
        let room = AT_ONCE_MAX.saturating_sub(self.running).min(self.waiting.len());
        let devices: Vec<String> = self.waiting.drain(..room).collect();
        for device in &devices {
            self.set_task(device, TaskState::Running, now);
        }
        devices
    }

    /// Ends the job; answers with the devices that were not done.
    fn run_out(&mut self, now: Timestamp) -> Vec<String> {
        self.waiting.clear();
        self.running = 0;
        let mut failed = Vec::new();
        for (device, task) in self.tasks.iter_mut().filter(|(_, task)| !task.is_over()) {
            let words = "maxExecutionTimeInSeconds passed before the device was done";
            task.state = TaskState::Failed("RequestTimedOut".into(), words.into());
            task.updated = now;
            failed.push(device.clone());
        }
        self.end(State::Completed, now);
        failed
    }

    fn end_if_done(&mut self, now: Timestamp) -> bool {
        let done = self.state == State::Running && self.waiting.is_empty() && self.running == 0;
        if done {
            self.end(State::Completed, now);
        }
        done
    }
}

fn failed(refusal: &Refusal) -> TaskState {
    TaskState::Failed(refusal.code.name().to_owned(), refusal.text.clone())
}
