//! Events by webhook, as Azure Event Grid delivers them: handshake, headers, retries, both schemas.

mod deliver;
mod handshake;
mod lanes;
mod schema;
mod snapshot;
mod subscription;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use reqwest::RequestBuilder;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use schema::Schema;
pub use subscription::EventSubscription;

use crate::access::{Issuer, TENANT, TokenRequest};
use crate::hub::{Event, Happening};
use crate::routing::Message;
use crate::webhook::Webhooks;
use handshake::Answer;
use schema::Notice;
use snapshot::Snapshot;
use subscription::{Origin, State, Subscription};

/// Under what name subscriptions are kept beside the hub.
pub(crate) const KEPT_AS: &str = "event_subscriptions";
/// Subscriptions of one hub.
const SUBSCRIPTIONS_MAX: usize = 100;

/// How Event Grid behaves.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// How long a change of connection state is held back for the last one to win.
    pub(crate) window: Duration,
    /// Stretches the retry schedule.
    pub(crate) scale: f64,
    /// Events that may wait for one subscriber.
    pub(crate) waiting_max: usize,
    /// The hub's name.
    pub(crate) hub: String,
    /// The hub's resource, in capitals.
    pub(crate) topic: String,
    /// Where validation urls lead.
    pub(crate) base_url: String,
    /// Who signs bearer tokens for deliveries.
    pub(crate) issuer: Arc<Issuer>,
}

/// Who Event Grid is in Azure's directories.
const CLIENT_ID: &str = "4962773b-9cdb-44cf-a8bf-237846a00ab7";

/// Why a subscription was not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotMade {
    /// Its description makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// The webhook did not prove that it wants events.
    #[error("the webhook was not validated: {0}")]
    NotValidated(String),
}

/// The subscriptions and what waits for them.
#[derive(Debug)]
pub(crate) struct EventGrid {
    settings: Settings,
    webhooks: Arc<Webhooks>,
    state: Mutex<Held>,
    changed: Notify,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// A subscription that outlives the process. What waits for it does not.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    described: EventSubscription,
    /// Whether its webhook has agreed; it is not asked again then.
    validated: bool,
}

#[derive(Debug)]
struct Held {
    snapshot: Snapshot<Arc<Notice>>,
    subscriptions: BTreeMap<String, Arc<Subscription>>,
}

impl EventGrid {
    pub(crate) fn new(
        settings: Settings,
        webhooks: Arc<Webhooks>,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        let held = Held { snapshot: Snapshot::new(settings.window), subscriptions: BTreeMap::new() };
        Self { settings, webhooks, state: Mutex::new(held), changed: Notify::new(), tasks, stop }
    }

    /// Starts what needs time: the end of snapshot windows.
    pub(crate) fn start(self: &Arc<Self>) {
        let grid = Arc::clone(self);
        self.tasks.spawn(async move {
            let stop = grid.stop.clone();
            stop.run_until_cancelled(grid.flush_for_ever()).await;
        });
    }

    /// Hands an event to whoever subscribed to its type. Never waits.
    pub(crate) fn take_in(&self, event: &Event, message: &Message) {
        let mut held = self.lock();
        let nobody = held.subscriptions.is_empty();
        if nobody && !matches!(event.what, Happening::Connection { .. }) {
            return;
        }
        let id = uuid::Uuid::new_v4().to_string();
        let Some(notice) = Notice::of(event, message, &self.settings.hub, id).map(Arc::new) else {
            return;
        };
        let told = match event.what {
            Happening::Connection { .. } => held.snapshot.take_in(&event.id, notice, Instant::now()),
            _ => Some(notice),
        };
        match told {
            Some(notice) => held.offer(&notice),
            None => self.changed.notify_one(),
        }
    }

    /// Adds a subscription of the command line, which may take its time to be validated: its webhook is asked until it
    /// agrees.
    pub(crate) fn add(self: &Arc<Self>, described: EventSubscription) -> Result<(), NotMade> {
        self.enter(described, State::Pending, Origin::CommandLine).map(|_| ())
    }

    /// Adds what [`EventGrid::keep`] wrote down.
    pub(crate) fn resume(self: &Arc<Self>, kept: Option<Value>) -> Result<(), String> {
        let kept: Vec<Kept> =
            kept.map(serde_json::from_value).transpose().map_err(|e| e.to_string())?.unwrap_or_default();
        for Kept { described, validated } in kept {
            let state = if validated { State::Active } else { State::Pending };
            self.enter(described, state, Origin::Call).map_err(|e| format!("a kept event subscription: {e}"))?;
        }
        Ok(())
    }

