use std::time::Duration;

use tokio::time::Instant;

use crate::Urgency;

/// A throttled hub first answers late and only then refuses; a shorter attempt would be repeated into the same queue
/// (Microsoft docs: quotas and throttling, traffic shaping).
const ATTEMPT_DEFAULT: Duration = Duration::from_secs(60);

/// Nobody waits longer than this; it keeps sums of instants in range.
const TIME_MAX: Duration = Duration::from_secs(24 * 3600);

/// How a call is to be made: until when, with how much patience for one attempt, and how urgently.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    deadline: Instant,
    attempt: Option<Duration>,
    urgency: Urgency,
    retry: bool,
}

impl Call {
    /// A routine call whose result is wanted within `time` from here, retries and waiting included.
    pub fn within(time: Duration) -> Self {
        let now = Instant::now();
        Call::until(now.checked_add(time.min(TIME_MAX)).unwrap_or(now))
    }

    /// A routine call whose result is wanted by `deadline`.
    pub fn until(deadline: Instant) -> Self {
        Call { deadline, attempt: None, urgency: Urgency::Routine, retry: true }
    }

    /// The same with a time limit for each attempt (default: 60 s, or what a held method answer needs).
    pub fn attempt(mut self, time: Duration) -> Self {
        self.attempt = Some(time);
        self
    }

    /// The same with another urgency.
    pub fn urgency(mut self, urgency: Urgency) -> Self {
        self.urgency = urgency;
        self
    }

    /// The same ahead of everything routine: for what keeps a lease alive.
    pub fn renewal(self) -> Self {
        self.urgency(Urgency::Renewal)
    }

    /// The same with a single attempt.
    pub fn once(mut self) -> Self {
        self.retry = false;
        self
    }

    pub(crate) fn attempt_or(mut self, time: Duration) -> Self {
        self.attempt.get_or_insert(time);
        self
    }

    pub(crate) fn attempt_time(&self, now: Instant) -> Duration {
        self.attempt.unwrap_or(ATTEMPT_DEFAULT).min(self.time_left(now))
    }

    pub(crate) fn time_left(&self, now: Instant) -> Duration {
        self.deadline.saturating_duration_since(now)
    }

    pub(crate) fn deadline(&self) -> Instant {
        self.deadline
    }

    pub(crate) fn how_urgent(&self) -> Urgency {
        self.urgency
    }

    pub(crate) fn may_retry(&self) -> bool {
        self.retry
    }
}
