//! One subscriber: what it wants, whether it has agreed, what waits for it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::lanes::Lanes;
use super::schema::{Notice, Schema, TYPES};

/// A validation url works for so long.
const BY_HAND_WITHIN: Duration = Duration::from_secs(600);

/// Who wants which events, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventSubscription {
    /// Its name, 3 to 64 letters, digits and hyphens.
    #[serde(default)]
    pub name: String,
    /// Where events are posted to; `http` will do here, Azure wants `https`.
    pub url: String,
    /// How events are wrapped.
    #[serde(default)]
    pub schema: Schema,
    /// Types such as `Microsoft.Devices.DeviceConnected`; none means all.
    #[serde(default)]
    pub types: Vec<String>,
    /// Whom deliveries bring a bearer token for, of the emulator's own authority: an application's id or its URI. None means no token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
}

impl EventSubscription {
    /// Whether it makes sense; else why not.
    ///
    /// # Errors
    /// With the reason.
    pub fn check(&self) -> Result<(), String> {
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if !(3..=64).contains(&self.name.len()) || !self.name.chars().all(fits) {
            return Err(format!("'{}' is no name: 3 to 64 letters, digits and hyphens", self.name));
        }
        let url: axum::http::Uri = self.url.parse().map_err(|e| format!("url: {e}"))?;
        if !matches!(url.scheme_str(), Some("http" | "https")) || url.host().is_none() {
            return Err("url must begin with http:// or https:// and name a host".to_owned());
        }
        match self.types.iter().find(|kind| !TYPES.contains(&kind.as_str())) {
            Some(unknown) => Err(format!("there is no event type '{unknown}'; there are {}", TYPES.join(", "))),
            None => Ok(()),
        }
    }
}

/// How far the handshake has come.
#[derive(Debug, Clone)]
pub(super) enum State {
    /// The webhook is being asked.
    Pending,
    /// Somebody has to follow the validation url.
    Awaiting { code: String, until: Instant },
    /// Events are delivered.
    Active,
    /// Nobody followed the url in time.
    Failed,
}

impl State {
    pub(super) fn awaiting(code: String) -> Self {
        Self::Awaiting { code, until: Instant::now() + BY_HAND_WITHIN }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Awaiting { .. } => "awaiting_manual_action",
            Self::Active => "active",
            Self::Failed => "failed",
        }
    }
}

/// Who made a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// It is made again at every start.
    CommandLine,
    /// It is kept with the hub's state.
    Call,
}

#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) described: EventSubscription,
    pub(super) origin: Origin,
    pub(super) ended: CancellationToken,
    /// Something to deliver, or a change of state.
    pub(super) news: Notify,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) state: State,
    pub(super) lanes: Lanes<Arc<Notice>>,
    pub(super) last_error: Option<String>,
}

impl Subscription {
    pub(super) fn new(
        described: EventSubscription,
        state: State,
        origin: Origin,
        waiting_max: usize,
        scale: f64,
    ) -> Self {
        let inner = Inner { state, lanes: Lanes::new(waiting_max, scale), last_error: None };
        Self { described, origin, ended: CancellationToken::new(), news: Notify::new(), inner: Mutex::new(inner) }
    }

    pub(super) fn is_active(&self) -> bool {
        matches!(self.lock().state, State::Active)
    }

    pub(super) fn offer(&self, notice: &Arc<Notice>) {
        let types = &self.described.types;
        if types.is_empty() || types.iter().any(|kind| kind == notice.kind) {
            self.lock().lanes.offer(&notice.device, Arc::clone(notice));
            self.news.notify_one();
        }
    }

    pub(super) fn set(&self, state: State) {
        self.lock().state = state;
        self.news.notify_one();
    }

    /// Takes the code of a validation url.
    pub(super) fn validate(&self, given: &str) -> bool {
        let awaited =
            matches!(&self.lock().state, State::Awaiting { code, until } if code == given && *until > Instant::now());
        if awaited {
            self.set(State::Active);
        }
        awaited
    }

    pub(super) fn show(&self) -> Value {
        let inner = self.lock();
        json!({
            "name": self.described.name,
            "url": self.described.url,
            "schema": self.described.schema,
            "types": self.described.types,
            "audience": self.described.audience,
            "state": inner.state.name(),
            "waiting": inner.lanes.waiting(),
            "delivered": inner.lanes.delivered,
            "failed_attempts": inner.lanes.failures,
            "dropped": inner.lanes.dropped,
            "last_error": inner.last_error,
        })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