    /// The subscriptions that were made by calls; null if there are none.
    pub(crate) fn keep(&self) -> Value {
        let held = self.lock();
        let called = held.subscriptions.values().filter(|subscription| subscription.origin == Origin::Call);
        let kept = |subscription: &Arc<Subscription>| Kept {
            described: subscription.described.clone(),
            validated: subscription.is_active(),
        };
        match called.map(kept).collect::<Vec<_>>() {
            none if none.is_empty() => Value::Null,
            some => json!(some),
        }
    }

    /// Ends every subscription; what waits for them is lost.
    pub(crate) fn end_all(&self) {
        for subscription in std::mem::take(&mut self.lock().subscriptions).into_values() {
            subscription.ended.cancel();
        }
    }

    /// Adds or replaces a subscription if its webhook agrees at once, or says that somebody will.
    pub(crate) async fn put(self: &Arc<Self>, described: EventSubscription) -> Result<Value, NotMade> {
        described.check().map_err(NotMade::Invalid)?;
        let code = uuid::Uuid::new_v4().to_string();
        let state = match self.shake_hands(&described, &code).await {
            Answer::Agreed => State::Active,
            Answer::Later => State::awaiting(code),
            Answer::Failed(reason) => return Err(NotMade::NotValidated(reason)),
        };
        Ok(self.enter(described, state, Origin::Call)?.show())
    }

    /// Ends a subscription; what waits for it is lost.
    pub(crate) fn remove(&self, name: &str) -> bool {
        let removed = self.lock().subscriptions.remove(&name.to_ascii_lowercase());
        if let Some(subscription) = &removed {
            subscription.ended.cancel();
        }
        removed.is_some()
    }

    /// A request with the bearer token that the subscription wants, if it wants one.
    fn with_token(&self, request: RequestBuilder, subscription: &EventSubscription) -> RequestBuilder {
        let Some(audience) = &subscription.audience else { return request };
        let host = self.settings.base_url.trim_start_matches("https://");
        let wanted = TokenRequest { host, tenant: TENANT, client_id: CLIENT_ID, audience };
        match self.settings.issuer.mint(&wanted, Timestamp::now()) {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// One subscription, or `None`.
    pub(crate) fn show(&self, name: &str) -> Option<Value> {
        self.lock().subscriptions.get(&name.to_ascii_lowercase()).map(|subscription| subscription.show())
    }

    /// All of them.
    pub(crate) fn list(&self) -> Vec<Value> {
        self.lock().subscriptions.values().map(|subscription| subscription.show()).collect()
    }

    /// Somebody followed a validation url.
    pub(crate) fn validated_by_hand(&self, code: &str) -> bool {
        self.lock().subscriptions.values().any(|subscription| subscription.validate(code))
    }

    /// Takes a subscription in, in place of one of its name, and begins to deliver once it is validated.
    fn enter(
        self: &Arc<Self>,
        described: EventSubscription,
        state: State,
        origin: Origin,
    ) -> Result<Arc<Subscription>, NotMade> {
        let asks = matches!(state, State::Pending);
        let subscription = self.hold(described, state, origin)?;
        let (grid, entered) = (Arc::clone(self), Arc::clone(&subscription));
        self.tasks.spawn(async move {
            if asks {
                grid.validate_for_ever(&entered).await;
            }
            grid.deliver(&entered).await;
        });
        Ok(subscription)
    }

    fn hold(&self, described: EventSubscription, state: State, origin: Origin) -> Result<Arc<Subscription>, NotMade> {
        described.check().map_err(NotMade::Invalid)?;
        let name = described.name.to_ascii_lowercase();
        let Settings { waiting_max, scale, .. } = self.settings;
        let subscription = Arc::new(Subscription::new(described, state, origin, waiting_max, scale));
        let mut held = self.lock();
        if held.subscriptions.len() >= SUBSCRIPTIONS_MAX && !held.subscriptions.contains_key(&name) {
            return Err(NotMade::Invalid(format!("at most {SUBSCRIPTIONS_MAX} subscriptions")));
        }
        if let Some(old) = held.subscriptions.insert(name, Arc::clone(&subscription)) {
            old.ended.cancel();
        }
        Ok(subscription)
    }

    async fn flush_for_ever(&self) {
        loop {
            let wake = {
                let mut held = self.lock();
                for notice in held.snapshot.flush(Instant::now()) {
                    held.offer(&notice);
                }
                held.snapshot.wake()
            };
            match wake {
                None => self.changed.notified().await,
                Some(at) => tokio::time::sleep_until(at).await,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn offer(&self, notice: &Arc<Notice>) {
        for subscription in self.subscriptions.values() {
            subscription.offer(notice);
        }
    }
}
