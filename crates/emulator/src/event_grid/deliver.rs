//! Deliveries, a few at a time.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::time::Instant;

use super::EventGrid;
use super::handshake::{ORIGIN, cause};
use super::lanes::{Attempt, Outcome};
use super::schema::{Notice, Schema};
use super::subscription::{State, Subscription};

const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// Deliveries under way to one subscriber.
const IN_FLIGHT_MAX: usize = 16;

/// How a delivery went: whose, how, and why not.
type Done = (String, Outcome, Option<String>);

impl EventGrid {
    /// Delivers until the subscription ends.
    pub(super) async fn deliver(&self, subscription: &Arc<Subscription>) {
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = subscription.ended.cancelled() => {}
            () = self.deliver_for_ever(subscription) => {}
        }
    }

    async fn deliver_for_ever(&self, subscription: &Subscription) {
        let mut in_flight = FuturesUnordered::new();
        loop {
            while in_flight.len() < IN_FLIGHT_MAX
                && let Some(attempt) = next(subscription)
            {
                in_flight.push(self.attempt(subscription, attempt));
            }
            let wake = wake(subscription);
            tokio::select! {
                Some(done) = in_flight.next() => settle(subscription, done),
                () = subscription.news.notified() => {}
                () = sleep_until(wake) => {}
            }
        }
    }

    async fn attempt(&self, subscription: &Subscription, attempt: Attempt<Arc<Notice>>) -> Done {
        let (outcome, error) = self.post(subscription, &attempt).await;
        (attempt.device, outcome, error)
    }

    async fn post(&self, subscription: &Subscription, attempt: &Attempt<Arc<Notice>>) -> (Outcome, Option<String>) {
        let (notice, described) = (&attempt.item, &subscription.described);
        let Some(client) = self.webhooks.client() else {
            return (Outcome::Refused, Some("no TLS".to_owned()));
        };
        let request = client
            .post(&described.url)
            .timeout(ANSWER_WITHIN)
            .header("aeg-event-type", "Notification")
            .header("aeg-subscription-name", described.name.to_ascii_uppercase())
            .header("aeg-delivery-count", attempt.count.to_string());
        let request = match described.schema {
            Schema::EventGrid => request
                .header("content-type", "application/json; charset=utf-8")
                .header("aeg-data-version", notice.data_version())
                .header("aeg-metadata-version", "1"),
            Schema::CloudEvents => {
                let request = request.header("content-type", "application/cloudevents+json; charset=utf-8");
                request.header("origin", ORIGIN)
            }
        };
        let body = notice.wrap(described.schema, &self.settings.topic).to_string();
        match self.with_token(request, described).body(body).send().await {
            Err(e) => (Outcome::again(Duration::ZERO), Some(cause(e))),
            Ok(answer) => match answer.status().as_u16() {
                200..=204 => (Outcome::Delivered, None),
                status => (made_of(status), Some(format!("it answered {status}"))),
            },
        }
    }
}

/// What becomes of an event that a webhook did not take, as Event Grid has it where there is no dead-letter store.
fn made_of(status: u16) -> Outcome {
    match status {
        400 | 401 | 403 | 413 => Outcome::Refused,
        408 => Outcome::again(Duration::from_secs(120)),
        503 => Outcome::again(Duration::from_secs(30)),
        _ => Outcome::again(Duration::ZERO),
    }
}

fn next(subscription: &Subscription) -> Option<Attempt<Arc<Notice>>> {
    let mut inner = subscription.lock();
    if let State::Awaiting { until, .. } = &inner.state
        && *until <= Instant::now()
    {
        inner.state = State::Failed;
    }
    match inner.state {
        State::Active => inner.lanes.next(Instant::now()),
        _ => None,
    }
}

fn wake(subscription: &Subscription) -> Option<Instant> {
    let inner = subscription.lock();
    match &inner.state {
        State::Active => inner.lanes.wake(),
        State::Awaiting { until, .. } => Some(*until),
        State::Pending | State::Failed => None,
    }
}

fn settle(subscription: &Subscription, (device, outcome, error): Done) {
    let mut inner = subscription.lock();
    if let Some(error) = error {
        tracing::warn!(
            subscription = subscription.described.name,
            device,
            reason = error,
            "an event was not delivered"
        );
        inner.last_error = Some(error);
    }
    inner.lanes.settle(&device, outcome, Instant::now());
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
